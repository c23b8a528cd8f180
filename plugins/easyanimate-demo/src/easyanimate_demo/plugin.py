"""The demo weights by name."""

from __future__ import annotations
