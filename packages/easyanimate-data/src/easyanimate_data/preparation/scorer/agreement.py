"""Scores how well a caption fits its clip: CLIP score by frame, and alignment of the clip as a whole.

VideoCLIP-XL, with which the original measured alignment, is a network of its own that transformers does not have;
it is not included. Other models have other scales: a threshold holds for one model only.

Axes: T frames, H height, W width, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_data.preparation.scorer.embedding import load_embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from easyanimate_data.frames import Frames

    Scorer = Callable[[Sequence[Frames], Sequence[str]], list[float]]


def load_clip_score(
    *, model: str | Path = "openai/clip-vit-large-patch14", device: str | None = None, dtype: str = "float32"
) -> Scorer:
    """Mean over the frames of the cosine between frame and caption, from -1 to 1.

    Args:
        model: Folder or Hugging Face id of a model for images and texts. A caption is cut at its longest text, which
            is 77 tokens for CLIP.
        device: Name of the device; None takes the best there is.
        dtype: Number format of the model.

    Returns:
        A function from clips, uint8 [T, H, W, 3] each, and their captions to scores.
    """
    return _scorer(model, device, dtype, lambda frames: frames.mean(0))


def load_alignment(
    *, model: str | Path = "openai/clip-vit-large-patch14", device: str | None = None, dtype: str = "float32"
) -> Scorer:
    """Cosine between the caption and the mean direction of all frames, from -1 to 1; options as `load_clip_score`."""
    from torch.nn import functional

    return _scorer(model, device, dtype, lambda frames: functional.normalize(frames.mean(0), dim=-1))


def _scorer(
    model: str | Path, device: str | None, dtype: str, summarise: Callable[[torch.Tensor], torch.Tensor]
) -> Scorer:
    embedder = load_embedder(model, device=device, dtype=dtype, texts=True)

    def score(clips: Sequence[Frames], captions: Sequence[str]) -> list[float]:
        clip_vectors = [summarise(frames) for frames in embedder.embed_clips(clips)]
        text_vectors = embedder.embed_texts(captions)
        return [round(float(clip @ text), 5) for clip, text in zip(clip_vectors, text_vectors, strict=True)]

    return score
