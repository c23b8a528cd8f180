"""Training of the VAE: `ea train vae`."""
