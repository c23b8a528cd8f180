"""What makes V3 V3: given pictures and masks, coded into further channels or blended in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_dit.pixart.version_parts import make_pixart_parts
from easyanimate_dit.sampling.inpaint import BlendInpainter, CodedMaskInpainter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.shapes import ShapeRule
    from easyanimate_dit.sampling.version_parts import VersionParts


def make_version_parts(components: Mapping[str, Any], shapes: ShapeRule) -> VersionParts:
    """What the sampling pipeline is given; `image_encoder` and `image_processor` are needed by InP alone."""
    inpaint = CodedMaskInpainter() if components["transformer"].has_clip else BlendInpainter()
    return make_pixart_parts(components, shapes, smooth=True, inpaint=inpaint)
