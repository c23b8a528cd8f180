"""From prompts to pixels: the loop, and everything around it that is the same for all model versions."""
