"""The short entrance: a model with its weights, opened by name, that makes clips.

    model = open_model("v4")
    model.make("a red circle moves to the right", seed=1).save("circle.mp4")

Nothing here draws on a terminal: notes and warnings go to the logger `easyanimate`, progress to `on_progress`.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from easyanimate_core.clip import Clip, ClipPlan
from easyanimate_core.errors import RequestError, near_misses
from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.interfaces import PromptReader
from easyanimate_core.machine import read_machine
from easyanimate_core.manifest import InputFile, Manifest, WeightsRecord, describe_request
from easyanimate_core.memory import (
    check_clip_memory,
    check_memory,
    explain_load,
    explain_run,
    explaining_memory,
    pausing_collection,
)
from easyanimate_core.part_files import check_lora_files, check_part_files, find_trained, parse_lora
from easyanimate_core.planning import check_request, plan_clip
from easyanimate_core.registry import load_plugins
from easyanimate_core.request import Progress
from easyanimate_core.spec import LoadOptions, LoraFile
from easyanimate_core.thread import count_threads
from easyanimate_core.weights import complete_spec, find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from easyanimate_core.interfaces import VideoPipeline
    from easyanimate_core.registry import Plugins
    from easyanimate_core.request import Defaults, TrainedRange, VideoRequest
    from easyanimate_core.spec import ModelSpec
    from easyanimate_core.weights import FoundWeights

_LOG = logging.getLogger(PROJECT)
_ARGUMENTS = ("weights", "device", "dtype", "loras", "plugins")


def open_model(  # noqa: PLR0913 (keyword-only)
    model: str,
    *,
    weights: str | Path = "auto",
    device: str | None = None,
    dtype: str | None = None,
    loras: Sequence[LoraFile | str | Path] | str | Path = (),
    plugins: Plugins | None = None,
    **parts: Path | str | None,
) -> Model:
    """Find a model and its weights and check them; the weights are loaded when the first clip is made.

    Args:
        model: Key of the model: "v4"; `ea models` lists them.
        weights: "auto", a name from `ea weights`, a folder, or a Hugging Face repository. "auto" takes the official
            weights when they are on this machine, else the demo weights, and says so in the log.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        dtype: "bfloat16", "float16" or "float32"; None takes the one that suits the device.
        loras: LoRA file to apply, or several in order; "FILE:WEIGHT" gives a weight. The folder of a
            training stands for what it wrote.
        plugins: Where the model, its weights and its files are looked up; None takes what is installed. Samplers are
            always those that are installed.
        parts: Files beside the weights that the model takes, by name, such as `transformer=`.

    Raises:
        PluginError: There is no such model.
        WeightsError: The weights are not here, damaged, or of another model; the error says what to do.
        RequestError: The model takes no such part, or a LoRA file is missing.
    """
    plugins = plugins or load_plugins()
    spec = plugins.model(model)
    for name in parts:
        if name not in {part.name for part in spec.part_files} and (hint := near_misses(name, _ARGUMENTS)):
            raise RequestError(
                f"open_model has no argument {name}.", received=name, expected=", ".join(_ARGUMENTS), fix=hint
            )
    files = {name: find_trained(Path(path), name) for name, path in parts.items() if path is not None}
    loras = (loras,) if isinstance(loras, str | Path) else loras
    applied = tuple(lora if isinstance(lora, LoraFile) else parse_lora(str(lora)) for lora in loras)
    check_part_files(files, spec, plugins.models().values())
    check_lora_files(applied)
    found = find_weights(str(weights), spec, plugins)
    if found.note:
        _LOG.warning(found.note, extra={"is_note": True})
    options = LoadOptions(weights=found.folder, dtype=dtype, device=device, loras=applied, parts=files)
    if spec.find_files is not None:
        options = spec.find_files(options)
    spec = complete_spec(spec, found.folder)
    samplers = load_plugins().schedulers() if spec.samplers == "registered" else spec.samplers
    return Model(spec, found, options, samplers=tuple(samplers))


@dataclass(frozen=True, repr=False)
class Model:
    """A model with its weights, found and checked; use `open_model`.

    Args:
        spec: The model, as its weights complete it.
        weights: Its weights.
        options: How it is loaded.
        samplers: Names of the samplers that it accepts; empty accepts any.
    """

    spec: ModelSpec
    weights: FoundWeights
    options: LoadOptions
    samplers: tuple[str, ...] = ()
    _told: set[str] = field(default_factory=set[str], compare=False)

    def __repr__(self) -> str:
        """What it is, without all that is known of it."""
        return f"<Model {self.spec.key}, weights {self.weights.name}>"

    @cached_property
    def defaults(self) -> Defaults:
        """What a request takes where nothing is asked for: of the weights, else of their source, else of the model."""
        base = (self.weights.source and self.weights.source.defaults) or self.spec.defaults
        return self.weights.folder.defaults(base) if self.weights.folder else base

    @cached_property
    def trained(self) -> TrainedRange | None:
        """What the weights were trained on; None where nobody says."""
        base = (self.weights.source and self.weights.source.trained) or self.spec.trained
        return self.weights.folder.trained(base) if self.weights.folder else base

    def training(self, trainer: str) -> dict[str, Any]:
        """Usual settings of a trainer ("dit", "lora", "vae") by whole names: of the model, then of the weights."""
        usual = self.spec.training.get(trainer, {})
        return {**usual, **(self.weights.folder.training(trainer) if self.weights.folder else {})}

    def using(self, pipeline: VideoPipeline) -> Model:
        """The same model with a pipeline that is loaded already, such as one that is being trained."""
        model = replace(self, _told=self._told)
        model.__dict__["pipeline"] = pipeline
        return model

    def plan(self, prompt: str, **settings: Any) -> ClipPlan:
        """Fill in the defaults, read the files, check everything that does not need the weights; log notes.

        Args:
            prompt: What the video shows.
            settings: Fields of `VideoRequest`; None leaves one open. Pictures and videos may be paths.

        Raises:
            RequestError, MediaError: For anything the model cannot do, or a file that cannot be read.
            EasyAnimateError: The clip certainly does not fit into memory.
        """
        plan = plan_clip(
            {**settings, "prompt": prompt}, self.spec, self.defaults, trained=self.trained, samplers=self.samplers
        )
        self._check_memory(plan.request)
        self._warn(plan.request)
        self._tell(plan.notes, is_note=True)
        return plan

    def check(self, request: VideoRequest) -> None:
        """Raise `RequestError` unless the model can make the clip of a request; log warnings."""
        check_request(request, self.spec, samplers=self.samplers)
        self._check_memory(request)
        self._warn(request)

    def make(self, prompt: str | ClipPlan, **settings: Any) -> Clip:
        """Make a clip.

        Args:
            prompt: What the video shows; or a plan.
            settings: As `plan` takes them.

        Raises:
            RequestError, MediaError: See `plan`.
            WeightsError: The weights cannot be loaded.
            EasyAnimateError: Memory does not suffice; the error names sizes that need less.
        """
        if isinstance(prompt, ClipPlan) and settings:
            raise RequestError(
                "A plan takes no further settings.",
                received=", ".join(settings),
                expected="make(plan), or make(prompt, **settings)",
                fix="give them to `plan`",
            )
        plan = prompt if isinstance(prompt, ClipPlan) else self.plan(prompt, **settings)
        request = plan.request
        clock = PhaseClock(request.on_progress)
        self.load(clock)
        if isinstance(self.pipeline, PromptReader):
            self._tell(self.pipeline.explain_cuts(request.prompt))
        with explaining_memory(explain_run(request, self.spec.shapes, self.options)):
            video = self.pipeline(replace(request, on_progress=clock))
        seconds = dict(clock.seconds)
        return Clip(video, request, lambda: self._describe(plan, seconds))

    def load(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Load the weights unless they are loaded.

        Args:
            on_progress: Told of the phases "import", where the model has one, and "load".
        """
        if "pipeline" in self.__dict__:
            return
        clock = PhaseClock(on_progress)
        if self.spec.imports:
            clock(Progress("import", 0, 1))
            self._import()
            clock(Progress("import", 1, 1))
        clock(Progress("load", 0, 1))
        _ = self.pipeline
        clock(Progress("load", 1, 1))

    @cached_property
    def pipeline(self) -> VideoPipeline:
        """What makes the clips; loaded when it is first asked for."""
        check_memory(self.options)
        _ = self._files  # as they are now
        self._import()
        with explaining_memory(explain_load(self.options)), pausing_collection():
            return self.spec.load(self.options)

    def _import(self) -> None:
        """Import what loading needs, while the system reads the weights from disk."""
        if self.options.weights is not None:
            Thread(target=self.options.weights.read_ahead, daemon=True).start()
        with pausing_collection():
            for name in self.spec.imports:
                import_module(name)

    @cached_property
    def _files(self) -> tuple[InputFile, ...]:
        """The files beside the weights that the model is loaded from."""
        parts = {name.replace("_", "-"): path for name, path in self.options.parts.items()}
        return (
            *(InputFile.read(role, path) for role, path in parts.items()),
            *(InputFile.read("lora", lora.path, weight=lora.weight) for lora in self.options.loras),
        )

    def _check_memory(self, request: VideoRequest) -> None:
        check_clip_memory(request, self.spec.shapes, self.options, is_loaded="pipeline" in self.__dict__)

    def _warn(self, request: VideoRequest) -> None:
        """Tell what is far from what the weights were trained on; a long video is made in parts."""
        if self.trained is not None:
            num_frames = request.segment_frames or request.num_frames
            self._tell(self.trained.warn(num_frames, request.height, request.width))
        vocabulary = self.weights.folder.vocabulary if self.weights.folder else None
        if vocabulary is not None and (line := vocabulary.warn(request.prompt)):
            self._tell([line])

    def _tell(self, lines: Iterable[str], *, is_note: bool = False) -> None:
        """Log lines, each once for a model; nothing is wrong where it is a note."""
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                _LOG.warning(line, extra={"is_note": is_note})

    def _describe(self, plan: ClipPlan, seconds: dict[str, float]) -> Manifest:
        folder = self.weights.folder
        record = WeightsRecord(name=self.weights.name)
        if folder is not None:
            record = replace(record, folder=str(folder.path.resolve()), hashes=folder.hashes)
        device, dtype = self._find_device_and_dtype()
        return Manifest(
            model=self.spec.key,
            weights=record,
            request=describe_request(plan.request),
            inputs=(*plan.inputs, *self._files),
            device=device,
            dtype=dtype,
            threads=count_threads() if device == "cpu" else None,
            timings=seconds,
        )

    def _find_device_and_dtype(self) -> tuple[str, str]:
        """Device and number format: what the pipeline says, else what was asked for, else what suits the machine."""
        device: Any = getattr(self.pipeline, "device", None) or self.options.device
        dtype: Any = getattr(self.pipeline, "dtype", None) or self.options.dtype
        if (device is None or dtype is None) and "torch" in sys.modules:
            fitting = [best for best in read_machine().devices if best.name.startswith(str(device or ""))]
            if fitting:
                device, dtype = device or fitting[0].name, dtype or fitting[0].dtypes[0]
        return str(device or "cpu"), str(dtype or "float32").removeprefix("torch.")


@dataclass
class PhaseClock:
    """Measures the phases of a run by what the run tells of its progress, and passes it on.

    Args:
        on_progress: Told everything, too.
    """

    on_progress: Callable[[Progress], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds by phase, in order: the time since the step before counts for a step's phase."""

    def __post_init__(self) -> None:
        """Begin."""
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Take in one step."""
        now = time.monotonic()
        self.seconds[progress.phase] = self.seconds.get(progress.phase, 0.0) + now - self._last
        self._last = now
        if self.on_progress is not None:
            self.on_progress(progress)
