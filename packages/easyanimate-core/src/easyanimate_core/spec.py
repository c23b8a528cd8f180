"""What plugins hand over: models, weights, samplers, datasets, commands, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from easyanimate_core.errors import RequestError
from easyanimate_core.request import Defaults, Task
from easyanimate_core.target import Later, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from easyanimate_core.dataset import Batchable, VideoDataset
    from easyanimate_core.interfaces import VideoPipeline
    from easyanimate_core.request import TrainedRange
    from easyanimate_core.shapes import ShapeRule
    from easyanimate_core.weights_file import TensorInfo
    from easyanimate_core.weights_folder import WeightsFolder


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file and the weight it is applied with."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model.

    Args:
        weights: The folder in the original's layout, or None for a model without weights.
        dtype: "bfloat16", "float16" or "float32"; None lets the model choose for the device.
        device: "cuda", "cuda:1", "mps", "cpu"; None takes the best there is.
        loras: LoRA files to apply, in order.
        parts: Files beside the folder by the name of their `PartFile`, such as a personalised "transformer".
    """

    weights: WeightsFolder | None = None
    dtype: str | None = None
    device: str | None = None
    loras: tuple[LoraFile, ...] = ()
    parts: Mapping[str, Path] = field(default_factory=dict[str, "Path"])


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """A single file that a model can be loaded from beside its weights folder: `--NAME FILE`.

    Args:
        name: One word, with underscores; an option has hyphens in their place.
        summary: One sentence for `--help`.
        matches: Whether a file with these tensors is this part and no other, so that it can be told when it is given in
            the place of another. None: there is no telling.
    """

    name: str
    summary: str
    matches: Callable[[Mapping[str, TensorInfo]], bool] | None = None


TRANSFORMER_FILE = PartFile(name="transformer", summary="Transformer weights that replace those of the weights folder.")
"""The part that most models take: a personalised transformer, or what `ea train dit` wrote."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that `ea run --model KEY` can run.

    Functions may be named by their import paths, such as "my_package.build:load": they are imported when
    they are called.

    Args:
        key: The exact name on the command line.
        summary: One line for `ea models`.
        load: Makes the pipeline.
        imports: Modules that `load` needs and that take seconds to import. They are imported before, as a phase of its
            own, while the system reads the weights from disk.
        tasks: What the model can be asked for.
        defaults: Values of a request that the user left out.
        shapes: Which sizes and frame counts are valid; None accepts any.
        trained: What the weights were trained on, unless they say otherwise; None warns of nothing.
        samplers: Names accepted by `--sampler`; "registered" accepts those that plugins offer through `ea_schedulers`,
            and an empty tuple any word.
        identify: How sure the model is that a folder holds its weights: 0 not at all; of several models the highest
            number counts. Reads headers and configurations only. None cannot tell.
        check_weights: Raises `WeightsError` unless the folder holds whole weights of this model; reads no tensors, so
            that a wrong folder is refused before anything heavy is imported.
        complete: What the weights folder says of the model, as fields of this class to replace: tasks, shapes,
            defaults, samplers, ... Called before anything is loaded. None: one key stands for one fixed set.
        part_files: Files that it can be loaded from beside the folder.
        find_files: Fills in part files that lie beside the weights, and checks what `PartFile` cannot tell.
        list_lora_targets: Paths of the modules that a LoRA can change, for each component ("transformer",
            "text_encoder"); None where the model takes no LoRA files of the original.
        training: Settings of training by trainer ("dit", "lora", "vae") that differ from the trainer's defaults; names
            with dots, such as `optimizer.learning_rate`, reach into a part.
    """

    key: str
    summary: str
    load: Later[Callable[[LoadOptions], VideoPipeline]] = Later()
    imports: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = (Task.TEXT_TO_VIDEO,)
    defaults: Defaults = field(default_factory=Defaults)
    shapes: ShapeRule | None = None
    trained: TrainedRange | None = None
    samplers: tuple[str, ...] | Literal["registered"] = ()
    identify: Later[Callable[[WeightsFolder], int] | None] = Later(default=None)
    check_weights: Later[Callable[[WeightsFolder], None] | None] = Later(default=None)
    complete: Later[Callable[[WeightsFolder], Mapping[str, Any]] | None] = Later(default=None)
    part_files: tuple[PartFile, ...] = ()
    find_files: Later[Callable[[LoadOptions], LoadOptions] | None] = Later(default=None)
    list_lora_targets: Later[Callable[[], Mapping[str, Iterable[str]]] | None] = Later(default=None)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])

    def __post_init__(self) -> None:
        """Refuse keys that cannot be typed on a command line."""
        if not self.key or self.key != self.key.strip() or any(char.isspace() for char in self.key):
            raise RequestError("A model key is one word.", received=repr(self.key), expected="for example v4")


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Weights of a model that can be found by name.

    Args:
        model: Key of the model that they belong to.
        name: Name on the command line: "official", "demo", ...
        summary: One line for `ea weights list`.
        licence: Name of the licence, shown before a download.
        path: Folder that ships with a plugin; None for weights that are downloaded.
        hub_id: Repository on Hugging Face.
        folder: Where the original keeps them below `models/`, for instance
            "Diffusion_Transformer/EasyAnimateV4-XL-2-InP".
        size_bytes: Approximate size of the download.
        defaults: Values of a request for these weights; None takes those of the model.
        trained: What they were trained on; None takes what the model says.
    """

    model: str
    name: str
    summary: str
    licence: str
    path: Path | None = None
    hub_id: str | None = None
    folder: str | None = None
    size_bytes: int | None = None
    defaults: Defaults | None = None
    trained: TrainedRange | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec:
    """A sampler: its name on the command line, and a factory from the scheduler's configuration to the sampler.

    The factory is a function, or its import path: "my_package.samplers:make_heun".
    """

    name: str
    summary: str
    create: Later[Callable[[Mapping[str, Any]], Any]] = Later()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Training data: `load(path, **options)`, called late, gives items by index, or data that makes batches.

    It is a function, or its import path: "my_package.data:open_shards".
    """

    key: str
    summary: str
    load: Later[Callable[..., VideoDataset | Batchable]] = Later()


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command of `ea`: `ea GROUP NAME`.

    Args:
        group: "data", "train", "eval", ...
        name: The command below the group.
        summary: One line for `--help`.
        load: The place of the command, "my_package.count:count": a function whose typed parameters (plain or
            `typing.Annotated[..., typer.Option(...)]`) become options, imported when it runs. Or a function that
            imports and returns it.
    """

    group: str
    name: str
    summary: str
    load: Later[Callable[[], Callable[..., None]]] = Later(lambda path: Target(path).resolve)
