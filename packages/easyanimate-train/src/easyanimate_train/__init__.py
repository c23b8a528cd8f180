"""The training loop that all trainers share: batches to gradients to weights, with checkpoints and exact resume."""
