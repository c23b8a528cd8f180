"""Training of the video VAE: `ea train vae`, or `accelerate launch -m easyanimate_vae.training.run`."""
