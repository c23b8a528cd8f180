"""The parts of a released checkpoint: what their folders must hold, and how they are loaded from them. Torch-free.

Classes are named by their place, "easyanimate_dit.hunyuan:HunyuanTransformer3DModel", and imported when a part is
loaded. `Part` is all that a part of your own has to offer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from easyanimate_core.checkpoint import Component
from easyanimate_core.target import Target
from easyanimate_core.weights_file import read_json
from easyanimate_core.weights_folder import check_like, complete_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import torch

WHOLE, TOKENIZER = Component(), Component(config=("tokenizer_config.json",), weights=False)
"""What the folder of a model, and that of a tokenizer, must hold."""

CLIP_EXTRAS = (r"^text_model\.", r"^text_projection\.", r"^logit_scale$", r"\.position_ids$")
"""Names in the file of an image encoder, which is a whole CLIP model."""

TEXT_EXTRAS = (r"\.position_ids$", r"^pooler\.", r"^cls\.", r"^decoder\.", r"^lm_head\.")
"""Heads and buffers that the files of text encoders may hold beside the encoders."""

VAE_EXTRAS = (r"^loss\.",)
"""Networks of the VAE's training, which some downloads carry."""


def complete_pixart_config(written: Mapping[str, Any], class_name: str, release: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a PixArt transformer: the fields of its release, with what its file says instead.

    The file may be that of the image transformer it was trained from, and what the original takes from elsewhere may
    stand there as null.
    """
    del class_name
    return {name: value if written.get(name) is None else written[name] for name, value in release.items()}


@dataclass(frozen=True)
class PartSettings:
    """How parts are loaded.

    Args:
        dtype: Of the weights in memory.
        files: Files beside the weights folder, by the name of the part that they replace or complete.
    """

    dtype: torch.dtype
    files: Mapping[str, Path] = field(default_factory=dict[str, "Path"])


class Part(Protocol):
    """A part of a checkpoint, in a folder with the name of its role."""

    @property
    def component(self) -> Component | None:
        """What the folder must hold; None where it need not be there."""
        ...

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """Load the part, on the CPU; the name of the folder is its role.

        Raises:
            WeightsError: What is there does not fit.
        """
        ...


@runtime_checkable
class NetworkPart(Part, Protocol):
    """A part that a LoRA can change."""

    def list_lora_targets(self) -> Iterable[str]:
        """Paths of the modules that a LoRA can change."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """A model of diffusers, loaded strictly.

    Args:
        target: Its class.
        config: Configuration of the released checkpoint: what its `config.json` may leave out.
        extras: Patterns of names that its file may hold beside the model.
        complete: Makes the configuration of what is written, the name of the class, and `config`.
        overflows: Whether it needs float32 where the others are in float16.
        example: Fields in place of those of `config` for a small model that has every module of all variants, whose
            names LoRA files use.
    """

    target: str
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extras: tuple[str, ...] = ()
    complete: Callable[[Mapping[str, Any], str, Mapping[str, Any]], Mapping[str, Any]] = complete_config
    overflows: bool = False
    example: Mapping[str, Any] = field(default_factory=dict[str, Any])
    component: Component = WHOLE

    def complete_config(self, written: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration that the model is built with.

        Raises:
            WeightsError: A field is of another type than that of the release.
        """
        completed = self.complete(written, self.target.rpartition(":")[2], self.config)
        check_like(completed, self.config, f"the configuration of {self.target.rpartition(':')[2]}")
        return completed

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`; a file for its role replaces some or all of its tensors."""
        from easyanimate_torch.checkpoint import load_model
        from easyanimate_torch.device import choose_vae_dtype

        from easyanimate_dit.loading.component import check_class, freeze, replace_weights

        dtype = choose_vae_dtype(settings.dtype) if self.overflows else settings.dtype
        written = read_json(folder / "config.json")
        check_class(written, self.target.rpartition(":")[2], str(folder / "config.json"))
        config = self.complete_config(written)
        config = {name: config[name] for name in self.config}
        model_class = Target(self.target).resolve()
        model = freeze(load_model(model_class, folder, dtype=dtype, changes=config, known_extras=self.extras))
        if folder.name in settings.files:
            replace_weights(model, settings.files[folder.name])
        return model

    def list_lora_targets(self) -> Iterable[str]:
        """Paths of the modules that a LoRA can change."""
        import torch

        from easyanimate_dit.lora.target import list_targets

        with torch.device("meta"):
            return list(list_targets(Target(self.target).resolve().from_config({**self.config, **self.example})))


@dataclass(frozen=True, kw_only=True)
class EncoderPart:
    """A text or image encoder of transformers, loaded strictly.

    Args:
        target: Its class.
        extras: Patterns of names that its file may hold beside the encoder.
        options: Arguments of the class beside the configuration.
        example: Configuration of a small encoder that has every module of the released one.
    """

    target: str
    extras: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    example: Mapping[str, Any] = field(default_factory=dict[str, Any])
    component: Component = WHOLE

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`."""
        from easyanimate_dit.loading.encoder import load_encoder

        encoder_class = Target(self.target).resolve()
        return load_encoder(encoder_class, folder, dtype=settings.dtype, known_extras=self.extras, **self.options)

    def list_lora_targets(self) -> Iterable[str]:
        """Paths of the modules that a LoRA can change."""
        import torch

        from easyanimate_dit.lora.target import list_targets

        encoder_class = Target(self.target).resolve()
        with torch.device("meta"):
            return list(list_targets(encoder_class(encoder_class.config_class(**self.example))))


@dataclass(frozen=True)
class TokenizerPart:
    """A tokenizer of transformers, of the class `target`."""

    target: str
    component: Component = TOKENIZER

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`."""
        from easyanimate_dit.loading.encoder import load_tokenizer

        del settings
        return load_tokenizer(Target(self.target).resolve(), folder)


@dataclass(frozen=True)
class ImageProcessorPart:
    """The preparation of pictures for CLIP; where it has no folder of its own, it lies in that of the image encoder."""

    component: Component | None = None

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`."""
        from easyanimate_dit.loading.encoder import load_image_processor

        del settings
        return load_image_processor(folder if folder.is_dir() else folder.with_name("image_encoder"))


@dataclass(frozen=True)
class SchedulerPart:
    """The configuration of all samplers.

    Args:
        config: The settings where the folder has none, or those of another class, which describe the image model that
            the checkpoint was trained from. None: the folder must have its own.
    """

    config: Mapping[str, Any] | None = None

    @property
    def component(self) -> Component | None:
        """See `Part`."""
        return Component(config=("scheduler_config.json",), weights=False) if self.config is None else None

    def load(self, folder: Path, settings: PartSettings) -> Any:
        """See `Part`."""
        from easyanimate_dit.loading.component import load_scheduler

        del settings
        return load_scheduler(folder, self.config)


T5 = EncoderPart(
    target="transformers:T5EncoderModel",
    extras=TEXT_EXTRAS,
    example={"num_layers": 1, "d_model": 8, "d_ff": 8, "feed_forward_proj": "gated-gelu"},
)
"""The encoder of a T5 v1.1 or mT5."""

CLIP: dict[str, Part] = {
    "image_encoder": EncoderPart(target="transformers:CLIPVisionModelWithProjection", extras=CLIP_EXTRAS),
    "image_processor": ImageProcessorPart(),
}
"""What a transformer needs that takes reference images."""

PIXART_SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
"""What the released PixArt models were trained with; all else is the default of a sampler's class."""

PIXART_CLASSES = ("Transformer", "PixArt")
"""Beginnings of the names that the class of a PixArt transformer, or of the image transformer below it, may have."""
