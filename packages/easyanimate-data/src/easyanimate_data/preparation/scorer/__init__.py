"""Scores that neural networks give to clips: beauty, text on screen, consistency, agreement with the caption."""
