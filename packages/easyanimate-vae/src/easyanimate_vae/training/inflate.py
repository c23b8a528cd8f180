"""Starts a video VAE from an image VAE: every 2D kernel becomes one time position of a 3D kernel.

Axes of weights: O output channels, I input channels, then kernel positions in T, H, W.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from easyanimate_core.errors import WeightsError
from easyanimate_core.weights_file import read_json
from easyanimate_torch.checkpoint import check_shapes, list_shapes, read_folder
from torch import Tensor

from easyanimate_vae.autoencoder import AutoencoderKLMagvit

KernelPosition = Literal[0, 1, 2]
"""Time position of a 3D kernel that gets the 2D kernel; the other two are zeros."""

_LAST: KernelPosition = 2
"""Of causal convolutions: the current frame comes last, after two earlier ones."""
_CENTRE: KernelPosition = 1
"""Of symmetric convolutions, which pad a frame of zeros on each side of a chunk."""

_NAMES = (
    (".convs.", ".resnets."),
    (".shortcut.", ".conv_shortcut."),
    (".downsampler.", ".downsamplers.0."),
    (".upsampler.", ".upsamplers.0."),
    (".to_out.", ".to_out.0."),
)
"""Parts of keys: ours, and those of diffusers' `AutoencoderKL`."""
_OLD_NAMES = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""Parts of the keys of attention layers: in files of older diffusers, and in newer ones."""


def inflate_image_vae(model: AutoencoderKLMagvit, folder: Path, *, prefer: Literal["frame", "clip"] = "frame") -> None:
    """Set all weights in place, so that single frames are encoded and decoded as by the image VAE.

    So are clips of equal frames. With `spatial_group_norm` and "spatial" attention so are all clips, except by V4's
    decoder: its latent frames are those of every second or fourth frame of pixels. Temporal layers have no weights of
    their own (frames are doubled by repeating or interpolating). The configuration stays: `scaling_factor` should be
    the image VAE's.

    Args:
        model: A video VAE with the image VAE's channels (`ch`, `ch_mult`), depth, latent channels and norm groups, and
            one attention head.
        folder: Folder of an `AutoencoderKL` of diffusers or a `FrameAutoencoder`: `config.json` and weights.
        prefer: What V4's decoder decodes exactly, as its convolutions are symmetric for a single latent frame and
            causal for clips. With "frame", moving clips lag a frame behind at every convolution. With "clip", single
            frames are blank until some have been trained on.

    Raises:
        WeightsError: A file is missing or damaged, a setting differs, or keys are missing, unknown or of another shape;
            the model is then unchanged.
    """
    config = read_json(folder / "config.json")
    _check_settings(model, config, folder)
    found = {_current_name(key): tensor for key, tensor in read_folder(folder).items()}
    own = model.state_dict()
    names = {key: _image_name(key) for key in own if not _is_left_out(key, config)}
    check_shapes(
        {name: _image_shape(own[key]) for key, name in names.items()},
        list_shapes(found),
        source=str(folder),
        fix=f"give the model the widths, depth and latent channels of {folder / 'config.json'}",
    )
    positions = _choose_positions(model, prefer)
    inflated = {
        key: _inflate(found[names[key]], own[key], positions.get(key.partition(".")[0], _CENTRE))
        if key in names
        else _identity(own[key])
        for key in own
    }
    model.load_state_dict(inflated)


def _choose_positions(model: AutoencoderKLMagvit, prefer: str) -> dict[str, KernelPosition]:
    """Position of the current frame in the kernels of encoder and decoder."""
    settings = model.settings
    symmetric = settings.cache_compression_vae or settings.slice_compression_vae
    encoder: KernelPosition = _CENTRE if symmetric else _LAST
    return {"encoder": encoder, "decoder": _LAST if settings.cache_compression_vae and prefer == "clip" else encoder}


def _inflate(image: Tensor, own: Tensor, position: KernelPosition) -> Tensor:
    """A tensor of the image VAE, in the shape of the video VAE's."""
    image = image.to(own.device, own.dtype)
    if own.shape == image.shape:
        return image
    inflated = torch.zeros_like(own)
    inflated[:, :, position if own.shape[2] > 1 else 0] = image
    return inflated


def _identity(own: Tensor) -> Tensor:
    """Weight [O, I, 1, 1, 1] that passes channels on, or a bias [O] of zeros."""
    if own.ndim == 1:
        return torch.zeros_like(own)
    return torch.eye(own.shape[0], dtype=own.dtype, device=own.device).view(own.shape)


def _image_name(key: str) -> str:
    for here, there in _NAMES:
        key = key.replace(here, there)
    return key


def _current_name(key: str) -> str:
    if ".attentions." in key:
        for old, new in _OLD_NAMES:
            key = key.replace(old, new)
    return key


def _image_shape(own: Tensor) -> torch.Size:
    """Shape of the image VAE's tensor: without the time positions."""
    is_kernel = own.ndim == 5  # noqa: PLR2004 (O I T H W)
    return torch.Size((*own.shape[:2], *own.shape[3:])) if is_kernel else own.shape


def _is_left_out(key: str, config: Mapping[str, Any]) -> bool:
    """Image VAEs with 16 latent channels do not have the convolutions next to the latents."""
    layer = key.partition(".")[0]
    return layer in ("quant_conv", "post_quant_conv") and not config.get(f"use_{layer}", True)


def _check_settings(model: AutoencoderKLMagvit, config: Mapping[str, Any], folder: Path) -> None:
    """Raise `WeightsError` for settings that differ without other shapes."""
    settings = model.settings
    pairs = {
        "norm_num_groups": (config.get("norm_num_groups", 32), settings.norm_num_groups),
        "act_fn": (config.get("act_fn", "silu"), settings.act_fn),
        "number of attention heads": (1, settings.mid_block_num_attention_heads),
    }
    different = [f"{name} {image}, not {video}" for name, (image, video) in pairs.items() if image != video]
    if different:
        raise WeightsError(
            f"The image VAE does not fit the video VAE: {folder}",
            received="; ".join(different),
            expected="equal settings",
            fix="change the configuration of the model",
        )
