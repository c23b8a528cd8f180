"""Initial weights with which a fresh VAE reproduces colours from the first step.

With the default initialisation, a small VAE stays on a grey plateau for thousands of steps. Here every level starts as
an average (downsampling), a copy (upsampling) or zero (residual branches), and the posterior starts narrow: with the
default standard deviation of 1, its noise hides the colours.

Axes of weights: O output channels, I input channels, then kernel positions in T, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from easyanimate_vae.block import Attention3D, Downsampler3D, ResidualBlock3D, Upsampler3D

if TYPE_CHECKING:
    from easyanimate_vae.autoencoder import AutoencoderKLMagvit
    from easyanimate_vae.image import FrameAutoencoder

START_LOG_VARIANCE = -6.0
"""Initial log variance of the posterior; training widens it."""


@torch.no_grad()
def start_as_identity(model: AutoencoderKLMagvit) -> None:
    """Set the weights of all levels of a video VAE in place; the first and last convolutions stay random."""
    num_latents = model.config["latent_channels"]
    _clear(model.quant_conv)
    model.quant_conv.weight[:num_latents, :num_latents, 0, 0, 0] = torch.eye(num_latents)
    assert model.quant_conv.bias is not None  # noqa: S101 (it has one)
    model.quant_conv.bias[num_latents:] = START_LOG_VARIANCE
    _clear(model.post_quant_conv)
    model.post_quant_conv.weight[:, :, 0, 0, 0] = torch.eye(num_latents)
    for module in model.modules():
        if isinstance(module, ResidualBlock3D):
            _clear(module.conv2)
            if isinstance(module.shortcut, nn.Conv3d):
                _clear(module.shortcut)
                module.shortcut.weight[:, :, 0, 0, 0] = _carry(*module.shortcut.weight.shape[:2])
        elif isinstance(module, Attention3D):
            _clear(module.to_out)
        elif isinstance(module, Downsampler3D):
            _clear(module.conv)
            # Padding is right and below, so the pixels of an output are at kernel positions 0 and 1; in time the
            # chunk is padded on both sides, so its frames are at 1 and 2.
            frames = slice(1, 3) if module.conv.stride[0] == 2 else slice(1, 2)  # noqa: PLR2004
            share = 1 / (4 * (frames.stop - frames.start))
            carried = _carry(*module.conv.weight.shape[:2])[:, :, None, None, None]
            module.conv.weight[:, :, frames, :2, :2] = share * carried
        elif isinstance(module, Upsampler3D):
            _clear(module.conv)
            # In a causal convolution, the current frame is last.
            module.conv.weight[:, :, 2, 1, 1] = _carry(*module.conv.weight.shape[:2])


@torch.no_grad()
def start_frames_as_identity(model: FrameAutoencoder) -> None:
    """Set the weights of all levels of an image VAE in place; the first and last convolutions stay random."""
    num_latents = model.config["latent_channels"]
    parts: Any = model
    _clear(parts.quant_conv)
    parts.quant_conv.weight[:num_latents, :num_latents, 0, 0] = torch.eye(num_latents)
    parts.quant_conv.bias[num_latents:] = START_LOG_VARIANCE
    _clear(parts.post_quant_conv)
    parts.post_quant_conv.weight[:, :, 0, 0] = torch.eye(num_latents)
    for module in model.modules():
        layer: Any = module
        if isinstance(module, ResnetBlock2D):
            _clear(layer.conv2)
            if layer.conv_shortcut is not None:
                _clear(layer.conv_shortcut)
                layer.conv_shortcut.weight[:, :, 0, 0] = _carry(*layer.conv_shortcut.weight.shape[:2])
        elif isinstance(module, Attention):
            _clear(layer.to_out[0])
        elif isinstance(module, Downsample2D):
            _clear(layer.conv)
            # Padding is right and below.
            layer.conv.weight[:, :, :2, :2] = _carry(*layer.conv.weight.shape[:2])[:, :, None, None] / 4
        elif isinstance(module, Upsample2D):
            _clear(layer.conv)
            layer.conv.weight[:, :, 1, 1] = _carry(*layer.conv.weight.shape[:2])


def _clear(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _carry(num_out: int, num_in: int) -> torch.Tensor:
    """Weights [O, I] that copy channels in turn to more outputs, or average channels into fewer."""
    outs, ins = torch.arange(num_out)[:, None], torch.arange(num_in)[None, :]
    if num_out >= num_in:
        return (outs % num_in == ins).float()
    return (ins % num_out == outs).float() * (num_out / num_in)
