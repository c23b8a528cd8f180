"""What differs between model versions, as objects that know one thing each; the sampling pipeline is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from easyanimate_dit.sampling.conditioning import ImageConditioner, SizeConditioner
    from easyanimate_dit.sampling.inpaint import Inpainter
    from easyanimate_dit.sampling.latent import LatentCodec
    from easyanimate_dit.sampling.text import TextConditioner


@dataclass(frozen=True)
class VersionParts:
    """How a model version conditions its transformer and codes its clips.

    Args:
        text: Prompts to the transformer's text arguments.
        codec: Pixels to latents and back.
        size: Sizes and tables that the transformer is told; None for one that sees them in the latents.
        inpaint: How a clip that is given in part is kept; None for a version that cannot.
        image: What a reference picture becomes; None for a version that takes none.
        image_frames: Frames that a start image, or an end image, stands for.
        image_share: Share of the steps, the last ones, in which a reference picture acts unless a call says otherwise.
    """

    text: TextConditioner
    codec: LatentCodec
    size: SizeConditioner | None = None
    inpaint: Inpainter | None = None
    image: ImageConditioner | None = None
    image_frames: int = 1
    image_share: float = 0.5
