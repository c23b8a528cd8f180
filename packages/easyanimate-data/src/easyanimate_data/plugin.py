"""What this package offers to `ea`: datasets, stages, filters, captioners and commands. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easyanimate_core import CaptionerSpec, CommandSpec, DatasetSpec, FilterSpec, FrameChoice, StageSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

PREPARATION = "easyanimate_data.preparation"
SCORER = f"{PREPARATION}.scorer"


@hookimpl
def ea_datasets() -> Iterable[DatasetSpec]:
    """Lists of the original and of other trainers, and clips generated on the fly."""
    yield DatasetSpec(
        key="json",
        summary="Clips and images with captions: a list, or files beside them.",
        load="easyanimate_data.training.training_set:open_training_set",
    )
    yield DatasetSpec(
        key="shapes",
        summary="Moving shapes, generated on the fly; needs no files.",
        load="easyanimate_data.shapes.clip:open_shapes",
    )


@hookimpl
def ea_stages() -> Iterable[StageSpec]:
    """What `ea data prepare` does beside scoring."""
    from easyanimate_data.preparation.duplicate import DuplicatesSettings
    from easyanimate_data.preparation.export import ExportSettings
    from easyanimate_data.preparation.scene import SplitSettings
    from easyanimate_data.preparation.text_work import TextSettings

    yield StageSpec(
        key="split",
        summary="Cuts raw videos into clips of one scene each.",
        settings=SplitSettings,
        work=f"{PREPARATION}.split:Split",
        find_sources=f"{PREPARATION}.split:find_sources",
    )
    yield StageSpec(
        key="duplicates",
        summary="Drops clips that look like an earlier one (perceptual hashes).",
        settings=DuplicatesSettings,
        work=f"{PREPARATION}.duplicate:HashClips",
        column="perceptual_hash",
        rule=f"{PREPARATION}.duplicate:make_rule",
    )
    yield StageSpec(
        key="caption",
        summary="Writes captions of clips.",
        settings=TextSettings,
        work=f"{PREPARATION}.text_work:Caption",
        column="caption",
    )
    yield StageSpec(
        key="rewrite",
        summary="Rewrites captions as prompts.",
        settings=TextSettings,
        work=f"{PREPARATION}.text_work:Rewrite",
        column="rewritten",
    )
    yield StageSpec(
        key="export",
        summary="Lists the clips that are kept, for training.",
        settings=ExportSettings,
        write=f"{PREPARATION}.export:export",
    )
    yield StageSpec(
        key="report",
        summary="Shows what came in, what was dropped and why.",
        write=f"{PREPARATION}.report.page:report",
    )


@hookimpl
def ea_filters() -> Iterable[FilterSpec]:
    """Scores that need no neural network, and those that do; thresholds are the original's."""
    yield FilterSpec(key="duration", summary="Length in seconds.", load=None, column="duration", minimum=2.5)
    yield FilterSpec(key="resolution", summary="Pixels of a frame.", load=None, column="pixels", minimum=512 * 512)
    yield FilterSpec(
        key="motion",
        summary="Optical flow, in pixels from one frame to the next half a second later.",
        load=f"{PREPARATION}.motion:load",
        frames=FrameChoice("rate", 2),
        minimum=2,
    )
    yield FilterSpec(
        key="aesthetic",
        summary="Beauty, 1 to 10 (SigLIP, aesthetic-predictor-v2-5).",
        load=f"{SCORER}.aesthetic:load_siglip",
        check=f"{PREPARATION}.need:check_scorer",
        column="aesthetic_score_siglip_mean",
        minimum=4.0,
        batched=True,
    )
    yield FilterSpec(
        key="aesthetic-clip",
        summary="Beauty, 1 to 10 (CLIP, LAION sac+logos+ava1).",
        load=f"{SCORER}.aesthetic:load_clip",
        check=f"{PREPARATION}.need:check_scorer",
        column="aesthetic_score_mean",
        minimum=4.0,
        batched=True,
    )
    yield FilterSpec(
        key="text",
        summary="Share of the middle frame that is text (EasyOCR).",
        load=f"{SCORER}.text_area:load",
        check=f"{PREPARATION}.need:check_text_detector",
        frames=FrameChoice("middle"),
        maximum=0.02,
    )
    yield FilterSpec(
        key="consistency",
        summary="Least likeness of neighbouring key frames (CLIP or DINOv2).",
        load=f"{SCORER}.consistency:load",
        check=f"{PREPARATION}.need:check_scorer",
        frames=FrameChoice("key", 16),
        column="similarity_min",
        minimum=0.8,
        batched=True,
    )
    yield FilterSpec(
        key="clip-score",
        summary="How well the frames fit the caption (CLIP).",
        load=f"{SCORER}.agreement:load_clip_score",
        check=f"{PREPARATION}.need:check_scorer",
        column="clip_score",
        uses_text=True,
        batched=True,
    )
    yield FilterSpec(
        key="align",
        summary="How well the whole clip fits the caption (CLIP or a model like it).",
        load=f"{SCORER}.agreement:load_alignment",
        check=f"{PREPARATION}.need:check_scorer",
        frames=FrameChoice("uniform", 8),
        column="alignment_score",
        minimum=0.2,
        uses_text=True,
        batched=True,
    )


@hookimpl
def ea_captioners() -> Iterable[CaptionerSpec]:
    """Models of Hugging Face, and servers that speak OpenAI's protocol."""
    yield CaptionerSpec(
        key="transformers",
        summary="A model from Hugging Face, on this machine.",
        load=f"{PREPARATION}.captioner.transformers_captioner:load",
        check=f"{PREPARATION}.need:check_transformers",
    )
    yield CaptionerSpec(
        key="openai",
        summary="A server that speaks OpenAI's protocol, such as vLLM, SGLang or Ollama.",
        load=f"{PREPARATION}.captioner.openai_captioner:load",
        check=f"{PREPARATION}.need:check_server",
    )


@hookimpl
def ea_commands() -> Iterable[CommandSpec]:
    """`ea data ...` and `ea eval shapes`."""
    commands = {
        "prepare": ("prepare_dataset", "Turn raw videos into a training set, stage by stage."),
        "split": ("split", "Cut raw videos into clips of one scene each."),
        "score": ("score", "Compute scores of clips."),
        "filter": ("filter_clips", "Drop clips by their scores."),
        "filters": ("list_filters", "List the filters, stages and captioners that are installed."),
        "caption": ("caption", "Write captions of clips."),
        "rewrite": ("rewrite", "Rewrite captions as prompts."),
        "align": ("align", "Drop clips whose captions do not fit."),
        "export": ("export", "List the clips that are kept, for training."),
        "report": ("report", "Show what came in, what was dropped and why."),
    }
    for name, (function, summary) in commands.items():
        yield CommandSpec(group="data", name=name, summary=summary, load=f"{PREPARATION}.command:{function}")
    shapes = "easyanimate_data.shapes.command"
    yield CommandSpec(
        group="data", name="shapes", summary="Write a dataset of moving shapes.", load=f"{shapes}:generate_shapes"
    )
    yield CommandSpec(
        group="data",
        name="captions",
        summary="Type or edit captions in a CSV file.",
        load="easyanimate_data.caption_table:edit_captions",
    )
    yield CommandSpec(
        group="eval",
        name="shapes",
        summary="Measure how well a model makes moving shapes.",
        load=f"{shapes}:evaluate_shapes",
    )
