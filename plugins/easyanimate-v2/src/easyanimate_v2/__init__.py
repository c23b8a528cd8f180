"""EasyAnimate V2: PixArt with motion modules and long skips, the MagViT video VAE."""
