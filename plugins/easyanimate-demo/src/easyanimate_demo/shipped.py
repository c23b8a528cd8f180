"""Where the files lie that this package ships: weights by model, LoRA files, recipes of their training."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent

WEIGHTS = _PACKAGE / "weights"
LORAS = _PACKAGE / "loras"
RECIPES = _PACKAGE / "recipes"
