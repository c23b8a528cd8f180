"""Contract suites of the networks and the scheduler of a model: what the sampling pipeline rests on.

They work with the tensors that they are given, so that this package does without PyTorch.

Axes: C channels, T frames, H height, W width in pixels; t, h, w the same in latents; L text tokens, D features.
"""

# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from easyanimate_core.interfaces import (
    ImageEncoder,
    Posterior,
    Scheduler,
    SmoothingAutoencoder,
    TextEncoder,
    VideoAutoencoder,
    VideoTransformer,
)
from easyanimate_core.shapes import PixelShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from easyanimate_core.interfaces import Network, Tensor
    from easyanimate_core.shapes import ShapeRule


@dataclass(frozen=True, kw_only=True)
class TransformerCase:
    """A transformer, and what a run could give it for two videos that differ in everything.

    Args:
        transformer: With random weights: a weight that is zero hides what depends on it.
        latents: [2, C, t, h, w].
        conditions: Arguments of `encode_condition`, each [2, ...].
        inputs: Further arguments of `forward`, each [2, ...].
        tables: Further arguments of `forward` that have no batch axis.
    """

    transformer: VideoTransformer
    latents: Tensor
    conditions: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    tables: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TransformerContract:
    """What every `VideoTransformer` keeps. Override the fixture `case`."""

    tolerance: ClassVar[float] = 1e-4
    """How far a video of a batch may be from the one that is predicted alone, relative to the largest value."""

    def encode(self, case: TransformerCase, rows: slice = slice(None)) -> Any:
        """The condition of some of the videos."""
        return case.transformer.encode_condition(**{name: value[rows] for name, value in case.conditions.items()})

    def predict(
        self, case: TransformerCase, condition: Any, rows: slice = slice(None), *, timestep: float = 500.0
    ) -> Tensor:
        """The prediction for some of the videos, as the pipeline asks for it."""
        latents = case.latents[rows]
        with case.transformer.cache_context("cond"):
            output: Any = case.transformer(
                latents,
                latents.new_full((len(latents),), timestep),
                condition=condition,
                **{name: value[rows] for name, value in case.inputs.items()},
                **case.tables,
                return_dict=False,
            )
        assert not hasattr(output, "sample"), "with return_dict=False the transformer gives a tuple"
        return output[0][:, : latents.shape[1]].detach()

    def test_is_a_transformer(self, case: TransformerCase) -> None:
        """It has everything that the pipeline uses, and says where its weights are."""
        assert isinstance(case.transformer, VideoTransformer)
        check_network(case.transformer)

    def test_predicts_something_of_the_size_of_the_latents(self, case: TransformerCase) -> None:
        """At least as many channels, all of them finite numbers."""
        prediction = self.predict(case, self.encode(case))
        assert prediction.shape == case.latents.shape
        assert prediction.isfinite().all()

    def test_a_condition_serves_every_step(self, case: TransformerCase) -> None:
        """What was encoded once is not used up or changed by a step."""
        condition = self.encode(case)
        first = self.predict(case, condition)
        other = self.predict(case, condition, timestep=20.0)
        assert (first == self.predict(case, condition)).all(), "the same inputs give another prediction"
        assert (first != other).any(), "the timestep makes no difference"

    def test_latents_and_conditions_matter(self, case: TransformerCase) -> None:
        """The prediction depends on both."""
        condition, swapped = self.encode(case), self.encode(case, slice(0, 1))
        first = self.predict(case, condition)
        changed = dataclasses.replace(case, latents=case.latents + 1)
        second = slice(1, 2)
        found = measure_distance(self.predict(changed, condition), first)
        assert found > self.tolerance, "latents make no difference"
        found = measure_distance(self.predict(case, swapped, second), first[second])
        assert found > self.tolerance, "conditions make no difference"

    def test_videos_of_a_batch_do_not_mix(self, case: TransformerCase) -> None:
        """Each is the one that is predicted alone; guidance as one batch rests on that."""
        both = self.predict(case, self.encode(case))
        for rows in (slice(0, 1), slice(1, 2)):
            alone = self.predict(case, self.encode(case, rows), rows)
            assert measure_distance(both[rows], alone) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class AutoencoderCase:
    """A VAE and two clips that differ.

    Args:
        vae: With random weights.
        shapes: How large the latents of a clip are.
        clips: [2, 3, T, H, W] in [-1, 1], long enough for several pieces.
    """

    vae: VideoAutoencoder
    shapes: ShapeRule
    clips: Tensor


