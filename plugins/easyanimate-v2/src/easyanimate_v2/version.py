"""What makes V2 V2: as V1, with the borders of the VAE's chunks smoothed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_dit.pixart.version_parts import make_pixart_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.shapes import ShapeRule
    from easyanimate_dit.sampling.version_parts import VersionParts


def make_version_parts(components: Mapping[str, Any], shapes: ShapeRule) -> VersionParts:
    """What the sampling pipeline is given."""
    return make_pixart_parts(components, shapes, smooth=True)
