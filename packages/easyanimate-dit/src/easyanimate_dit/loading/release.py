"""A released model: its parts, how its folders are told, and all that follows: check, load, the model for `ea`.

    MINE = Release(key="mine", parts={"transformer": ModelPart(...), ...}, ...)

    @hookimpl
    def ea_models():
        yield MINE.spec()

Torch-free: what needs PyTorch is imported when something is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from easyanimate_core.checkpoint import check_components
from easyanimate_core.errors import WeightsError
from easyanimate_core.interfaces import TilingAutoencoder
from easyanimate_core.request import Defaults, Task
from easyanimate_core.spec import TRANSFORMER_FILE, ModelSpec
from easyanimate_core.target import Later
from easyanimate_core.weights import complete_spec

from easyanimate_dit.loading.part import NetworkPart, PartSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from easyanimate_core.request import TrainedRange
    from easyanimate_core.shapes import ShapeRule
    from easyanimate_core.spec import LoadOptions, PartFile
    from easyanimate_core.weights_folder import WeightsFolder

    from easyanimate_dit.loading.part import Part
    from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
    from easyanimate_dit.sampling.request_pipeline import RequestPipeline
    from easyanimate_dit.sampling.version_parts import VersionParts

    Sign = tuple[int, Callable[[WeightsFolder], bool]]


_IMPORTS = ("torch", "transformers", "easyanimate_dit.sampling.request_pipeline", "easyanimate_dit.loading.placement")
"""What loading imports, whatever the release."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A model that the pipeline of this package runs: a released version, or networks of your own.

    Args:
        key: Of the model: "v4".
        summary: One line for `ea models`.
        parts: Parts of the checkpoint by role, which names the folder and the argument of the pipeline:
            "transformer", "vae", "text_encoder", "tokenizer", "scheduler", ...
        make_version_parts: Makes what this version does differently in the sampling pipeline, of the loaded parts by
            role and `shapes`, completed; a function, or its import path: "my_package.version:make_version_parts".
        class_prefixes: How the class in the transformer's `config.json` may begin; it may be that of the image model
            that the transformer was trained from.
        shapes: Which sizes and frame counts it makes.
        image_parts: Further parts, there only where `takes_images` holds.
        takes_images: Whether a transformer with this configuration, completed, takes reference images.
        signs: What tells its folders from those of other models with such a class: how sure it is where the sign is
            there, and whether a folder has it. The surest counts; see `ModelSpec.identify`. V1 to V4 use 1 (a guess)
            to 5 (no other).
        sure: How sure it is by the class alone, where a folder has no sign.
        complete: What a weights folder says of the model; see `ModelSpec`.
        check_more: Raises `WeightsError` for what `check_components` cannot see.
        tasks: What it can be asked for.
        defaults: Values of a request that the user left out.
        trained: What it was trained on.
        training: Usual settings of training; see `ModelSpec`.
        part_files: Files that it can be loaded from beside the folder.
        find_files: See `ModelSpec`.
    """

    key: str
    summary: str
    parts: Mapping[str, Part]
    make_version_parts: Later[Callable[[Mapping[str, Any], ShapeRule], VersionParts]] = Later()
    class_prefixes: tuple[str, ...]
    shapes: ShapeRule
    image_parts: Mapping[str, Part] = field(default_factory=dict[str, "Part"])
    takes_images: Callable[[Mapping[str, Any]], bool] | None = None
    signs: tuple[Sign, ...] = ()
    sure: int = 0
    complete: Later[Callable[[WeightsFolder], Mapping[str, Any]] | None] = Later(default=None)
    check_more: Callable[[WeightsFolder], None] | None = None
    tasks: tuple[Task, ...] = tuple(Task)
    defaults: Defaults = field(default_factory=Defaults)
    trained: TrainedRange | None = None
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    part_files: tuple[PartFile, ...] = (TRANSFORMER_FILE,)
    find_files: Callable[[LoadOptions], LoadOptions] | None = None

    def spec(self) -> ModelSpec:
        """The model for `ea`."""
        return ModelSpec(
            key=self.key,
            summary=self.summary,
            load=self.load,
            imports=_IMPORTS,
            tasks=self.tasks,
            defaults=self.defaults,
            shapes=self.shapes,
            trained=self.trained,
            samplers="registered",
            identify=self.identify,
            check_weights=self.check_weights,
            complete=self.complete_tasks,
            part_files=self.part_files,
            find_files=self.find_files,
            list_lora_targets=self.list_lora_targets,
            training=self.training,
        )

    def identify(self, folder: WeightsFolder) -> int:
        """How sure it is that a folder holds weights of this version; see `ModelSpec.identify`."""
        if not str(folder.config("transformer").get("_class_name", "")).startswith(self.class_prefixes):
            return 0
        return max((sure for sure, found in self.signs if found(folder)), default=self.sure)

    def complete_tasks(self, folder: WeightsFolder) -> Mapping[str, Any]:
        """What a folder says of the model: `complete`, and that a transformer without pictures goes on from none."""
        found = dict(self.complete(folder)) if self.complete is not None else {}
        if self.takes_images is not None and not self._has_images(folder):
            tasks = found.get("tasks", self.tasks)
            found["tasks"] = tuple(task for task in tasks if task is not Task.IMAGE_TO_VIDEO)
        return found

    def check_weights(self, folder: WeightsFolder) -> None:
        """Raise `WeightsError` unless a folder holds whole weights of this version; reads no tensors."""
        name = str(folder.config("transformer").get("_class_name", ""))
        if name and not name.startswith(self.class_prefixes):
            raise WeightsError(
                f"These are weights of another model: {folder}",
                received=f"a transformer of the class {name}",
                expected=" or ".join(f"{start}..." for start in self.class_prefixes),
                fix="choose the --model that these weights belong to, or other --weights",
            )
        if self.check_more is not None:
            self.check_more(folder)
        parts = self._list_parts(folder) if (folder.path / "transformer" / "config.json").is_file() else self.parts
        check_components(folder, {role: part.component for role, part in parts.items() if part.component is not None})

    def load_components(self, options: LoadOptions) -> dict[str, Any]:
        """Load the parts of a folder by role, on the CPU, with LoRA files merged.

        Args:
            options: `weights` is needed; `device` only decides the dtype where that is open.

        Raises:
            WeightsError: The folder does not hold whole weights of this version, or a further file does not fit.
        """
        from easyanimate_torch.device import choose_device, choose_dtype

        from easyanimate_dit.lora.apply import merge_option, read_loras

        folder = options.weights
        if folder is None:
            raise WeightsError(f"The model {self.key} needs weights.", received="none", fix="add --weights FOLDER")
        self.check_weights(folder)
        loras = read_loras(options.loras)
        settings = PartSettings(choose_dtype(options.dtype, choose_device(options.device)), options.parts)
        components = {role: part.load(folder.path / role, settings) for role, part in self._list_parts(folder).items()}
        for option, lora in zip(options.loras, loras, strict=True):
            merge_option(option, lora, components)
        return components

    def build_pipeline(self, components: Mapping[str, Any], shapes: ShapeRule | None = None) -> EasyAnimatePipeline:
        """Assemble the pipeline from parts by role; `shapes` where their weights say something else (`complete`)."""
        from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline

        return EasyAnimatePipeline(**components, parts=self.make_version_parts(components, shapes or self.shapes))

    def load(self, options: LoadOptions) -> RequestPipeline:
        """Load a folder in the original's layout and put it where it runs; see `ModelSpec.load`."""
        from easyanimate_torch.device import choose_device

        from easyanimate_dit.loading.placement import place_pipeline
        from easyanimate_dit.sampling.request_pipeline import RequestPipeline

        components = self.load_components(options)
        pipeline = self.build_pipeline(components, complete_spec(self.spec(), options.weights).shapes)
        if isinstance(pipeline.vae, TilingAutoencoder):
            pipeline.vae.enable_tiling()  # pictures larger than a tile would take several times the memory
        place_pipeline(pipeline, choose_device(options.device))
        return RequestPipeline(pipeline)

    def list_lora_targets(self) -> dict[str, Iterable[str]]:
        """Paths of the modules that a LoRA can change; see `ModelSpec`."""
        parts = {role: self.parts[role] for role in ("transformer", "text_encoder") if role in self.parts}
        return {role: part.list_lora_targets() for role, part in parts.items() if isinstance(part, NetworkPart)}

    def _list_parts(self, folder: WeightsFolder) -> dict[str, Part]:
        return {**self.parts, **self.image_parts} if self._has_images(folder) else dict(self.parts)

    def _has_images(self, folder: WeightsFolder) -> bool:
        """Whether the transformer of a folder takes reference images."""
        transformer: Any = self.parts["transformer"]
        return self.takes_images is not None and self.takes_images(
            transformer.complete_config(folder.config("transformer"))
        )
