"""Models that write captions, and what they are asked."""
