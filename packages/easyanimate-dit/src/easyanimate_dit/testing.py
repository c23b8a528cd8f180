"""The contract suite of a `Release`: subclass it in a pytest file, and its tests run against your plugin.

    class TestMine(ReleaseContract):
        release = MINE

Needs pytest; what needs PyTorch is imported inside, as in a plugin.
"""

# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from easyanimate_core.errors import WeightsError
from easyanimate_core.registry import load_plugins
from easyanimate_core.spec import LoadOptions, LoraFile
from easyanimate_core.target import Target
from easyanimate_core.weights_folder import WeightsFolder

from easyanimate_dit.loading.part import ModelPart, PartSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from easyanimate_dit.loading.part import Part
    from easyanimate_dit.loading.release import Release


class ReleaseContract:
    """What every release keeps.

    Set `release`, and give two fixtures: `checkpoint`, the path of a small whole checkpoint in float32 and safetensors,
    with the image parts where the release has some, and `own_checkpoint`, a copy of it that the test may change.
    """

    release: ClassVar[Release]

    manifests: ClassVar[Mapping[str, Mapping[str, Sequence[int]]]] = {}
    """Of the released checkpoint: by role, the shape of every tensor by its name."""

    extras: ClassVar[Mapping[str, str]] = {}
    """By role, the name of a tensor that the part's file may hold beside the model."""

    def list_parts(self) -> dict[str, Part]:
        """All parts by role."""
        return {**self.release.parts, **self.release.image_parts}

    def list_models(self) -> list[str]:
        """Roles of the parts with weights."""
        parts = self.list_parts()
        return [role for role, part in parts.items() if part.component is not None and part.component.weights]

    def load_part(self, checkpoint: Path, role: str, **files: Path) -> Any:
        """Load one part in float32."""
        import torch

        return self.list_parts()[role].load(checkpoint / role, PartSettings(torch.float32, files))

    def load(self, checkpoint: Path, **options: Any) -> dict[str, Any]:
        """Load all parts, on the CPU."""
        return self.release.load_components(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu", **options))

    # The folder ------------------------------------------------------------------------------------------------------

    def test_a_whole_folder_is_its_own(self, checkpoint: Path) -> None:
        """It passes the check, and no other installed model is as sure that it is one of its own."""
        folder = WeightsFolder(checkpoint)
        self.release.check_weights(folder)
        models = {key: model.identify for key, model in load_plugins().models().items() if key != self.release.key}
        others = {key: identify(folder) for key, identify in models.items() if identify is not None}
        assert all(sure < self.release.identify(folder) for sure in others.values()), others

    def test_a_missing_part_is_named(self, own_checkpoint: Path) -> None:
        """Every part that must be there is missed."""
        for role in [role for role, part in self.list_parts().items() if part.component is not None]:
            (own_checkpoint / role).rename(own_checkpoint / "elsewhere")
            with refused(rf"lacks {role}:"):
                self.release.check_weights(WeightsFolder(own_checkpoint))
            (own_checkpoint / "elsewhere").rename(own_checkpoint / role)

    def test_a_cut_file_is_named(self, own_checkpoint: Path) -> None:
        """Half a download is refused before anything is loaded."""
        for role in self.list_models():
            path = find_weights(own_checkpoint / role)
            whole = path.read_bytes()
            path.write_bytes(whole[:-100])
            with refused(rf"incomplete: .*{role}"):
                self.release.check_weights(WeightsFolder(own_checkpoint))
            path.write_bytes(whole)

    def test_no_weights_are_refused(self) -> None:
        """A release is nothing without its weights."""
        with refused(f"The model {self.release.key} needs weights"):
            self.release.load_components(LoadOptions())

    # Loading ---------------------------------------------------------------------------------------------------------

    def test_parts_come_by_role(self, checkpoint: Path) -> None:
        """All of them, in float32 on a CPU."""
        import torch

        components = self.load(checkpoint)
        assert components.keys() == self.list_parts().keys()
        assert {components[role].dtype for role in self.list_models()} == {torch.float32}

    def test_only_what_overflows_stays_in_float32_beside_float16(self, checkpoint: Path) -> None:
        """The dtype is that of all parts but the VAE."""
        import torch

        components = self.load(checkpoint, dtype="float16")
        wide = {role for role, part in self.list_parts().items() if isinstance(part, ModelPart) and part.overflows}
        for role in self.list_models():
            assert components[role].dtype == (torch.float32 if role in wide else torch.float16), role

    def test_loading_says_nothing(self, own_checkpoint: Path, caplog: Any, monkeypatch: Any) -> None:
        """Neither float16 on a CPU nor what trainers leave in configurations is worth a warning."""
        for library in ("diffusers", "transformers"):
            monkeypatch.setattr(logging.getLogger(library), "propagate", True)
        for role in self.list_models():
            edit_config(own_checkpoint / role, inv_gamma=1.0, optimization_step=4400)
        options = LoadOptions(weights=WeightsFolder(own_checkpoint), device="cpu", dtype="float16")
        pipeline = self.release.load(options)
        assert not caplog.records
        assert pipeline.pipeline.components.keys() >= self.release.parts.keys()

    def test_missing_and_unexpected_tensors_are_named(self, own_checkpoint: Path) -> None:
        """Every model is loaded strictly."""
        import torch

        def damage(weights: dict[str, Any]) -> None:
            del weights[min(weights)]
            weights["surprise.weight"] = torch.zeros(1)

        for role in self.list_models():
            missing = min(read_weights(own_checkpoint / role))
            edit_weights(own_checkpoint / role, damage)
            with refused(rf"1 missing:\s+{re.escape(missing)}\s+1 unexpected:\s+surprise\.weight"):
                self.load_part(own_checkpoint, role)

    def test_known_extras_are_passed_over(self, own_checkpoint: Path) -> None:
        """What checkpoints of this family carry beside the model is no error."""
        import torch

        for role, name in self.extras.items():
            own = self.load_part(own_checkpoint, role).state_dict()
            edit_weights(own_checkpoint / role, lambda weights, name=name: weights.update({name: torch.zeros(1)}))
            assert self.load_part(own_checkpoint, role).state_dict().keys() == own.keys()

    def test_a_transformer_file_replaces_what_it_holds(self, checkpoint: Path, tmp_path: Path) -> None:
        """And nothing else."""
        import torch
        from safetensors.torch import save_file

        plain = self.load_part(checkpoint, "transformer").state_dict()
        name = min(name for name in read_weights(checkpoint / "transformer") if name in plain)
        save_file({name: torch.full_like(plain[name], 7)}, tmp_path / "mine.safetensors")
        loaded = self.load_part(checkpoint, "transformer", transformer=tmp_path / "mine.safetensors").state_dict()
        assert (loaded[name] == 7).all()  # noqa: PLR2004
        assert all(torch.equal(loaded[other], value) for other, value in plain.items() if other != name)

    # The configuration -----------------------------------------------------------------------------------------------

    def test_what_a_configuration_leaves_out_is_the_release_s(self, own_checkpoint: Path) -> None:
        """A folder with the release's values, and one without them, load alike."""
        parts = {role: part for role, part in self.list_parts().items() if isinstance(part, ModelPart) and part.config}
        for role, part in parts.items():
            release = json.loads(json.dumps(part.config))
            written = json.loads((own_checkpoint / role / "config.json").read_text(encoding="utf-8"))
            same = [name for name, value in release.items() if written.get(name) == value]
            assert same, f"no field of the {role} has the release's value, so that nothing is tried"
            edit_config(own_checkpoint / role, **dict.fromkeys(same))
            config = self.load_part(own_checkpoint, role).config
            found = json.loads(json.dumps({name: config[name] for name in same}))
            assert found == {name: release[name] for name in same}

    def test_the_released_configuration_has_the_official_tensors(self) -> None:
        """Names and shapes of `manifests`."""
        import torch

        for role, shapes in self.manifests.items():
            part: Any = self.list_parts()[role]
            with torch.device("meta"):
                model: Any = Target(part.target).resolve().from_config(dict(part.config))
            assert {name: list(tensor.shape) for name, tensor in model.state_dict().items()} == shapes, role

    # LoRA ------------------------------------------------------------------------------------------------------------

    def test_a_lora_is_merged(self, checkpoint: Path, tmp_path: Path) -> None:
        """As alpha / rank * up @ down, times the weight, into the named module alone."""
        import torch
        from safetensors.torch import save_file

        from easyanimate_dit.lora.file import name_original
        from easyanimate_dit.lora.target import list_targets

        plain = self.load_part(checkpoint, "transformer")
        linear = ((path, module) for path, module in list_targets(plain).items() if isinstance(module, torch.nn.Linear))
        path, module = next(linear)
        name = name_original("transformer", path)
        tensors = {
            f"{name}.lora_down.weight": torch.ones(4, module.in_features),
            f"{name}.lora_up.weight": torch.ones(module.out_features, 4),
            f"{name}.alpha": torch.tensor(2.0),
        }
        save_file(tensors, tmp_path / "lora.safetensors")
        merged = self.load(checkpoint, loras=(LoraFile(tmp_path / "lora.safetensors", 0.5),))["transformer"]
        expected = plain.state_dict()
        expected[f"{path}.weight"] += 0.5 * 2 / 4 * 4
        for key, value in merged.state_dict().items():
            torch.testing.assert_close(value, expected[key], atol=1e-6, rtol=0)

    def test_its_own_lora_files_are_told(self, checkpoint: Path) -> None:
        """The names of its modules are among those that the installed plugin lists."""
        from easyanimate_dit.lora.target import find_models, list_targets

        for role in ("transformer", "text_encoder"):
            names = list_targets(self.load_part(checkpoint, role))
            assert self.release.key in find_models(role, names)


@contextmanager
def refused(pattern: str) -> Iterator[None]:
    """Fail unless a `WeightsError` is raised inside whose text matches."""
    found = "nothing"
    try:
        yield
    except WeightsError as error:
        found = str(error)
    assert re.search(pattern, found), f"expected an error with {pattern}, not {found}"


def edit_config(folder: Path, **changes: Any) -> None:
    """Change fields of a part's `config.json`; None leaves one out."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    left = {name: value for name, value in config.items() if name not in changes or value is not None}
    path.write_text(json.dumps(left), encoding="utf-8")


def find_weights(folder: Path) -> Path:
    """The one safetensors file of a part."""
    (path,) = folder.glob("*.safetensors")
    return path


def read_weights(folder: Path) -> dict[str, Any]:
    """The tensors of a part's file."""
    from safetensors.torch import load_file

    return load_file(find_weights(folder))


def edit_weights(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the tensors of a part's file."""
    from safetensors.torch import save_file

    weights = read_weights(folder)
    edit(weights)
    save_file(weights, find_weights(folder), metadata={"format": "pt"})
