"""Scores how beautiful a clip is, from 1 to 10, with the SigLIP or the CLIP aesthetic predictor.

Axes: T frames, H height, W width.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from easyanimate_data.preparation.scorer.embedding import Embedder, load_embedder
from easyanimate_data.preparation.scorer.head import LAION_HEAD, SIGLIP_HEAD, PublishedHead, load_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_data.frames import Frames

    Scorer = Callable[[Sequence[Frames]], list[dict[str, Any]]]


def load_siglip(
    *,
    model: str | Path = "google/siglip-so400m-patch14-384",
    head: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
) -> Scorer:
    """aesthetic-predictor-v2-5: columns `aesthetic_score_siglip` (one per frame) and `aesthetic_score_siglip_mean`.

    Args:
        model: Folder or Hugging Face id of a SigLIP model.
        head: File with the head's weights; None fetches the published one.
        device: Name of the device; None takes the best there is.
        dtype: Number format of the SigLIP model; the head stays in float32.

    Returns:
        A function from clips, uint8 [T, H, W, 3] each, to their columns.
    """
    embedder = load_embedder(model, device=device, dtype=dtype)
    return _scorer(embedder, SIGLIP_HEAD, head, embedder.network.config.hidden_size, "aesthetic_score_siglip")


def load_clip(
    *,
    model: str | Path = "openai/clip-vit-large-patch14",
    head: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
) -> Scorer:
    """LAION's predictor (sac+logos+ava1): columns `aesthetic_score` (one per frame) and `aesthetic_score_mean`.

    Args:
        model: Folder or Hugging Face id of a CLIP model.
        head: File with the head's weights; None fetches the published one.
        device: Name of the device; None takes the best there is.
        dtype: Number format of the CLIP model; the head stays in float32.

    Returns:
        A function from clips, uint8 [T, H, W, 3] each, to their columns.
    """
    embedder = load_embedder(model, device=device, dtype=dtype)
    return _scorer(embedder, LAION_HEAD, head, embedder.network.config.projection_dim, "aesthetic_score")


def _scorer(embedder: Embedder, published: PublishedHead, path: str | Path | None, width: int, column: str) -> Scorer:
    head = load_head(published, path, width)

    def score(clips: Sequence[Frames]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for vectors in embedder.embed_clips(clips):
            values = [round(value, 5) for value in head(vectors).squeeze(-1).tolist()]
            rows.append({column: values, f"{column}_mean": round(fmean(values), 5)})
        return rows

    return score
