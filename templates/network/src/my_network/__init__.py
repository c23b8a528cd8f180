"""A video model of your own: a plain transformer and a plain VAE as a plugin of EasyAnimate."""