class AutoencoderContract:
    """What every `VideoAutoencoder` keeps. Override the fixture `case`."""

    tolerance: ClassVar[float] = 1e-4
    """How far a clip of a batch may be from the one that is coded alone, relative to the largest value."""

    def list_clips(self, case: AutoencoderCase) -> list[Tensor]:
        """The clips, and their first frames where the model makes images."""
        return [case.clips, case.clips[:, :, :1]] if case.shapes.image else [case.clips]

    def encode(self, case: AutoencoderCase, clips: Tensor) -> Tensor:
        """The mean of the latents of clips."""
        return case.vae.encode(clips).latent_dist.mean.detach()

    def decode(self, case: AutoencoderCase, latents: Tensor) -> list[Tensor]:
        """The pieces of the clips of latents."""
        return [piece.detach() for piece in case.vae.decode_chunks(latents)]

    def test_is_an_autoencoder(self, case: AutoencoderCase) -> None:
        """It has everything that the pipeline uses, and says where its weights are."""
        assert isinstance(case.vae, VideoAutoencoder)
        check_network(case.vae)
        assert case.vae.config.latent_channels > 0
        assert case.vae.config.scaling_factor > 0

    def test_latents_are_as_large_as_the_shape_rule_says(self, case: AutoencoderCase) -> None:
        """Of a clip, and of a single frame where the model makes images."""
        for clips in self.list_clips(case):
            posterior = case.vae.encode(clips).latent_dist
            assert isinstance(posterior, Posterior)
            latent = case.shapes.latent_shape(PixelShape(*clips.shape[2:]))
            expected = (2, case.vae.config.latent_channels, latent.num_frames, latent.height, latent.width)
            assert tuple(posterior.mean.shape) == tuple(posterior.logvar.shape) == expected

    def test_pieces_make_a_clip_of_the_same_size(self, case: AutoencoderCase) -> None:
        """Of a clip, and of a single frame where the model makes images."""
        for clips in self.list_clips(case):
            pieces = self.decode(case, self.encode(case, clips))
            assert sum(piece.shape[2] for piece in pieces) == clips.shape[2]
            size = [(*piece.shape[:2], *piece.shape[3:]) for piece in pieces]
            assert set(size) == {(*clips.shape[:2], *clips.shape[3:])}
            assert all(piece.isfinite().all() for piece in pieces)

    def test_pixels_and_latents_matter(self, case: AutoencoderCase) -> None:
        """Other pixels have other latents, and other latents other pixels."""
        latents = self.encode(case, case.clips)
        assert (latents[0] != latents[1]).any(), "pixels make no difference"
        assert (latents == self.encode(case, case.clips)).all(), "the same pixels have other latents"
        pieces = self.decode(case, latents)
        assert any((piece[0] != piece[1]).any() for piece in pieces), "latents make no difference"

    def test_clips_of_a_batch_do_not_mix(self, case: AutoencoderCase) -> None:
        """Each is coded as if it were alone."""
        latents = self.encode(case, case.clips)
        pieces = self.decode(case, latents)
        for rows in (slice(0, 1), slice(1, 2)):
            assert measure_distance(latents[rows], self.encode(case, case.clips[rows])) <= self.tolerance
            for piece, alone in zip(pieces, self.decode(case, latents[rows]), strict=True):
                assert measure_distance(piece[rows], alone) <= self.tolerance


