"""Tells the tensors of a motion module of PixArt transformers from others, by their names. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOTION_MARK = "temporal"
"""Stands in the name of every tensor of a motion module, and in no other."""


def is_motion_module(names: Iterable[str]) -> bool:
    """Whether all tensors of these names belong to a motion module."""
    return all(MOTION_MARK in name for name in names)


def holds_motion_module(names: Iterable[str]) -> bool:
    """Whether any tensor of these names belongs to a motion module."""
    return any(MOTION_MARK in name for name in names)
