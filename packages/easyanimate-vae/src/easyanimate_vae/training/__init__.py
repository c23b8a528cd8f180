"""Training of the VAE: `ea train vae`, or `accelerate launch -m easyanimate_vae.train vae` in several processes."""
