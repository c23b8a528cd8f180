"""EasyAnimate V1: PixArt with a motion module, an image VAE."""
