"""Reconstructions of validation clips during training: metrics, and both clips side by side to look at.

Axes: B clips, T frames, H height, W width in pixels [-1, 1].
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_core.errors import RequestError
from easyanimate_core.request import Video
from easyanimate_core.video import write_image, write_video
from easyanimate_train.task import ValidationResult

from easyanimate_vae.training.metric import compare_frames, side_by_side
from easyanimate_vae.training.pixels import scale_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from easyanimate_core.dataset import BatchedDataset
    from jaxtyping import Float, UInt8
    from torch import Tensor

    from easyanimate_vae.training.config import ValidationConfig
    from easyanimate_vae.training.perceptual import PerceptualDistance


class Validator:
    """Reconstructs the first clips of a dataset, the same every time.

    Args:
        dataset: Batches of the clips.
        config: Number of clips, and their frames per second.
        distance: LPIPS, where it is measured.
    """

    def __init__(self, dataset: BatchedDataset, config: ValidationConfig, distance: PerceptualDistance | None) -> None:
        self._dataset, self._config, self._distance = dataset, config, distance

    @torch.no_grad()
    def __call__(self, vae: Any, folder: Path, device: torch.device) -> ValidationResult:
        """Measure PSNR in dB, SSIM and LPIPS, means over the clips, and write each beside its reconstruction."""
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, list[Tensor]] = {}
        videos: dict[str, np.ndarray[Any, Any]] = {}
        for frames in self._read():
            pixels = scale_pixels(frames, device)
            decoded = torch.cat(list(vae.decode_chunks(vae.encode(pixels).latent_dist.mean)), dim=2)
            for name, measured in self._measure(pixels, decoded).items():
                found.setdefault(name, []).extend(measured.mean(dim=1))
            for pair in zip(pixels, decoded, strict=True):
                videos[f"clip {len(videos)}"] = side_by_side(*pair)
        for number, clip in enumerate(videos.values()):
            if len(clip) == 1:
                write_image(folder / f"{number}.png", clip[0])
            else:
                write_video(folder / f"{number}.mp4", Video(clip, self._config.fps))
        values = {name: float(torch.stack(measured).mean()) for name, measured in found.items()}
        (folder / "values.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
        return ValidationResult(values, videos, self._config.fps)

    def _measure(
        self, pixels: Float[Tensor, "B 3 T H W"], decoded: Float[Tensor, "B 3 T H W"]
    ) -> dict[str, Float[Tensor, "B T"]]:
        measured = compare_frames(pixels, decoded)
        if self._distance is not None:
            measured["lpips"] = self._distance(pixels, decoded.clamp(-1, 1))
        return measured

    def _read(self) -> Iterator[UInt8[np.ndarray[Any, Any], "B T H W 3"]]:
        """Batches with `num_clips` clips in total."""
        left = self._config.num_clips
        for epoch in itertools.count():
            batches = self._dataset.plan(epoch)
            if not len(batches):
                raise RequestError("The validation data gives no batch.", fix="lower data.batch_size, or add clips")
            for batch in batches:
                num = min(left, len(self._dataset.describe(batch)))
                yield self._dataset.load(batch, range(num))["frames"]
                left -= num
                if not left:
                    return
