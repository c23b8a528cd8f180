"""Scores whether a clip stays one scene: the likeness of each key frame to the next.

Axes: T frames, H height, W width, D features.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from easyanimate_data.preparation.scorer.embedding import load_embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_data.frames import Frames


def load(
    *, model: str | Path = "openai/clip-vit-large-patch14-336", device: str | None = None, dtype: str = "float32"
) -> Callable[[Sequence[Frames]], list[dict[str, Any]]]:
    """Cosine of neighbouring frames: columns `similarity_cross_frame` (one per pair), `similarity_mean`, `_min`.

    A clip of one frame differs from nothing: no pairs, mean and minimum 1.

    Args:
        model: Folder or Hugging Face id of a CLIP, SigLIP or DINOv2 model, such as facebook/dinov2-large.
        device: Name of the device; None takes the best there is.
        dtype: Number format of the model.

    Returns:
        A function from clips, uint8 [T, H, W, 3] each, to their columns.
    """
    embedder = load_embedder(model, device=device, dtype=dtype)

    def score(clips: Sequence[Frames]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for vectors in embedder.embed_clips(clips):
            cosines = [round(value, 5) for value in (vectors[:-1] * vectors[1:]).sum(-1).tolist()]
            rows.append(
                {
                    "similarity_cross_frame": cosines,
                    "similarity_mean": round(fmean(cosines), 5) if cosines else 1.0,
                    "similarity_min": min(cosines, default=1.0),
                }
            )
        return rows

    return score
