"""Training of the video VAE: `ea train vae`, or `torchrun -m easyanimate_vae.training` in several processes."""
