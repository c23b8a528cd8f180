"""Turns frames and texts into unit vectors, with CLIP, SigLIP, DINOv2 or any model of transformers like them.

Axes: T frames, H height, W width, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import WeightsError

from easyanimate_data.preparation.network import load_whole, loading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from easyanimate_data.frames import Frames

IMAGES_AT_ONCE = 32
"""Frames in one pass through the network; bounds memory however many clips come together."""

_VISION_PARTS = {"clip": "CLIPVisionModelWithProjection", "siglip": "SiglipVisionModel"}
"""By the type of a model, the class that loads its vision half alone."""


@dataclass(frozen=True)
class Embedder:
    """A network with what prepares its input.

    Args:
        network: Of transformers, in evaluation mode.
        image_processor: Scales, crops and normalises frames.
        tokenizer: None where texts are not asked for.
        device: Where the network is.
    """

    network: Any
    image_processor: Any
    tokenizer: Any
    device: torch.device

    def embed_clips(self, clips: Sequence[Frames]) -> list[torch.Tensor]:
        """One float32 [T, D] per clip, on the CPU, each row of length 1. The clips may differ in size and length."""
        import torch
        from PIL import Image

        images = [Image.fromarray(frame) for frame in chain.from_iterable(clips)]
        vectors: list[torch.Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(images), IMAGES_AT_ONCE):
                batch = self.image_processor(images=images[start : start + IMAGES_AT_ONCE], return_tensors="pt")
                vectors.append(_unit(self._image_features(batch["pixel_values"].to(self.device, self.network.dtype))))
        return list(torch.cat(vectors).split([len(clip) for clip in clips]))

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [len(texts), D] on the CPU, rows of length 1; a text is cut at the most tokens the model takes."""
        import torch

        longest = min(self.tokenizer.model_max_length, self.network.config.text_config.max_position_embeddings)
        # SigLIP reads the last token, so that it needs texts as long as in its training.
        padding = "max_length" if self.network.config.model_type.startswith("siglip") else True
        tokens = self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            return _unit(_pooled(self.network.get_text_features(**tokens)))

    def _image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        if hasattr(self.network, "get_image_features"):
            return _pooled(self.network.get_image_features(pixel_values=pixels))
        output = self.network(pixel_values=pixels)
        return _pooled(getattr(output, "image_embeds", output))


def load_embedder(model: str | Path, *, device: str | None, dtype: str, texts: bool = False) -> Embedder:
    """Load a model that gives a vector for a frame and, with `texts`, for a text.

    Args:
        model: Folder or Hugging Face id.
        device: Name of the device; None takes the best there is.
        dtype: "float32", "bfloat16" or "float16".
        texts: Whether its text half is needed; left out otherwise, where the model allows.

    Raises:
        PluginError: When torch or transformers is not installed.
        WeightsError: When the model cannot be loaded or has no text half.
    """
    expected = f"a Hugging Face id or a folder of a model for images{' and texts' if texts else ''}"
    with loading(model, expected=expected, extra="score"):
        import transformers
        from easyanimate_torch.device import choose_device

        target = choose_device(device)
        kind = transformers.AutoConfig.from_pretrained(model).model_type
        network_class = "AutoModel" if texts else _VISION_PARTS.get(kind, "AutoModel")
        network = load_whole(getattr(transformers, network_class), model, dtype, target)
        # Pillow scales frames as in the models' training; torchvision's numbers differ a little.
        image_processor = transformers.AutoImageProcessor.from_pretrained(model, backend="pil")
        tokenizer = transformers.AutoTokenizer.from_pretrained(model) if texts else None
    if texts and not hasattr(network, "get_text_features"):
        raise WeightsError("The model has no vectors for texts.", received=f"{model} ({kind})", expected="CLIP, SigLIP")
    return Embedder(network, image_processor, tokenizer, target)


def _pooled(output: Any) -> torch.Tensor:
    return getattr(output, "pooler_output", output)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.normalize(vectors.float(), dim=-1).cpu()
