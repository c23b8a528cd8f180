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

GROUP = 8
"""Items that are encoded together."""


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

    def encode(self, indices: list[int], num_frames: int, report: Callable[[int], None] | None = None) -> Samples:
        """These items, each cut to `num_frames` from a place that depends on the item alone."""
        groups: list[Samples] = []
        for begin in range(0, len(indices), GROUP):
            groups.append(self._encode_group(indices[begin : begin + GROUP], num_frames))
            if report:
                report(min(begin + GROUP, len(indices)))
        return Samples(
            torch.cat([group.mean for group in groups]),
            torch.cat([group.deviation for group in groups]),
            [caption for group in groups for caption in group.captions],
            _join([group.given for group in groups]),
            _join([group.image for group in groups]),
        )

    @torch.no_grad()
    def _encode_group(self, indices: list[int], num_frames: int) -> Samples:
        rngs = [np.random.default_rng((self._seed, index)) for index in indices]
        items = [self._dataset[index] for index in indices]
        clips = [_cut(np.asarray(item["frames"]), num_frames, rng) for item, rng in zip(items, rngs, strict=True)]
        tasks = [self._draw_task(rng) if num_frames > 1 else TEXT for rng in rngs]
        pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1.0)
        # Channels last: several times faster on CPU.
        pixels = pixels.to(memory_format=torch.channels_last_3d)
        vae = self._pipeline.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        scale = vae.config.scaling_factor
        shown = [task != TEXT and rng.random() < self._task.image_share for task, rng in zip(tasks, rngs, strict=True)]
        return Samples(
            posterior.mean * scale,
            posterior.std * scale,
            [item["text"] for item in items],
            self._encode_given(pixels, tasks, posterior.mean.shape, [int(rng.integers(2**31)) for rng in rngs]),
            _join([self._encode_image(clip[0] if show else None) for clip, show in zip(clips, shown, strict=True)]),
        )

    def _encode_given(self, pixels: Tensor, tasks: list[int], shape: torch.Size, seeds: list[int]) -> dict[str, Tensor]:
        """Arguments for the given frames; only what is given is encoded, with noise of each item's own seed."""
        if self._parts.inpaint is None:
            return {}
        device = torch.device(self._pipeline.vae.device)
        rows = [row for row, task in enumerate(tasks) if task != TEXT]
        noise = SeededNoise([torch.Generator().manual_seed(seeds[row]) for row in rows] or None)
        nothing = self._parts.inpaint.condition(None, (1, *shape[1:]), self._parts.codec, noise, device=device)
        given = {name: value.repeat(len(tasks), *[1] * (value.dim() - 1)) for name, value in nothing.items()}
        if rows:
            kept = [self._keep_ends(pixels[row : row + 1], tasks[row]) for row in rows]
            clip = GivenClip(
                torch.cat([part.pixels for part in kept]),
                torch.cat([part.mask for part in kept if part.mask is not None]),
            )
            encoded = self._parts.inpaint.condition(
                clip, (len(rows), *shape[1:]), self._parts.codec, noise, device=device
            )
            for name, value in encoded.items():
                given[name][rows] = value
        return given

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

    def _encode_image(self, picture: np.ndarray[Any, Any] | None) -> dict[str, Tensor]:
        if self._parts.image is None:
            return {}
        vae = self._pipeline.vae
        coded = self._parts.image.encode(picture, num_videos=1, device=torch.device(vae.device), dtype=vae.dtype)
        return coded.absent if picture is None else coded.present


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


def _cut(frames: np.ndarray[Any, Any], num_frames: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    start = int(rng.integers(max(len(frames) - num_frames, 0) + 1))
    return frames[start : start + num_frames]


def _join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
