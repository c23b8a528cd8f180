"""The filters with neural networks: names, frames, columns, thresholds. Imports nothing heavy."""

from __future__ import annotations

from easyanimate_core.preparation import FilterSpec, FrameChoice

from easyanimate_data.preparation.scorer import aesthetic, agreement, consistency, text_area

NEURAL_FILTERS = (
    FilterSpec(
        key="aesthetic",
        summary="Beauty, 1 to 10 (SigLIP, aesthetic-predictor-v2-5).",
        load=aesthetic.load_siglip,
        column="aesthetic_score_siglip_mean",
        minimum=4.0,
        batched=True,
    ),
    FilterSpec(
        key="aesthetic-clip",
        summary="Beauty, 1 to 10 (CLIP, LAION sac+logos+ava1).",
        load=aesthetic.load_clip,
        column="aesthetic_score_mean",
        minimum=4.0,
        batched=True,
    ),
    FilterSpec(
        key="text",
        summary="Share of the middle frame that is text (EasyOCR).",
        load=text_area.load,
        frames=FrameChoice("middle"),
        maximum=0.02,
    ),
    FilterSpec(
        key="consistency",
        summary="Least likeness of neighbouring key frames (CLIP or DINOv2).",
        load=consistency.load,
        frames=FrameChoice("key", 16),
        column="similarity_min",
        minimum=0.8,
        batched=True,
    ),
    FilterSpec(
        key="clip-score",
        summary="How well the frames fit the caption (CLIP).",
        load=agreement.load_clip_score,
        column="clip_score",
        uses_text=True,
        batched=True,
    ),
    FilterSpec(
        key="align",
        summary="How well the whole clip fits the caption (CLIP or a model like it).",
        load=agreement.load_alignment,
        frames=FrameChoice("uniform", 8),
        column="alignment_score",
        minimum=0.2,
        uses_text=True,
        batched=True,
    ),
)
