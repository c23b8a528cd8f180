"""The video autoencoders of EasyAnimate V2, V3 and V4."""
