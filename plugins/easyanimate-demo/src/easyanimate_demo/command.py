"""`ea train demo`: encoders, VAE, transformer, and all of it packed as weights, by the project's own commands.

Axes: B clips, T frames, H height, W width in pixels [-1, 1]; C channels, t, h, w in latents.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins

from easyanimate_demo.shipped import RECIPES, WEIGHTS

if TYPE_CHECKING:
    import torch
    from easyanimate_core.registry import Plugins

    from easyanimate_demo.version import DemoVersion

COARSE = ("clip_projection.linear_2.weight",)
"""Tensors of V3 that 8 bits are enough for: its released shape is large for a demo."""

TRAINED_PARTS = {"vae": "vae", "dit": "transformer"}
"""Folder of a part in what its trainer writes."""

LATENT_CLIPS = 256
"""Clips that the deviation of the latents is measured on."""


def train_demo(
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="Model version: v1, v2, v3 or v4.")] = "v4",
    out: Annotated[
        Path | None, typer.Option(help="Working folder; finished parts in it are kept.", show_default="out/demo-MODEL")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where an earlier run was stopped.")] = False,
) -> None:
    """Make the demo weights of a model version anew; one to two hours on a CPU."""
    from easyanimate_demo.version import VERSIONS

    if model not in VERSIONS:
        raise RequestError("There are no demo weights of this model.", received=model, expected=", ".join(VERSIONS))
    version = VERSIONS[model]
    out = out or Path("out", f"demo-{model}")
    if out.exists() and not resume:
        raise RequestError(
            "The working folder exists.", received=out, fix="add --resume to continue there, or choose another --out"
        )
    commands = load_plugins()
    vae = WEIGHTS / version.vae_start / "vae" if version.vae_start else None
    for recipe in version.vae_recipes:
        vae = _train(commands, "vae", recipe, out / recipe, weights=vae)
    assert vae is not None  # noqa: S101 (every version has a recipe)
    start = out / "start"
    if not start.exists():
        write_start(start, version, vae)
    dit = _train(commands, "dit", f"{model}_dit", out / "dit", weights=start)
    weights = out / "weights"
    pack(version, start, dit, weights)
    typer.echo(str(weights))
    if version.lora_recipe:
        typer.echo(str(_train(commands, "lora", version.lora_recipe, out / "lora", weights=weights)))


def _train(commands: Plugins, trainer: str, recipe: str, out: Path, *, weights: Path | None = None) -> Path:
    """Run a trainer with a recipe, unless it is done; the folder of what was trained."""
    trained = out / "weights"
    if not trained.exists():
        train = commands.command("train", trainer).load()
        train(
            config=RECIPES / f"{recipe}.yaml",
            out=out,
            weights=weights,
            resume=(out / "train.json").exists(),
            plan=False,
            launch_words=None,
        )
    return trained / TRAINED_PARTS.get(trainer, "")


def write_start(folder: Path, version: DemoVersion, vae: Path) -> None:
    """Write every part, with a fresh transformer, and latents scaled to unit deviation."""
    import torch

    from easyanimate_demo.base import write_scheduler
    from easyanimate_demo.version import make_transformer

    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    torch.manual_seed(0)
    version.write_base(temporary)
    write_scheduler(temporary)
    shutil.copytree(vae, temporary / "vae")
    settings = temporary / "vae" / "config.json"
    config = json.loads(settings.read_text(encoding="utf-8"))
    config["scaling_factor"] = 1 / measure_deviation(version, temporary / "vae")
    settings.write_text(json.dumps(config, indent=2), encoding="utf-8")
    torch.manual_seed(0)
    make_transformer(version).save_pretrained(temporary / "transformer")
    _write_index(temporary, version)
    temporary.rename(folder)


def measure_deviation(version: DemoVersion, vae: Path) -> float:
    """Standard deviation of the latents of shapes clips; its inverse is the scaling factor."""
    import torch
    from easyanimate_data.shapes.clip import ShapesClips

    model = version.vae_class.from_pretrained(vae).eval()
    clips = ShapesClips(LATENT_CLIPS, seed=2, num_frames=version.num_frames)
    latents: list[torch.Tensor] = []
    with torch.no_grad():
        for begin in range(0, LATENT_CLIPS, 8):
            frames, _ = clips.batch(range(begin, begin + 8))
            pixels = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1.0)
            latents.append(model.encode(pixels).latent_dist.mean)
    return float(torch.cat(latents).std())


def pack(version: DemoVersion, start: Path, transformer: Path, weights: Path) -> None:
    """Write the finished weights: 16-bit tensors in the original's layout, and the defaults of requests."""
    temporary = weights.with_name(weights.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(start, temporary)
    shutil.rmtree(temporary / "transformer")
    shutil.copytree(transformer, temporary / "transformer")
    for file in temporary.rglob("*.safetensors"):
        _halve(file)
    for file in temporary.rglob("config.json"):
        _forget_path(file)
    if version.motion_file:
        _split_off_motion_module(temporary)
    settings = {
        "defaults": version.defaults,
        "trained": version.trained,
        "training": version.training,
        "prompts": version.prompts,
    }
    (temporary / "easyanimate.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    shutil.rmtree(weights, ignore_errors=True)
    temporary.rename(weights)


def _split_off_motion_module(folder: Path) -> None:
    """Give the motion module a file of its own, as the original has it."""
    from easyanimate_dit.pixart.motion_module_file import split_motion_module
    from safetensors.torch import load_file, save_file

    name = "diffusion_pytorch_model.safetensors"
    image, motion_module = split_motion_module(load_file(folder / "transformer" / name))
    (folder / "motion_module").mkdir()
    save_file(motion_module, folder / "motion_module" / name, metadata={"format": "pt"})
    save_file(image, folder / "transformer" / name, metadata={"format": "pt"})


def _halve(file: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    halved = {
        name: tensor.to(torch.float8_e4m3fn if name in COARSE else torch.float16)
        for name, tensor in load_file(file).items()
    }
    save_file(halved, file, metadata={"format": "pt"})


def _forget_path(file: Path) -> None:
    """Drop where a part was loaded from, which means nothing elsewhere."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _write_index(folder: Path, version: DemoVersion) -> None:
    """Write `model_index.json`, which names the classes of the parts."""
    index = {
        "_class_name": "EasyAnimatePipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": [version.transformer_class.__module__, version.transformer_class.__name__],
        "vae": [version.vae_class.__module__, version.vae_class.__name__],
    }
    content = json.dumps(index | version.index, indent=1)
    (folder / "model_index.json").write_text(content, encoding="utf-8")
