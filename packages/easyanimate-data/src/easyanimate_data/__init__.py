"""Video data for training: from raw videos to captioned clips, datasets and their reading, generated shapes clips."""
