"""The part of a pipeline that is trained: the whole transformer, some of its parameters, or a LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from easyanimate_core.errors import RequestError, near_misses
from peft import LoraConfig as PeftConfig

from easyanimate_dit.lora.apply import list_targets
from easyanimate_dit.lora.file import match_exactly, save_lora
from easyanimate_dit.lora.layer import LoraLayer
from easyanimate_dit.sampling.text import TextConditioner
from easyanimate_dit.training.captioned_transformer import CaptionedTransformer, TokenConditioner
from easyanimate_dit.training.config import DitTrainingConfig, LoraConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from easyanimate_dit.lora.name import Component
    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

    Groups = Sequence[tuple[float, list[nn.Parameter]]]

LORA_FILE = "lora.safetensors"
TRANSFORMER = "transformer"
TEXT_ENCODER = "text_encoder"
_ADAPTER = "default"

_TEXT_RATE = 0.5
"""Factor of the learning rate for the text encoder's LoRA, as in the original."""


@dataclass(frozen=True)
class PreparedPart:
    """A part that is ready to be trained.

    Args:
        module: The module to train, called like the transformer with the arguments that `text` gives.
        groups: Parameter groups: a factor of the learning rate, and its parameters.
        text: Encodes captions to arguments of the module.
        components: Names of the pipeline's components inside the module, beside the transformer.
    """

    module: nn.Module
    groups: Groups
    text: TextConditioner | TokenConditioner
    components: tuple[str, ...] = ()


class TrainablePart(Protocol):
    """A part of a pipeline that can be trained and written."""

    def prepare(self, pipeline: EasyAnimatePipeline) -> PreparedPart:
        """Make the part trainable, and freeze the rest of the models that it is in."""
        ...

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the result to a folder.

        Args:
            pipeline: The pipeline that was prepared.
            state: The whole state dict of the trained module, on the CPU.
            folder: Folder of a checkpoint, or of the finished weights.
        """
        ...


def choose_part(config: DitTrainingConfig) -> TrainablePart:
    """The part that the settings train."""
    if not isinstance(config, LoraTrainingConfig):
        return TransformerPart(config)
    return (TextLoraPart if config.lora.text_encoder else LoraPart)(config.lora)


class TransformerPart:
    """The whole transformer, or the parameters that `trainable` and `slow` name."""

    def __init__(self, config: DitTrainingConfig) -> None:
        self._wanted, self._slow, self._slow_rate = config.trainable, config.slow, config.slow_rate
        self._class: Any = None

    def prepare(self, pipeline: EasyAnimatePipeline) -> PreparedPart:
        """See `TrainablePart`.

        Raises:
            RequestError: A name of the settings is part of no parameter's name.
        """
        transformer: Any = pipeline.transformer
        names = [name for name, _ in transformer.named_parameters()]
        for part in (*self._wanted, *self._slow):
            if not any(part in name for name in names):
                modules = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
                raise RequestError(
                    "No parameter of the transformer has this in its name.",
                    received=part,
                    expected=f"part of a name such as {', '.join(names[:3])}",
                    fix=near_misses(part, modules),
                )
        whole: list[nn.Parameter] = []
        slow: list[nn.Parameter] = []
        for name, parameter in transformer.named_parameters():
            is_wanted = any(part in name for part in self._wanted) or not (self._wanted or self._slow)
            is_slow = not is_wanted and any(part in name for part in self._slow)
            parameter.requires_grad_(requires_grad=is_wanted or is_slow)
            if is_wanted or is_slow:
                (slow if is_slow else whole).append(parameter)
        self._class = type(transformer)  # before an engine wraps it in a class of its own
        return PreparedPart(transformer, [(1.0, whole), (self._slow_rate, slow)], pipeline.parts.text)

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write `transformer/`, as a folder of weights has it; see `TrainablePart`."""
        # The pipeline's transformer may hold shards of its weights, which `save_pretrained` would write.
        with torch.device("meta"):
            whole = self._class.from_config(pipeline.transformer.config)
        whole.load_state_dict(state, assign=True)
        whole.save_pretrained(folder / TRANSFORMER)


class LoraPart:
    """A LoRA of the transformer, which has no effect before it is trained.

    Args:
        config: Settings of the LoRA.
    """

    def __init__(self, config: LoraConfig) -> None:
        self._config = config

    def prepare(self, pipeline: EasyAnimatePipeline) -> PreparedPart:
        """See `TrainablePart`.

        Raises:
            RequestError: No module matches `targets`.
        """
        transformer: Any = pipeline.transformer
        paths, wanted = list(list_targets(transformer)), self._config.targets
        chosen = [path for path in paths if not wanted or any(part in path for part in wanted)]
        if not chosen:
            raise RequestError(
                "No module of the transformer matches lora.targets.",
                received=", ".join(wanted),
                expected=f"parts of paths such as {', '.join(paths[:4])}",
            )
        return PreparedPart(transformer, [(1.0, self._attach(transformer, chosen))], pipeline.parts.text)

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write `lora.safetensors`; see `TrainablePart`."""
        save_lora(folder / LORA_FILE, {TRANSFORMER: self._collect(pipeline.transformer, state)}, self._config.format)

    def _attach(self, model: Any, paths: Sequence[str]) -> list[nn.Parameter]:
        """Freeze a model and add a LoRA to some of its modules; returns the parameters of the LoRA."""
        model.requires_grad_(requires_grad=False)
        alpha: Any = self._config.alpha  # peft's annotation allows whole numbers only
        settings = PeftConfig(
            r=self._config.rank, lora_alpha=alpha, target_modules=match_exactly(paths), use_dora=self._config.dora
        )
        model.add_adapter(settings, adapter_name=_ADAPTER)
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def _collect(self, model: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> dict[str, LoraLayer]:
        """The LoRA layers of a model by path, from a state dict in which its names have a prefix."""
        return {
            path: LoraLayer(
                down=state[f"{prefix}{path}.lora_A.{_ADAPTER}.weight"],
                up=state[f"{prefix}{path}.lora_B.{_ADAPTER}.weight"],
                alpha=self._config.alpha,
                magnitude=state.get(f"{prefix}{path}.lora_magnitude_vector.{_ADAPTER}.weight"),
            )
            for path, module in model.named_modules()
            if _ADAPTER in getattr(module, "lora_A", {})
        }


class TextLoraPart(LoraPart):
    """A LoRA of the transformer and of the first text encoder, the latter at half the learning rate."""

    def prepare(self, pipeline: EasyAnimatePipeline) -> PreparedPart:
        """See `TrainablePart`."""
        transformer = super().prepare(pipeline)
        first, *others = pipeline.parts.text.branches
        encoder: Any = first.encoder  # a module of transformers
        parameters = self._attach(encoder, list(list_targets(encoder)))
        return PreparedPart(
            CaptionedTransformer(transformer.module, first),
            [*transformer.groups, (_TEXT_RATE, parameters)],
            TokenConditioner(first, TextConditioner(tuple(others))),
            components=(TEXT_ENCODER,),
        )

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write `lora.safetensors` with the layers of both; see `TrainablePart`."""
        layers: dict[Component, dict[str, LoraLayer]] = {
            TRANSFORMER: self._collect(pipeline.transformer, state, f"{TRANSFORMER}."),
            TEXT_ENCODER: self._collect(pipeline.text_encoder, state, f"{TEXT_ENCODER}."),
        }
        save_lora(folder / LORA_FILE, layers, self._config.format)
