"""The training loop of the video VAE.

Axes: B batch, T frames, H height, W width; clips are uint8 [T, H, W, 3] from the dataset and [-1, 1] in the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from easyanimate_core.run_folder import RunFolder
from easyanimate_core.spec import Progress
from easyanimate_core.training import refuse_divergence
from torch import Tensor

from easyanimate_vae.autoencoder import AutoencoderKLMagvit
from easyanimate_vae.image import FrameAutoencoder
from easyanimate_vae.training.initial import start_as_identity, start_frames_as_identity
from easyanimate_vae.training.loss import compute_loss, measure_psnr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from easyanimate_core.interfaces import VideoDataset
    from jaxtyping import Float

    from easyanimate_vae.training.config import VaeTrainingConfig


def train_vae(
    config: VaeTrainingConfig,
    dataset: VideoDataset,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress, dict[str, float]], None] | None = None,
) -> Path:
    """Train a VAE and write it to `out/weights`, a folder for `AutoencoderKLMagvit.from_pretrained`.

    Every batch is a function of the seed and the step, so that a resumed run sees what the undisturbed one would.

    Raises:
        RequestError: When the loss is no longer finite, or the output folder holds another run.
    """
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    set_seed(config.seed)
    folder = RunFolder(
        config.out,
        config,
        resume=resume,
        is_main=accelerator.is_main_process,
        wait=accelerator.wait_for_everyone,
    )
    model = _build_model(config)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=config.optimizer.learning_rate,
        betas=(config.optimizer.betas[0], config.optimizer.betas[1]),
        weight_decay=config.optimizer.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: config.optimizer.factor(step, config.max_steps)
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(schedule)
    step = 0
    if resume and folder.newest:
        step, state = folder.newest
        accelerator.load_state(str(state))
        folder.cut_log(step)
    while step < config.max_steps:
        pixels = load_batch(config, dataset, step, rank=accelerator.process_index, num_ranks=accelerator.num_processes)
        values = _reconstruct(config, accelerator.unwrap_model(model), pixels.to(accelerator.device), step)
        accelerator.backward(values["loss"])
        accelerator.clip_grad_norm_(model.parameters(), config.optimizer.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        step += 1
        if step % config.log_every == 0 or step == config.max_steps:
            means: Any = accelerator.reduce({name: value.detach() for name, value in values.items()}, "mean")
            numbers = {name: float(value) for name, value in means.items()}
            refuse_divergence(numbers, step, folder)
            numbers["psnr"] = measure_psnr(numbers["mse"])
            folder.log(step=step, lr=float(schedule.get_last_lr()[0]), **numbers)
            if on_progress and accelerator.is_main_process:
                on_progress(Progress("train", step, config.max_steps), numbers)
        if step % config.checkpoint_every == 0 or step == config.max_steps:
            folder.save(step, lambda path: accelerator.save_state(str(path)))
    return folder.save_final(
        lambda path: accelerator.unwrap_model(model).save_pretrained(path, is_main_process=accelerator.is_main_process)
    )


def load_batch(
    config: VaeTrainingConfig, dataset: VideoDataset, step: int, *, rank: int = 0, num_ranks: int = 1
) -> Float[Tensor, "B 3 T H W"]:
    """The clips of a step, in [-1, 1]; longer clips are cut at a random place."""
    num_clips, num_frames = config.data.batches[step % len(config.data.batches)]
    rng = np.random.default_rng((config.seed, step))
    indices = rng.integers(len(dataset), size=num_clips)[rank::num_ranks]
    places = rng.random(num_clips)[rank::num_ranks]
    clips: list[np.ndarray[Any, Any]] = []
    for index, place in zip(indices, places, strict=True):
        frames = dataset[int(index)]["frames"]
        start = int(place * (max(len(frames) - num_frames, 0) + 1))
        clips.append(frames[start : start + num_frames])
    pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3)
    # Channels last: several times faster on CPU, and what tensor cores want.
    return pixels.to(torch.float32, memory_format=torch.channels_last_3d).div_(127.5).sub_(1.0)


def _build_model(config: VaeTrainingConfig) -> Any:
    model_class, start = {
        "video": (AutoencoderKLMagvit, start_as_identity),
        "frames": (FrameAutoencoder, start_frames_as_identity),
    }[config.kind]
    if config.weights is not None:
        model: Any = model_class.from_pretrained(config.weights, **config.model)
    else:
        model = model_class(**config.model)
        start(model)
    if config.trainable == "decoder":
        model.encoder.requires_grad_(requires_grad=False)
        model.quant_conv.requires_grad_(requires_grad=False)
    model.to(memory_format=torch.channels_last_3d if config.kind == "video" else torch.channels_last)
    return model.train()


def _reconstruct(
    config: VaeTrainingConfig, model: Any, pixels: Float[Tensor, "B 3 T H W"], step: int
) -> dict[str, Tensor]:
    """Code and decode a batch: its loss, and the parts of it."""
    posterior = model.encode(pixels).latent_dist
    decoded = model.decode(posterior.sample()).sample
    loss, parts = compute_loss(
        config.loss,
        pixels=pixels,
        decoded=decoded.float(),
        posterior=posterior,
        progress=step / config.max_steps,
    )
    return {"loss": loss, **parts}
