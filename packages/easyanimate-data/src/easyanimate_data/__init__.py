"""Video data for training: generated shapes clips and their judge; dataset reading."""
