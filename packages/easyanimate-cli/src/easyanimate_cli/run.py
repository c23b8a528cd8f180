"""`ea run`: from the command line to files, with everything checked before the model is loaded."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated, Any, Literal

import typer
from easyanimate_core.errors import RequestError
from easyanimate_core.part_files import TRANSFORMER_FILE, find_trained, parse_lora
from easyanimate_core.spec import LoadOptions

from easyanimate_cli.options import ClipOptions, read_batch
from easyanimate_cli.session import Session

DTYPES = Literal["bfloat16", "float16", "float32"]


def run(  # noqa: PLR0913 (one parameter per option)
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="Key of the model; `ea models` lists them.")],
    weights: Annotated[
        str, typer.Option(help="auto, a name from `ea weights`, a folder, or a Hugging Face repository.")
    ] = "auto",
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="What to show.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to avoid.")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Height x width in pixels.")] = None,
    frames: Annotated[int | None, typer.Option(help="Number of frames; 1 makes an image.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is off.")] = None,
    sampler: Annotated[str | None, typer.Option(help="`ea models show KEY` lists them.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all randomness.", show_default="0")] = None,
    num_videos: Annotated[int | None, typer.Option(help="Clips to make, with seeds counting up.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Start from this image; repeat for more frames.")] = None,
    end_image: Annotated[Path | None, typer.Option(help="End on this image.")] = None,
    video: Annotated[Path | None, typer.Option(help="Start from this video.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Image or video, white where to generate.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much of --video to replace [0.7; with --mask 1].")] = None,
    segment: Annotated[int | None, typer.Option(help="Long video: frames made at a time.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Long video: frames that neighbours share.")] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="PATH[:WEIGHT]", help="Apply a LoRA; repeatable.")] = None,
    transformer: Annotated[Path | None, typer.Option(help="Transformer weights that replace the folder's.")] = None,
    motion_module: Annotated[Path | None, typer.Option(help="V1: the motion module's file.")] = None,
    dtype: Annotated[DTYPES | None, typer.Option(help="Number format; chosen for the device.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; the best there is.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder to write.", show_default="outputs/...")
    ] = None,
    batch: Annotated[Path | None, typer.Option(help="JSON lines: one clip each, with these options.")] = None,
) -> None:
    """Make a video or an image.

    What is not given comes from the weights or from the model. The path of every file goes to standard output, all
    else to standard error.
    """
    given: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "size": size,
        "frames": frames,
        "fps": fps,
        "steps": steps,
        "guidance": guidance,
        "sampler": sampler,
        "seed": seed,
        "num_videos": num_videos,
        "image": tuple(image) if image else None,
        "end_image": end_image,
        "video": video,
        "mask": mask,
        "strength": strength,
        "segment": segment,
        "overlap": overlap,
        "output": output,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if prompt is None and batch is None:
        raise RequestError(
            "There is no prompt.", expected="--prompt TEXT or --batch FILE", fix='add --prompt "what to show"'
        )
    loras = tuple(parse_lora(text) for text in lora or ())
    if transformer is not None:
        transformer = find_trained(transformer, TRANSFORMER_FILE)
    options = LoadOptions(dtype=dtype, device=device, loras=loras, transformer=transformer, motion_module=motion_module)
    session = Session.open(model, weights, options)
    session.make(session.plan(read_batch(batch, given) if batch else [ClipOptions(**given)]))
