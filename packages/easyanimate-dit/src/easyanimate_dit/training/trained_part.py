"""What of a pipeline is trained: all of the transformer, some modules, or a LoRA on frozen weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from easyanimate_core.errors import RequestError, near_misses
from peft import LoraConfig as PeftConfig

from easyanimate_dit.lora.apply import list_targets
from easyanimate_dit.lora.file import Component, LoraLayer, match_exactly, save_lora
from easyanimate_dit.sampling.text import TextConditioner
from easyanimate_dit.training.captioned_transformer import CaptionedTransformer, TokenConditioner
from easyanimate_dit.training.config import DitTrainingConfig, LoraConfig, LoraTrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

    Groups = Sequence[tuple[float, list[nn.Parameter]]]

LORA_FILE = "lora.safetensors"
TRANSFORMER = "transformer"
TEXT_ENCODER = "text_encoder"
_ADAPTER = "default"

_TEXT_RATE = 0.5
"""Learning rate of the text encoder's LoRA over the transformer's, as the original has it."""


@dataclass(frozen=True)
class Trained:
    """What the loop is given of a pipeline.

    Args:
        module: Learns; called as the transformer is, with what `text` makes of captions.
        groups: The trained parameters, with their shares of the learning rate.
        text: Makes of captions what the module takes.
        roles: Models of the pipeline beside the transformer that are in the module.
    """

    module: nn.Module
    groups: Groups
    text: TextConditioner | TokenConditioner
    roles: tuple[str, ...] = ()


class TrainedPart(Protocol):
    """What of a pipeline is trained, and how it is written."""

    def prepare(self, pipeline: EasyAnimatePipeline) -> Trained:
        """Make the part trainable, and freeze the rest of its models."""
        ...

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the result to a folder.

        Args:
            pipeline: Has the models.
            state: The whole state of the module that learns, on the CPU.
            folder: Of a checkpoint, or of the finished weights.
        """
        ...


def choose_part(config: DitTrainingConfig) -> TrainedPart:
    """What these settings train."""
    if not isinstance(config, LoraTrainingConfig):
        return ModulePart(config)
    return (TextLoraPart if config.lora.text_encoder else LoraPart)(config.lora)


class ModulePart:
    """All of the transformer, or the modules whose names the settings have."""

    def __init__(self, config: DitTrainingConfig) -> None:
        self._wanted, self._slow, self._slow_rate = config.trainable, config.slow, config.slow_rate
        self._class: Any = None

    def prepare(self, pipeline: EasyAnimatePipeline) -> Trained:
        """See `TrainedPart`.

        Raises:
            RequestError: A name is in no parameter's name.
        """
        transformer: Any = pipeline.transformer
        names = [name for name, _ in transformer.named_parameters()]
        for part in (*self._wanted, *self._slow):
            if not any(part in name for name in names):
                modules = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
                raise RequestError(
                    "No module of the transformer has such a name.",
                    received=part,
                    expected=f"a part of a name such as {', '.join(names[:3])}",
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
        self._class = type(transformer)  # before an engine makes it one of its own
        return Trained(transformer, [(1.0, whole), (self._slow_rate, slow)], pipeline.parts.text)

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """`transformer/`, a folder for the transformer's place; see `TrainedPart`."""
        # Of its own weights the transformer may have pieces, and `save_pretrained` takes no others.
        with torch.device("meta"):
            whole = self._class.from_config(pipeline.transformer.config)
        whole.load_state_dict(state, assign=True)
        whole.save_pretrained(folder / TRANSFORMER)


class LoraPart:
    """A LoRA on the transformer, which changes nothing before it is trained.

    Args:
        config: Its size, and which modules it is on.
    """

    def __init__(self, config: LoraConfig) -> None:
        self._config = config

    def prepare(self, pipeline: EasyAnimatePipeline) -> Trained:
        """See `TrainedPart`.

        Raises:
            RequestError: No module has such a name.
        """
        transformer: Any = pipeline.transformer
        paths, wanted = list(list_targets(transformer)), self._config.targets
        chosen = [path for path in paths if not wanted or any(part in path for part in wanted)]
        if not chosen:
            raise RequestError(
                "No module has such a name.",
                received=f"lora.targets: {', '.join(wanted)}",
                expected=f"parts of paths such as {', '.join(paths[:4])}",
            )
        return Trained(transformer, [(1.0, self._attach(transformer, chosen))], pipeline.parts.text)

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """`lora.safetensors`; see `TrainedPart`."""
        save_lora(folder / LORA_FILE, {TRANSFORMER: self._collect(pipeline.transformer, state)}, self._config.format)

    def _attach(self, model: Any, paths: Sequence[str]) -> list[nn.Parameter]:
        """Freeze a model and put a LoRA on modules of it; the parameters of the LoRA."""
        model.requires_grad_(requires_grad=False)
        alpha: Any = self._config.alpha  # peft's annotation knows whole numbers alone
        settings = PeftConfig(
            r=self._config.rank, lora_alpha=alpha, target_modules=match_exactly(paths), use_dora=self._config.dora
        )
        model.add_adapter(settings, adapter_name=_ADAPTER)
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def _collect(self, model: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> dict[str, LoraLayer]:
        """The layers of a model by path, from a state that has its tensors behind a prefix."""
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
    """A LoRA on the transformer and on the first text encoder, which learns at half the rate."""

    def prepare(self, pipeline: EasyAnimatePipeline) -> Trained:
        """See `TrainedPart`."""
        trained = super().prepare(pipeline)
        first, *others = pipeline.parts.text.branches
        encoder: Any = first.encoder  # a module of transformers
        parameters = self._attach(encoder, list(list_targets(encoder)))
        return Trained(
            CaptionedTransformer(trained.module, first),
            [*trained.groups, (_TEXT_RATE, parameters)],
            TokenConditioner(first, TextConditioner(tuple(others))),
            roles=(TEXT_ENCODER,),
        )

    def write(self, pipeline: EasyAnimatePipeline, state: Mapping[str, Tensor], folder: Path) -> None:
        """See `LoraPart`."""
        layers: dict[Component, dict[str, LoraLayer]] = {
            TRANSFORMER: self._collect(pipeline.transformer, state, f"{TRANSFORMER}."),
            TEXT_ENCODER: self._collect(pipeline.text_encoder, state, f"{TEXT_ENCODER}."),
        }
        save_lora(folder / LORA_FILE, layers, self._config.format)
