"""Training of the video transformer: `ea train dit` and `ea train lora`."""
