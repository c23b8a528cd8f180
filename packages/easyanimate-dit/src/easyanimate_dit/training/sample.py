"""Training samples: clips and captions to what the transformer is given, computed once where it stays the same.

Axes: B samples, T frames, H height, W width in pixels; C channels, t, h, w in latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from easyanimate_dit.inpaint import GivenClip
from easyanimate_dit.noise import SeededNoise

if TYPE_CHECKING:
    from collections.abc import Callable

    from easyanimate_core.interfaces import VideoDataset

    from easyanimate_dit.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import TaskConfig

TEXT, START, ENDS = 0, 1, 2


@dataclass(frozen=True)
class Samples:
    """A batch, or everything that is cached.

    Args:
        mean: Posterior means [B, C, t, h, w], scaled for the transformer.
        deviation: Posterior deviations, the same.
        captions: [B].
        given: Arguments of the forward pass for the given frames, each [B, ...]; empty for plain transformers.
        image: Arguments of `encode_condition` for the reference image, each [B, ...], zeros where there is none.
    """

    mean: Tensor
    deviation: Tensor
    captions: list[str]
    given: dict[str, Tensor]
    image: dict[str, Tensor]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.captions)

    def pick(self, rows: list[int]) -> Samples:
        """Some of them."""
        return Samples(
            self.mean[rows],
            self.deviation[rows],
            [self.captions[row] for row in rows],
            {name: value[rows] for name, value in self.given.items()},
            {name: value[rows] for name, value in self.image.items()},
        )


class SampleEncoder:
    """Clips of a dataset to samples; item i is always given the same task, so that its latents can be kept.

    Args:
        pipeline: Has the VAE, the image encoder and the way this version keeps given frames.
        dataset: The clips.
        task: Shares of the tasks.
        seed: Decides the task of an item.
    """

    def __init__(self, pipeline: EasyAnimatePipeline, dataset: VideoDataset, task: TaskConfig, *, seed: int) -> None:
        self._pipeline = pipeline
        self._parts = pipeline.parts
        self._dataset = dataset
        self._task = task
        self._seed = seed

    @torch.no_grad()
    def encode(self, index: int, num_frames: int) -> Samples:
        """One item, cut to `num_frames` from a place that depends on the item alone."""
        rng = np.random.default_rng((self._seed, index))
        item = self._dataset[index]
        frames = np.asarray(item["frames"])
        start = int(rng.integers(max(len(frames) - num_frames, 0) + 1))
        frames = frames[start : start + num_frames]
        pixels = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)[None].float().div_(127.5).sub_(1.0)
        task = self._draw_task(rng) if num_frames > 1 else TEXT
        device = self._pipeline.vae.device
        posterior = self._pipeline.vae.encode(pixels.to(device, self._pipeline.vae.dtype)).latent_dist
        scale = self._pipeline.vae.config.scaling_factor
        noise = SeededNoise(torch.Generator().manual_seed(int(rng.integers(2**31))))
        given: dict[str, Tensor] = {}
        if self._parts.inpaint is not None:
            clip = None if task == TEXT else self._keep_ends(pixels, task)
            given = self._parts.inpaint.condition(
                clip, posterior.mean.shape, self._parts.codec, noise, device=torch.device(device)
            )
        return Samples(
            posterior.mean * scale,
            posterior.std * scale,
            [item["text"]],
            given,
            self._encode_image(frames, shown=task != TEXT and rng.random() < self._task.image_share),
        )

    def encode_many(self, indices: list[int], num_frames: int, report: Callable[[int], None] | None = None) -> Samples:
        """Several items together."""
        samples: list[Samples] = []
        for done, index in enumerate(indices, 1):
            samples.append(self.encode(index, num_frames))
            if report:
                report(done)
        return Samples(
            torch.cat([sample.mean for sample in samples]),
            torch.cat([sample.deviation for sample in samples]),
            [caption for sample in samples for caption in sample.captions],
            _join([sample.given for sample in samples]),
            _join([sample.image for sample in samples]),
        )

    def _draw_task(self, rng: np.random.Generator) -> int:
        draw = rng.random()
        if draw < self._task.start_share:
            return START
        return ENDS if draw < self._task.start_share + self._task.ends_share else TEXT

    def _keep_ends(self, pixels: Tensor, task: int) -> GivenClip:
        """The first image repeated, at the end the last one, as generation prepares them; all between is made."""
        kept = min(self._task.given_frames, pixels.shape[2] // 2)
        clip = pixels[:, :, :1].expand_as(pixels).clone()
        mask = torch.ones_like(pixels[:, :1])
        mask[:, :, :kept] = 0
        if task == ENDS:
            clip[:, :, -kept:] = pixels[:, :, -1:]
            mask[:, :, -kept:] = 0
        return GivenClip(clip, mask)

    def _encode_image(self, frames: np.ndarray[Any, Any], *, shown: bool) -> dict[str, Tensor]:
        if self._parts.image is None:
            return {}
        coded = self._parts.image.encode(
            frames[0] if shown else None,
            num_videos=1,
            device=torch.device(self._pipeline.vae.device),
            dtype=self._pipeline.vae.dtype,
        )
        return coded.present if shown else coded.absent


class CaptionEncoder:
    """Captions to text arguments; each distinct caption is encoded once."""

    def __init__(self, pipeline: EasyAnimatePipeline) -> None:
        self._pipeline = pipeline
        self._kept: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def encode(self, captions: list[str]) -> dict[str, Tensor]:
        """Arguments of `encode_condition`, each [B, ...]."""
        for caption in captions:
            if caption not in self._kept:
                self._kept[caption] = self._pipeline.encode_prompt(caption)
        return _join([self._kept[caption] for caption in captions])


def _join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
