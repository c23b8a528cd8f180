"""Video diffusion transformers, conditioning, the sampling pipeline, LoRA and their training."""
