"""Training sets: lists of clips and images to batches of one kind and one size, the same for the same seed."""
