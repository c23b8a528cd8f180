"""Small demo weights, trained by this project's own commands."""
