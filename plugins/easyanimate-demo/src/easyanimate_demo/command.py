"""`ea train demo`: encoders, VAE, transformer, and all of it packed as weights, by the project's own commands.

Axes: B clips, T frames, H height, W width in pixels [-1, 1]; C channels, t, h, w in latents.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from easyanimate_core.errors import RequestError
from easyanimate_core.registry import load_plugins

if TYPE_CHECKING:
    import torch
    from easyanimate_core.registry import Plugins

RECIPES = Path(__file__).parent / "recipes"

TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "hidden_size": 128,
    "in_channels": 12,
    "out_channels": 8,
    "patch_size": 2,
    "n_query": 4,
    "projection_dim": 64,
    "num_layers": 8,
    "mlp_ratio": 4.0,
    "cross_attention_dim": 64,
    "cross_attention_dim_t5": 64,
    "pooled_projection_dim": 64,
    "text_len": 24,
    "text_len_t5": 24,
}
"""The demo's V4 transformer: 4.0 M parameters."""

DEFAULTS: dict[str, Any] = {
    "height": 64,
    "width": 64,
    "num_frames": 16,
    "fps": 8,
    "num_inference_steps": 25,
    "guidance_scale": 1.2,
    "sampler": "euler",
}
"""What `ea run` takes with these weights when no option says otherwise."""

LATENT_CLIPS = 256
"""Clips that the deviation of the latents is measured on."""


def train_demo(
    *,
    out: Annotated[Path, typer.Option(help="Working folder; finished parts in it are kept.")] = Path("out/demo-v4"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue where an earlier run was stopped.")] = False,
) -> None:
    """Make the V4 demo weights anew; about two hours on a CPU."""
    if out.exists() and not resume:
        raise RequestError(
            "The working folder exists.", received=out, fix="add --resume to continue there, or choose another --out"
        )
    commands = load_plugins()
    vae = _train(commands, "vae", "v4_vae", out / "vae")
    sharp = _train(commands, "vae", "v4_vae_decoder", out / "vae-decoder", weights=vae)
    sharp = _train(commands, "vae", "v4_vae_first_frame", out / "vae-first-frame", weights=sharp)
    start = out / "start"
    if not start.exists():
        _write_start(start, sharp)
    dit = _train(commands, "dit", "v4_dit", out / "dit", weights=start)
    weights = out / "weights"
    pack(start, dit, weights)
    typer.echo(str(weights))


def _train(commands: Plugins, trainer: str, recipe: str, out: Path, *, weights: Path | None = None) -> Path:
    """Run a trainer with a recipe, unless it is done; the folder of the trained weights."""
    trained = out / "weights"
    if not trained.exists():
        settings = [] if weights is None else [f"weights={weights}"]
        train = commands.command("train", trainer).load()
        train(config=RECIPES / f"{recipe}.yaml", out=out, resume=(out / "train.json").exists(), setting=settings)
    return trained


def _write_start(folder: Path, vae: Path) -> None:
    """Write every part, with a fresh transformer, and latents scaled to unit deviation."""
    import torch
    from easyanimate_data.caption import VOCABULARY_EN, VOCABULARY_ZH, all_captions
    from easyanimate_dit import HunyuanTransformer3DModel

    from easyanimate_demo.base import write_base

    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    write_base(temporary, words=[*VOCABULARY_EN, *VOCABULARY_ZH], captions=all_captions())
    shutil.copytree(vae, temporary / "vae")
    settings = temporary / "vae" / "config.json"
    config = json.loads(settings.read_text(encoding="utf-8"))
    config["scaling_factor"] = 1 / measure_deviation(temporary / "vae")
    settings.write_text(json.dumps(config, indent=2), encoding="utf-8")
    torch.manual_seed(0)
    HunyuanTransformer3DModel(**TRANSFORMER).save_pretrained(temporary / "transformer")
    _write_index(temporary)
    temporary.rename(folder)


def measure_deviation(vae: Path) -> float:
    """Standard deviation of the latents of shapes clips; its inverse is the scaling factor."""
    import torch
    from easyanimate_data.shapes import ShapesClips
    from easyanimate_vae import AutoencoderKLMagvit

    model = AutoencoderKLMagvit.from_pretrained(vae).eval()
    clips = ShapesClips(LATENT_CLIPS, seed=2)
    latents: list[torch.Tensor] = []
    with torch.no_grad():
        for begin in range(0, LATENT_CLIPS, 8):
            frames, _ = clips.batch(range(begin, begin + 8))
            pixels = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1.0)
            latents.append(model.encode(pixels).latent_dist.mean)
    return float(torch.cat(latents).std())


def pack(start: Path, transformer: Path, weights: Path) -> None:
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
    (temporary / "easyanimate.json").write_text(json.dumps({"defaults": DEFAULTS}, indent=1), encoding="utf-8")
    shutil.rmtree(weights, ignore_errors=True)
    temporary.rename(weights)


def _halve(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    save_file({name: tensor.half() for name, tensor in tensors.items()}, file, metadata={"format": "pt"})


def _forget_path(file: Path) -> None:
    """Drop where a part was loaded from, which means nothing elsewhere."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _write_index(folder: Path) -> None:
    """Write `model_index.json`, which names the classes of the parts."""
    index = {
        "_class_name": "EasyAnimatePipeline_Multi_Text_Encoder_Inpaint",
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "BertModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "BertTokenizer"],
        "tokenizer_2": ["transformers", "T5Tokenizer"],
        "transformer": ["easyanimate_dit.hunyuan", "HunyuanTransformer3DModel"],
        "vae": ["easyanimate_vae.autoencoder", "AutoencoderKLMagvit"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
