"""What the transformer is told besides the prompt: the sizes of the clip and a reference image.

Axes: B videos, H height, W width in pixels; h, w in latents; K tokens of a picture, D their width, Q resampled tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from easyanimate_dit.hunyuan.rotary import make_rotary_table

if TYPE_CHECKING:
    from easyanimate_core.interfaces import ImageEncoder, ImageEncoderConfig
    from easyanimate_core.shapes import PixelShape

    from easyanimate_dit.sampling.text import Conditions

Picture = Image.Image | np.ndarray | Tensor
"""A picture: of PIL, or uint8 [H, W, 3]."""


@dataclass(frozen=True, kw_only=True)
class MetaSize:
    """Sizes that the model was trained to be told, each (height, width) or (top, left) in pixels.

    Args:
        original: Size of the picture before it was resized; the default stands for a good one.
        target: Size it was resized to; None is the size of the clip.
        crop: Where it was cropped.
    """

    original: tuple[int, int] = (1024, 1024)
    target: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)


class SizeConditioner(Protocol):
    """Tells the transformer how large the clip is."""

    def encode(
        self, pixels: PixelShape, meta: MetaSize, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> Conditions:
        """Arguments of `encode_condition`, [B, ...]."""
        ...

    def make_tables(self, height: int, width: int, *, device: torch.device) -> dict[str, Any]:
        """Arguments of every forward pass for latents of this height and width, without a batch axis."""
        ...


@dataclass(frozen=True)
class HunyuanSizeConditioner:
    """V4: six numbers of size, a style that is always zero, and the rotary table of one frame.

    Args:
        head_dim: Width of one attention head.
        patch_size: Latent rows and columns per token.
    """

    head_dim: int
    patch_size: int

    def encode(
        self, pixels: PixelShape, meta: MetaSize, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> Conditions:
        """`image_meta_size` [B, 6] and `style` [B]; see `SizeConditioner`."""
        numbers = (*meta.original, *(meta.target or (pixels.height, pixels.width)), *meta.crop)
        return {
            "image_meta_size": torch.tensor([numbers], device=device, dtype=dtype).repeat(num_videos, 1),
            "style": torch.zeros(num_videos, device=device, dtype=torch.long),
        }

    def make_tables(self, height: int, width: int, *, device: torch.device) -> dict[str, Any]:
        """`image_rotary_emb`, (cos, sin) each [P, head_dim]; see `SizeConditioner`."""
        table = make_rotary_table(height, width, head_dim=self.head_dim, patch_size=self.patch_size, device=device)
        return {"image_rotary_emb": table}


@dataclass(frozen=True)
class PixArtSizeConditioner:
    """V1 to V3: nothing, or resolution and aspect ratio.

    Args:
        has_size_condition: Whether the transformer is told them.
    """

    has_size_condition: bool

    def encode(
        self, pixels: PixelShape, meta: MetaSize, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> Conditions:
        """`resolution` [B, 2], height and width in pixels, and `aspect_ratio` [B, 1], height by width."""
        del meta
        if not self.has_size_condition:
            return {}
        sides = torch.tensor([[pixels.height, pixels.width]], device=device, dtype=dtype)
        ratio = torch.tensor([[pixels.height / pixels.width]], device=device, dtype=dtype)
        return {"resolution": sides.repeat(num_videos, 1), "aspect_ratio": ratio.repeat(num_videos, 1)}

    def make_tables(self, height: int, width: int, *, device: torch.device) -> dict[str, Any]:
        """None: the transformer keeps its own; see `SizeConditioner`."""
        del height, width, device
        return {}


@dataclass(frozen=True)
class ImageConditioning:
    """Arguments of the transformer for a reference image, and for none.

    Args:
        present: Where the image acts.
        absent: For the negative prompt, for early steps, and when there is no image.
    """

    present: Conditions
    absent: Conditions


class ImageConditioner(Protocol):
    """Tells the transformer what a reference picture shows."""

    def encode(
        self, picture: Picture | None, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> ImageConditioning:
        """Arguments of `encode_condition`, [B, ...], with and without the picture."""
        ...


@dataclass(frozen=True)
class ClipTokenConditioner:
    """V4: the last hidden states of a CLIP vision tower without the class token.

    Args:
        processor: Makes `pixel_values` of pictures.
        encoder: The vision tower.
        num_queries: Tokens that the transformer resamples to, the length of the mask.
    """

    processor: Any
    encoder: ImageEncoder
    num_queries: int

    def encode(
        self, picture: Picture | None, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> ImageConditioning:
        """`clip_encoder_hidden_states` [B, K, D] and `clip_attention_mask` [B, Q]; see `ImageConditioner`."""
        config: ImageEncoderConfig = self.encoder.config
        num_tokens = (config.image_size // config.patch_size) ** 2
        mask = torch.zeros(num_videos, self.num_queries, device=device, dtype=dtype)
        tokens = torch.zeros(num_videos, num_tokens, config.hidden_size, device=device, dtype=dtype)
        absent = {"clip_encoder_hidden_states": tokens, "clip_attention_mask": mask}
        if picture is None:
            return ImageConditioning(absent, absent)
        values = self.processor(images=[to_pil(picture)], return_tensors="pt").pixel_values
        states = self.encoder(values.to(device, self.encoder.dtype)).last_hidden_state[:, 1:]
        present = {
            "clip_encoder_hidden_states": states.to(dtype).repeat(num_videos, 1, 1),
            "clip_attention_mask": torch.ones_like(mask),
        }
        return ImageConditioning(present, absent)


@dataclass(frozen=True)
class ClipEmbedConditioner:
    """V3: the projected embedding of a CLIP vision tower.

    Args:
        processor: Makes `pixel_values` of pictures.
        encoder: The vision tower.
        num_tokens: Tokens that the transformer makes of the embedding, the length of the mask.
    """

    processor: Any
    encoder: ImageEncoder
    num_tokens: int

    def encode(
        self, picture: Picture | None, *, num_videos: int, device: torch.device, dtype: torch.dtype
    ) -> ImageConditioning:
        """`clip_encoder_hidden_states` [B, D] and `clip_attention_mask` [B, tokens]; see `ImageConditioner`."""
        mask = torch.zeros(num_videos, self.num_tokens, device=device, dtype=dtype)
        nothing = torch.zeros(num_videos, self.encoder.config.projection_dim, device=device, dtype=dtype)
        absent = {"clip_encoder_hidden_states": nothing, "clip_attention_mask": mask}
        if picture is None:
            return ImageConditioning(absent, absent)
        values = self.processor(images=[to_pil(picture)], return_tensors="pt").pixel_values
        embedding = self.encoder(values.to(device, self.encoder.dtype)).image_embeds
        present = {
            "clip_encoder_hidden_states": embedding.to(dtype).repeat(num_videos, 1),
            "clip_attention_mask": torch.ones_like(mask),
        }
        return ImageConditioning(present, absent)


def to_pil(picture: Picture) -> Image.Image:
    """A picture of PIL in RGB."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    return Image.fromarray(np.asarray(picture, dtype=np.uint8))
