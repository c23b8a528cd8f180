"""EasyAnimate V3: PixArt with hybrid motion modules, a slice VAE, start and end images."""
