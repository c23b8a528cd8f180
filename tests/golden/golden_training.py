"""Golden cases of transformer training: inputs, loss and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from diffusers import DDPMScheduler
from easyanimate_core.shapes import ShapeRule
from easyanimate_dit import HunyuanTransformer3DModel, Transformer3DModel
from easyanimate_dit.sampling.inpaint import ChannelInpainter, GivenClip
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.noise import NoiseUse
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target
from easyanimate_dit.training.variational import NoiseSchedule
from easyanimate_vae import AutoencoderKLMagvit
from golden_case import Comparison, GoldenCase, compare, strip

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-4
_LOSS_TOLERANCE = 1e-5
_NOT_CONDITIONS = ("latents", "noise", "timesteps", "image_rotary_emb_cos", "image_rotary_emb_sin")


def run_training_step(case: GoldenCase) -> list[Comparison]:
    """One step: noisy latents, target, prediction, both losses, and their gradients."""
    model = HunyuanTransformer3DModel.from_config(case.config["transformer"])
    model.load_state_dict(strip(case.weights, "transformer/"), strict=True)
    scheduler = DDPMScheduler.from_config(case.config["scheduler_config"])
    inputs = case.inputs
    latents, noise, timesteps = inputs["latents"], inputs["noise"], inputs["timesteps"]
    noisy = scheduler.add_noise(latents, noise, timesteps)
    target = make_target(scheduler, latents, noise, timesteps)
    output = model(
        noisy,
        timesteps.to(noisy.dtype),
        image_rotary_emb=(inputs["image_rotary_emb_cos"], inputs["image_rotary_emb_sin"]),
        **{name: value for name, value in inputs.items() if name not in _NOT_CONDITIONS},
    ).sample
    ratio = case.call["motion_sub_loss_ratio"]
    mixed = compute_loss(output, target, motion_sub_loss=ratio)
    losses = {"loss": compute_loss(output, target), "loss_motion_sub": mixed}
    found: dict[str, Tensor] = {"noisy_latents": noisy, "target": target, "model_output": output}
    found |= {"model_pred": output[:, : latents.shape[1]], **losses}
    # The mixed loss is (1 - r) loss + r sub_loss.
    found["sub_loss"] = (mixed - (1 - ratio) * losses["loss"]) / ratio
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        gradients = {path: value.grad for path, value in model.named_parameters() if value.grad is not None}
        found |= {f"grad_of_{name}/{path}": gradient for path, gradient in gradients.items()}
        total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        found[f"grad_of_{name}/total_norm"] = total
    return [compare(name, found[name].detach(), value, _choose(name)) for name, value in case.outputs.items()]


def _choose(name: str) -> float:
    """Losses are held to more digits than what they are made of."""
    return _LOSS_TOLERANCE if name.startswith("loss") else _TOLERANCE


class _ListedNoise:
    """Posterior draws in the order in which they are asked for."""

    generator = None

    def __init__(self, draws: list[Tensor]) -> None:
        self._draws = draws

    def draw(self, shape: Any, _use: NoiseUse, *, device: Any, dtype: torch.dtype) -> Tensor:
        """The next one."""
        draw = self._draws.pop(0)
        assert draw.shape == tuple(shape), f"noise of shape {tuple(shape)}, recorded {tuple(draw.shape)}"
        return draw.to(device, dtype)


@torch.no_grad()
def run_training_inputs(case: GoldenCase) -> list[Comparison]:
    """Latents of clips, masks and masked clips, and the timesteps of normal draws."""
    vae = AutoencoderKLMagvit.from_config(case.config["vae"]).eval()
    vae.load_state_dict(strip(case.weights, "vae/"), strict=True)
    codec, device = LatentCodec(vae, ShapeRule()), torch.device("cpu")
    pixels, mask = (case.inputs[name].transpose(1, 2) for name in ("pixel_values", "mask"))
    noise = [case.inputs[f"posterior_noise.{index}"] for index in range(3 * len(pixels))]
    latents, given = [], []
    for row in range(len(pixels)):
        own = noise[row :: len(pixels)]
        clip, clip_mask = pixels[row : row + 1], mask[row : row + 1]
        latents.append(codec.encode(clip, _ListedNoise(own[:1]), NoiseUse.SOURCE, device=device))
        conditions = ChannelInpainter().condition(
            GivenClip(clip, clip_mask), latents[0].shape, codec, _ListedNoise(own[1:]), device=device
        )
        given.append(conditions["inpaint_latents"] * case.inputs["t2v_flag"][row])
    drawn = case.inputs["lognorm_u"]
    with mock.patch.object(torch, "randn", return_value=drawn):
        steps = case.call["train_sampling_steps"]
        timesteps = draw_timesteps("logit_normal", len(drawn), num_train_timesteps=steps, generator=torch.Generator())
    found = {
        "latents": torch.cat(latents),
        "inpaint_latents": torch.cat(given),
        "lognorm_timesteps": timesteps,
        "mask_pixel_values": torch.where(case.inputs["mask"] == 1, -1.0, case.inputs["pixel_values"]),
    }
    return [compare(name, found[name], value, _TOLERANCE) for name, value in case.outputs.items()]


def run_variational_loss(case: GoldenCase) -> list[Comparison]:
    """V1 to V3: loss and parts, with the SNR option, with fewer steps, and the gradients."""
    model = Transformer3DModel.from_config(case.config)
    model.load_state_dict(case.weights, strict=True)
    inputs = dict(case.inputs)
    draw = {name: inputs.pop(name) for name in ("latents", "noise")}
    found: dict[str, Tensor] = {}
    ways = {"": (1000, inputs.pop("timesteps")), "_respaced100": (100, inputs.pop("timesteps_respaced100"))}
    for ending, (num_steps, index) in ways.items():
        schedule = NoiseSchedule(num_steps)
        noisy = schedule.add_noise(**draw, index=index)
        output = model(noisy, schedule.timesteps[index], **inputs).sample
        loss = schedule.compute_loss(output, **draw, index=index)
        found |= {f"mse{ending}": loss.mse, f"vb{ending}": loss.bound, f"loss{ending}": loss.total}
        found[f"timestep_map{ending}"] = schedule.timesteps
        if not ending:
            found |= {"x_t": noisy, "model_output": output, "loss_mean": loss.total.mean()[None]}
            loss.total.mean().backward(retain_graph=True)
            found |= {f"grad/{path}": value.grad for path, value in model.named_parameters() if value.grad is not None}
            snr = schedule.compute_loss(output, **draw, index=index, snr=True)
            found |= {"mse_snr": snr.mse, "vb_snr": snr.bound, "loss_snr": snr.total}
            found["loss_mean_snr"] = snr.total.mean()[None]
    return [
        compare(name, found[name].detach(), value, _choose(name) * max(1.0, float(value.abs().max())))
        for name, value in case.outputs.items()
    ]