class SmoothingAutoencoderContract(AutoencoderContract):
    """What every `SmoothingAutoencoder` keeps besides."""

    def test_smooths_with_the_noise_of_the_run(self, case: AutoencoderCase) -> None:
        """A clip of the same size in [-1, 1], which depends on the latents that are drawn."""
        vae = case.vae
        assert isinstance(vae, SmoothingAutoencoder)
        latents = self.encode(case, case.clips)
        clip, other = (vae.decode_smoothly(latents, draw).detach() for draw in (_take_mean, _take_beside_mean))
        assert clip.shape == case.clips.shape
        assert clip.abs().max() <= 1
        assert (clip != other).any(), "what is drawn makes no difference"


def _take_mean(posterior: Posterior) -> Tensor:
    return posterior.mean


def _take_beside_mean(posterior: Posterior) -> Tensor:
    return posterior.mean + 1


@dataclass(frozen=True, kw_only=True)
class TextEncoderCase:
    """A text encoder and two prompts that differ, of which one at least is padded.

    Args:
        encoder: With random weights.
        ids: Tokens [2, L].
        mask: [2, L], 1 where a token is real; real ones come first.
    """

    encoder: TextEncoder
    ids: Tensor
    mask: Tensor


class TextEncoderContract:
    """What every `TextEncoder` keeps. Override the fixture `case`."""

    tolerance: ClassVar[float] = 1e-4

    def encode(self, case: TextEncoderCase, ids: Tensor, mask: Tensor) -> Tensor:
        """The states."""
        return case.encoder(ids, attention_mask=mask).last_hidden_state.detach()

    def test_is_a_text_encoder(self, case: TextEncoderCase) -> None:
        """It has everything that the pipeline uses, and says where its weights are."""
        assert isinstance(case.encoder, TextEncoder)
        check_network(case.encoder)

    def test_every_token_has_a_state(self, case: TextEncoderCase) -> None:
        """[2, L, D], all of them finite numbers."""
        states = self.encode(case, case.ids, case.mask)
        assert states.ndim == 3  # noqa: PLR2004
        assert states.shape[:2] == case.ids.shape
        assert states.isfinite().all()

    def test_tokens_matter_and_padding_does_not(self, case: TextEncoderCase) -> None:
        """States of real tokens depend on real tokens only."""
        states = self.encode(case, case.ids, case.mask)
        swapped = case.ids.flip(0)
        assert (self.encode(case, swapped, case.mask) != states).any(), "tokens make no difference"
        real = case.mask.bool()
        assert not real.all(), "the case has no padding"
        padded = case.ids.where(real, swapped.max())
        assert measure_distance(self.encode(case, padded, case.mask)[real], states[real]) <= self.tolerance

    def test_prompts_of_a_batch_do_not_mix(self, case: TextEncoderCase) -> None:
        """Each has the states that it has alone."""
        both = self.encode(case, case.ids, case.mask)
        for rows in (slice(0, 1), slice(1, 2)):
            assert measure_distance(both[rows], self.encode(case, case.ids[rows], case.mask[rows])) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class ImageEncoderCase:
    """An encoder of pictures, and two pictures [2, 3, image_size, image_size] that differ."""

    encoder: ImageEncoder
    pixels: Tensor


