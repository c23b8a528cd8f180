"""The training loop that the trainers share; a trainer says what is learnt, this package does the rest."""
