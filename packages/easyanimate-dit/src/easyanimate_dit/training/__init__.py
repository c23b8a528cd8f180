"""Training of the video transformer: `ea train dit`, or `torchrun -m easyanimate_dit.training` in several processes."""
