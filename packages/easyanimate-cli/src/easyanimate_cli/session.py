"""One model with its weights, opened once and used for any number of clips."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import typer
from easyanimate_core.display import PhaseDisplay
from easyanimate_core.errors import RequestError
from easyanimate_core.machine import read_machine
from easyanimate_core.manifest import InputFile, Manifest, WeightsRecord, describe_request
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_image, write_video
from easyanimate_core.weights import FoundWeights, hash_weights, read_defaults, read_trained, resolve_weights

from easyanimate_cli.clip import Clip, check_outputs, plan_clips
from easyanimate_cli.memory import check_memory, describe_peak, explain_load, explain_run, explaining_memory
from easyanimate_cli.table import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from easyanimate_core.interfaces import VideoPipeline
    from easyanimate_core.spec import LoadOptions, ModelSpec, TrainedRange, Video, VideoRequest

    from easyanimate_cli.options import ClipOptions


@dataclass(frozen=True)
class Session:
    """A model, its weights and how to load it; nothing is loaded yet.

    Args:
        spec: The model.
        found: Its weights.
        options: How to load it.
        more_samplers: Samplers that plugins add to those of the model.
    """

    spec: ModelSpec
    found: FoundWeights
    options: LoadOptions
    more_samplers: tuple[str, ...] = ()

    @classmethod
    def open(cls, model: str, weights: str, options: LoadOptions) -> Self:
        """Find the model and its weights and check that they are whole; says so when weights were chosen.

        Args:
            model: Key of the model.
            weights: As `--weights` takes it.
            options: How to load; the folder of the weights is filled in.
        """
        plugins = load_plugins()
        spec = plugins.model(model)
        found = resolve_weights(weights, model_key=model, sources=plugins.weights(model), check=spec.check_weights)
        if found.note:
            typer.echo(found.note, err=True)
        options = _find_files(spec, replace(options, weights=found.folder))
        return cls(spec, found, options, tuple(plugins.schedulers()))

    def plan(self, asked: Iterable[ClipOptions]) -> list[Clip]:
        """Fill in the defaults of the weights and check everything that does not need the model."""
        folder, source = self.found.folder, self.found.source
        defaults = (source and source.defaults) or self.spec.defaults
        trained = (source and source.trained) or self.spec.trained
        if folder:
            defaults, trained = read_defaults(folder, defaults), read_trained(folder, trained)
        clips = plan_clips(self.spec, defaults, asked, more_samplers=self.more_samplers)
        for warning in dict.fromkeys(line for clip in clips for line in _warn(clip.request, trained)):
            typer.echo(f"Warning: {warning}", err=True)
        return clips

    def make(self, clips: Sequence[Clip]) -> list[Path]:
        """Load the model once, make the clips, write them with their manifests, and print a closing table."""
        check_outputs(clips)
        check_memory(self.options)
        record = self._record_weights()
        loaded = self._list_loaded()
        rows: list[tuple[str, str, str]] = []
        with PhaseDisplay() as display:
            pipeline = None
            for number, clip in enumerate(clips, start=1):
                count = f"{number}/{len(clips)} " if len(clips) > 1 else ""
                display.begin(f"{count}{clip.request.task}, seed {clip.request.seed}: {clip.request.prompt}")
                pipeline = pipeline or self._load(display)
                video = self._generate(pipeline, clip.request, display)
                manifest = self._describe(clip, record, Place.of(pipeline, self.options), display.seconds)
                with display.phase("write"):
                    _write(clip.output, video, replace(manifest, inputs=(*clip.inputs, *loaded)))
                seconds = ", ".join(f"{phase} {spent:.1f}" for phase, spent in display.seconds.items())
                rows.append((str(clip.output), seconds, describe_peak()))
                if not sys.stdout.isatty():
                    typer.echo(clip.output)
        print_table(rows, header=("FILE", "SECONDS", "PEAK MEMORY"), error=True)
        return [clip.output for clip in clips]

    def _list_loaded(self) -> tuple[InputFile, ...]:
        """The files beside the weights that the model is loaded from."""
        options = self.options
        parts = {"transformer": options.transformer, "motion-module": options.motion_module}
        return (
            *(InputFile.read(role, path) for role, path in parts.items() if path is not None),
            *(InputFile.read("lora", lora.path, weight=lora.weight) for lora in options.loras),
        )

    def _load(self, display: PhaseDisplay) -> VideoPipeline:
        # The bars of other libraries would break into ours.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        with display.phase("load"), explaining_memory(explain_load(self.options)):
            return self.spec.load(self.options)

    def _generate(self, pipeline: VideoPipeline, request: VideoRequest, display: PhaseDisplay) -> Video:
        with explaining_memory(explain_run(request, self.spec.shapes, self.options)):
            return pipeline(replace(request, on_progress=display.show))

    def _record_weights(self) -> WeightsRecord:
        folder = self.found.folder
        if folder is None:
            return WeightsRecord(name=self.found.name)
        return WeightsRecord(name=self.found.name, folder=str(folder.resolve()), hashes=hash_weights(folder))

    def _describe(self, clip: Clip, record: WeightsRecord, place: Place, seconds: dict[str, float]) -> Manifest:
        return Manifest(
            model=self.spec.key,
            weights=record,
            request=describe_request(clip.request),
            device=place.device,
            dtype=place.dtype,
            timings=dict(seconds),
        )


@dataclass(frozen=True)
class Place:
    """Where a pipeline runs and in which number format."""

    device: str
    dtype: str

    @classmethod
    def of(cls, pipeline: VideoPipeline, options: LoadOptions) -> Self:
        """What the pipeline says, else what was asked for, else what the machine is best at."""
        device: Any = getattr(pipeline, "device", None) or options.device
        dtype: Any = getattr(pipeline, "dtype", None) or options.dtype
        if (device is None or dtype is None) and "torch" in sys.modules:
            fitting = [best for best in read_machine().devices if best.name.startswith(str(device or ""))]
            if fitting:
                device, dtype = device or fitting[0].name, dtype or fitting[0].dtypes[0]
        return cls(str(device or "cpu"), str(dtype or "float32").removeprefix("torch."))


def _find_files(spec: ModelSpec, options: LoadOptions) -> LoadOptions:
    """Check the files given beside the weights, and fill in those that belong to them."""
    if spec.find_files is not None:
        return spec.find_files(options)
    given = options.transformer or options.motion_module
    if given is not None:
        raise RequestError(
            f"The model {spec.key} takes no weights beside its folder.",
            received=given,
            fix="leave out --transformer and --motion-module",
        )
    return options


def _warn(request: VideoRequest, trained: TrainedRange | None) -> list[str]:
    """Lines on what is far from what the weights were trained on; a long video is made in parts."""
    if trained is None:
        return []
    return trained.warn(request.segment_frames or request.num_frames, request.height, request.width)


def _write(path: Path, video: Video, manifest: Manifest) -> None:
    if path.suffix == ".png":
        write_image(path, video.frames[0], manifest=manifest.to_json())
    else:
        write_video(path, video, manifest=manifest.to_json())
