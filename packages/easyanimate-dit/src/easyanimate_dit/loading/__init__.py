"""From a weights folder in the original's layout to the parts of a model."""
