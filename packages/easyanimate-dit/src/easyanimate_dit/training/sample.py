"""Training samples: clips and captions, encoded for the transformer.

Axes: B samples, T frames, H height, W width in pixels; C channels, t, h, w in latents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from easyanimate_dit.sampling.inpaint import code_masked_clip
from easyanimate_dit.sampling.noise import SeededNoise
from easyanimate_dit.training.cache import Cache, fingerprint, require_identity, stack_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from easyanimate_core.dataset import BatchedDataset, BatchRow, TrainingBatch
    from easyanimate_train.stream import BatchShard

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.training.config import DitTrainingConfig, TaskConfig

TEXT, START, ENDS, AREA = 0, 1, 2, 3


@dataclass(frozen=True)
class Samples:
    """An encoded batch.

    Args:
        mean: Posterior means of the latents [B, C, t, h, w], scaled for the transformer.
        deviation: Posterior standard deviations, likewise.
        captions: The B captions.
        given: Forward arguments for the given frames, each [B, ...]; empty for transformers without inpainting.
        image: Forward arguments for the reference image, each [B, ...], zeros where there is none.
    """

    mean: Tensor
    deviation: Tensor
    captions: list[str]
    given: dict[str, Tensor]
    image: dict[str, Tensor]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.captions)

    def entry(self, row: int) -> dict[str, Tensor]:
        """A sample, as the cache keeps it."""
        parts = {"mean": self.mean, "deviation": self.deviation}
        parts |= {f"given.{name}": value for name, value in self.given.items()}
        parts |= {f"image.{name}": value for name, value in self.image.items()}
        return {name: value[row] for name, value in parts.items()}

    @classmethod
    def join(cls, entries: list[tuple[dict[str, Tensor], str]]) -> Samples:
        """The batch of cached samples: tensors and caption of each."""
        tensors = [entry for entry, _ in entries]
        return cls(
            mean=torch.stack([entry["mean"] for entry in tensors]),
            deviation=torch.stack([entry["deviation"] for entry in tensors]),
            captions=[text for _, text in entries],
            given=stack_entries(tensors, "given."),
            image=stack_entries(tensors, "image."),
        )

    def to(self, device: torch.device) -> Samples:
        """The batch on a device."""
        return Samples(
            self.mean.to(device),
            self.deviation.to(device),
            self.captions,
            {name: value.to(device) for name, value in self.given.items()},
            {name: value.to(device) for name, value in self.image.items()},
        )


class SampleLoader:
    """Loads a shard of a batch: encoded samples where the cache has all of its rows, else the clips.

    Args:
        dataset: Batches of training data.
        cache: The cache of encoded samples; None for none.
    """

    def __init__(self, dataset: BatchedDataset, cache: Cache | None) -> None:
        self._dataset, self._cache = dataset, cache

    def __call__(self, batch: Any, shard: BatchShard) -> Samples | TrainingBatch:
        """Samples from the cache, or clips that are still to be encoded."""
        if self._cache is not None:
            found = [self._cache.read(make_row_key(self._cache, row)) for row in shard.descriptions]
            kept = [entry for entry in found if entry is not None]
            if len(kept) == len(found):
                return Samples.join(kept)
        return self._dataset.load(batch, shard.rows)


def make_row_key(cache: Cache, row: BatchRow) -> str:
    """Key of the encoded sample of a row."""
    require_identity(row.identity)
    return cache.make_key(row.identity, row.seed)


def open_cache(config: DitTrainingConfig, pipeline: EasyAnimatePipeline) -> Cache | None:
    """The cache of latents, where the settings ask for one."""
    if not config.cache:
        return None
    encoders = fingerprint([pipeline.vae, pipeline.image_encoder])
    return Cache(
        find_folder(config, "latents"), f"{encoders} {pipeline.vae.config.scaling_factor} {asdict(config.task)}"
    )


def find_folder(config: DitTrainingConfig, kind: str) -> Path:
    """Folder in which a run caches "latents" or "text"."""
    return (config.cache_folder or config.out / "cache") / kind


class SampleEncoder:
    """Encodes clips. The random choices for a row come from its own seed, so that the result can be cached.

    Args:
        pipeline: Has the VAE, the image encoder, and how this model version encodes given frames.
        task: Shares of the tasks.
        cache: Keeps the samples; None keeps nothing.
    """

    def __init__(self, pipeline: EasyAnimatePipeline, task: TaskConfig, cache: Cache | None = None) -> None:
        self._pipeline = pipeline
        self._parts = pipeline.parts
        self._task = task
        self._cache = cache

    def encode(self, batch: TrainingBatch, rows: Sequence[BatchRow], device: torch.device) -> Samples:
        """Encode a batch on the device that the encoders are on.

        Rows that are in the cache are taken from there, and cached entries are never replaced: a run that was killed
        and is resumed finds exactly what it would have encoded.
        """
        if self._cache is None:
            return self._make(batch, rows, device)
        keys = [make_row_key(self._cache, row) for row in rows]
        found = {key: entry for key in keys if (entry := self._cache.read(key)) is not None}
        missing = [index for index, key in enumerate(keys) if key not in found]
        if missing:
            made = self._make(_choose(batch, missing), [rows[index] for index in missing], device)
            for number, index in enumerate(missing):
                entry = {name: value.cpu() for name, value in made.entry(number).items()}, made.captions[number]
                found[keys[index]] = entry
                if not batch["bad"]:  # a clip that cannot be read now was replaced by another
                    self._cache.write(keys[index], *entry)
        return Samples.join([found[key] for key in keys]).to(device)

    @torch.no_grad()
    def _make(self, batch: TrainingBatch, rows: Sequence[BatchRow], device: torch.device) -> Samples:
        rngs = [np.random.default_rng(row.seed) for row in rows]
        clips = np.asarray(batch["frames"])
        num_frames = clips.shape[1]
        pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).to(device).float().div_(127.5).sub_(1.0)
        # Channels last: several times faster on CPU.
        pixels = pixels.to(memory_format=torch.channels_last_3d)
        vae = self._pipeline.vae
        posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
        scale = vae.config.scaling_factor
        drawn = batch.get("mask")
        tasks = [self._draw_task(rng) if num_frames > 1 and drawn is None else TEXT for rng in rngs]
        masks = (
            self._mask(pixels, tasks, rngs)
            if drawn is None
            else torch.from_numpy(drawn > 0)[:, None].float().to(device)
        )
        is_given = (masks == 0).flatten(1).any(1).tolist()
        shown = [given and rng.random() < self._task.image_share for given, rng in zip(is_given, rngs, strict=True)]
        return Samples(
            # Contiguous, as they come from a cache: the last bits of what follows depend on it.
            (posterior.mean * scale).float().contiguous(),
            (torch.exp(0.5 * posterior.logvar) * scale).float().contiguous(),
            batch["text"],
            self._encode_given(self._hold_ends(pixels, tasks), masks, posterior.mean.shape, rngs),
            _join([self._encode_image(clip[0] if show else None) for clip, show in zip(clips, shown, strict=True)]),
        )

    def _encode_given(
        self, pixels: Tensor, masks: Tensor, shape: torch.Size, rngs: list[np.random.Generator]
    ) -> dict[str, Tensor]:
        """Forward arguments for the given frames; only these are encoded, with noise from each row's own seed."""
        if self._parts.inpaint is None:
            return {}
        device, codec = pixels.device, self._parts.codec
        seeds = [int(rng.integers(2**31)) for rng in rngs]
        whole = (masks == 1).flatten(1).all(1).tolist()
        encoded = [not every or rng.random() >= self._task.blank_share for every, rng in zip(whole, rngs, strict=True)]
        rows = [row for row, wanted in enumerate(encoded) if wanted]
        noise = SeededNoise(torch.Generator().manual_seed(seeds[0]))
        nothing = self._parts.inpaint.condition(None, (1, *shape[1:]), codec, noise, device=device)
        given = {name: value.repeat(len(encoded), *[1] * (value.dim() - 1)) for name, value in nothing.items()}
        if rows and given:
            noise = SeededNoise([torch.Generator().manual_seed(seeds[row]) for row in rows])
            coded = code_masked_clip(pixels[rows], masks[rows], codec, noise, device=device)
            for value in given.values():
                value[rows] = coded.to(value.dtype)
        return {name: value.float().contiguous() for name, value in given.items()}

    def _draw_task(self, rng: np.random.Generator) -> int:
        """The first task whose share, added to those before it, is above a random number."""
        draw, below = rng.random(), 0.0
        for task, share in (
            (START, self._task.start_share),
            (ENDS, self._task.ends_share),
            (AREA, self._task.area_share),
        ):
            below += share
            if draw < below:
                return task
        return TEXT

    def _mask(self, pixels: Tensor, tasks: list[int], rngs: list[np.random.Generator]) -> Tensor:
        """Masks [B, 1, T, H, W]: 0 for what is given, at the ends or around an area, 1 for what is to be made."""
        kept = min(self._task.given_frames, pixels.shape[2] // 2)
        masks = torch.ones_like(pixels[:, :1], memory_format=torch.contiguous_format)
        for row, (task, rng) in enumerate(zip(tasks, rngs, strict=True)):
            if task in (START, ENDS):
                masks[row, :, :kept] = 0
            if task == ENDS:
                masks[row, :, -kept:] = 0
            if task == AREA:
                rows, columns = (_draw_side(length, rng) for length in pixels.shape[3:])
                masks[row] = 0
                masks[row, :, :, rows, columns] = 1
        return masks

    def _hold_ends(self, pixels: Tensor, tasks: list[int]) -> Tensor:
        """Clips in which a given image is repeated, as generation prepares them."""
        kept = min(self._task.given_frames, pixels.shape[2] // 2)
        held = pixels.clone()
        for row, task in enumerate(tasks):
            if task in (START, ENDS):
                held[row] = pixels[row, :, :1]
            if task == ENDS:
                held[row, :, -kept:] = pixels[row, :, -1:]
        return held

    def _encode_image(self, picture: np.ndarray[Any, Any] | None) -> dict[str, Tensor]:
        if self._parts.image is None:
            return {}
        encoder = self._pipeline.image_encoder
        coded = self._parts.image.encode(picture, num_videos=1, device=encoder.device, dtype=torch.float32)
        return coded.absent if picture is None else coded.present


class CaptionEncoder:
    """Encodes captions, each distinct one once.

    Args:
        encode: Encodes a caption to forward arguments, each [1, ...].
        cache: Keeps them on disk; None keeps them in memory only.
    """

    def __init__(self, encode: Callable[[str], dict[str, Tensor]], cache: Cache | None = None) -> None:
        self._encode, self._cache = encode, cache
        self._kept: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def encode(self, captions: list[str]) -> dict[str, Tensor]:
        """Forward arguments for captions, each [B, ...], on the CPU."""
        for caption in captions:
            if caption not in self._kept:
                self._kept[caption] = self._find(caption)
        return _join([self._kept[caption] for caption in captions])

    def _find(self, caption: str) -> dict[str, Tensor]:
        if self._cache is None:
            return {name: value.cpu() for name, value in self._encode(caption).items()}
        key = self._cache.make_key(caption)
        found = self._cache.read(key)
        if found is not None:
            return found[0]
        made = {name: value.cpu() for name, value in self._encode(caption).items()}
        self._cache.write(key, made, caption)
        return made


def _draw_side(length: int, rng: np.random.Generator) -> slice:
    """A stretch of a quarter to three quarters of a side, as the rectangles of the original's masks have them."""
    size = int(rng.integers(max(length // 4, 1), max(length * 3 // 4, 1) + 1))
    begin = int(rng.integers(length - size + 1))
    return slice(begin, begin + size)


def _choose(batch: TrainingBatch, rows: list[int]) -> TrainingBatch:
    """Some rows of a batch, by their indices."""
    chosen: TrainingBatch = {
        "frames": batch["frames"][rows],
        "text": [batch["text"][row] for row in rows],
        "bad": batch["bad"],
    }
    if "mask" in batch:
        chosen["mask"] = batch["mask"][rows]
    return chosen


def _join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
