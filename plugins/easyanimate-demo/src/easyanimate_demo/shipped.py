"""Where the files lie that this package ships: weights by model, LoRA files, recipes of their training."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent

# LoRA files lie in loras/ beside these; only tests read them.
WEIGHTS = _PACKAGE / "weights"
RECIPES = _PACKAGE / "recipes"
