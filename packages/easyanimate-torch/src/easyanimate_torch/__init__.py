"""What the packages with PyTorch share: strict loading of weights, devices, number formats."""