class ImageEncoderContract:
    """What every `ImageEncoder` keeps. Override the fixture `case`."""

    tolerance: ClassVar[float] = 1e-4

    def test_is_an_image_encoder(self, case: ImageEncoderCase) -> None:
        """It has everything that the pipeline uses, and says where its weights are."""
        assert isinstance(case.encoder, ImageEncoder)
        check_network(case.encoder)

    def test_states_and_embedding_are_as_large_as_the_configuration_says(self, case: ImageEncoderCase) -> None:
        """A state per patch after that of the picture, and one embedding."""
        config, states = case.encoder.config, case.encoder(case.pixels)
        num_patches = (config.image_size // config.patch_size) ** 2
        assert tuple(states.last_hidden_state.shape) == (2, 1 + num_patches, config.hidden_size)
        assert tuple(states.image_embeds.shape) == (2, config.projection_dim)

    def test_pictures_matter_and_do_not_mix(self, case: ImageEncoderCase) -> None:
        """Each has the states that it has alone."""
        both = case.encoder(case.pixels)
        for name in ("last_hidden_state", "image_embeds"):
            states = getattr(both, name).detach()
            assert (states[0] != states[1]).any(), f"pictures make no difference to {name}"
            for rows in (slice(0, 1), slice(1, 2)):
                alone = getattr(case.encoder(case.pixels[rows]), name).detach()
                assert measure_distance(states[rows], alone) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class SchedulerCase:
    """A scheduler, and what it works on.

    Args:
        scheduler: Made for a transformer that predicts the noise (epsilon).
        clean: Latents [B, C, t, h, w] without noise, on the CPU.
        noise: Standard normal [B, C, t, h, w].
        steps: Steps of a run.
    """

    scheduler: Scheduler
    clean: Tensor
    noise: Tensor
    steps: int = 8


class SchedulerContract:
    """What every `Scheduler` keeps. Override the fixture `case`."""

    tolerance: ClassVar[float] = 0.1
    """How far from the clean latents a run with perfect predictions may end; some schedulers leave a little noise."""

    def test_is_a_scheduler(self, case: SchedulerCase) -> None:
        """It has everything that the pipeline uses, and a configuration to make others from."""
        assert isinstance(case.scheduler, Scheduler)
        assert dict(case.scheduler.config)

    def test_timesteps_fall_and_stay_on_the_host(self, case: SchedulerCase) -> None:
        """So that no step waits for the device."""
        timesteps = self.start(case)
        assert timesteps.device.type == "cpu"
        assert len(timesteps) >= case.steps
        assert (timesteps[1:] <= timesteps[:-1]).all()
        assert timesteps[-1] < timesteps[0]

    def test_perfect_predictions_end_at_the_clean_latents(self, case: SchedulerCase) -> None:
        """Scale, step and added noise fit one another."""
        scheduler, timesteps = case.scheduler, self.start(case)
        latents = scheduler.add_noise(case.clean, case.noise, timesteps[:1])
        for timestep in timesteps:
            assert scheduler.scale_model_input(latents, timestep).shape == latents.shape
            latents = self.step(case, self.predict_noise(case, latents, timestep), timestep, latents)
        assert latents.dtype == case.clean.dtype
        assert measure_distance(latents, case.clean) <= self.tolerance

    def test_a_run_starts_from_noise_as_strong_as_it_says(self, case: SchedulerCase) -> None:
        """`init_noise_sigma` is about the deviation of latents with the noise of the first timestep."""
        timesteps = self.start(case)
        noisy = case.scheduler.add_noise(case.clean * 0, case.noise, timesteps[:1])
        expected = case.noise * case.scheduler.init_noise_sigma
        assert measure_distance(noisy, expected) <= self.tolerance

    def start(self, case: SchedulerCase) -> Tensor:
        """The timesteps of a run."""
        case.scheduler.set_timesteps(case.steps, device="cpu")
        return case.scheduler.timesteps

    def predict_noise(self, case: SchedulerCase, latents: Tensor, timestep: Tensor) -> Tensor:
        """The noise of latents that a perfect transformer would find: `add_noise` is linear."""
        nothing = case.clean * 0
        signal = case.scheduler.add_noise(case.clean, nothing, timestep[None])
        deviation = case.scheduler.add_noise(nothing, nothing + 1, timestep[None])
        return (latents - signal) / deviation

    def step(self, case: SchedulerCase, prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """One step, with noise from outside where the scheduler takes it."""
        options = {"variance_noise": case.noise.flip(0)} if getattr(case.scheduler, "takes_noise", False) else {}
        step: Any = case.scheduler.step
        return step(prediction, timestep, latents, return_dict=False, **options)[0]


def check_network(network: Network) -> None:
    """Raise unless a network is a module that says truly where its weights are, in which format, and is in use."""
    module: Any = network
    parameter = next(iter(module.parameters()))
    assert network.device == parameter.device
    assert network.dtype == parameter.dtype
    assert not module.training, "the case is not in evaluation mode: call eval()"


def measure_distance(found: Tensor, expected: Tensor) -> float:
    """Largest difference of two tensors, relative to the largest expected value; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max()) / max(float(expected.abs().max()), 1e-6)
