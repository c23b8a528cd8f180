"""Training of the video transformer: `ea train dit`."""
