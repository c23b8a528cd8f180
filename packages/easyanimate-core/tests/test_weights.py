import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from easyanimate_core import ModelSpec, WeightsError, WeightsFolder, WeightsSource
from easyanimate_core.weights import check_weights, complete_spec, find_weights
from safetensors.numpy import save_file

OFFICIAL = WeightsSource(
    model="v4",
    name="official",
    summary="The official ones.",
    licence="Apache-2.0",
    hub_id="owner/EasyAnimateV4",
    folder="Diffusion_Transformer/EasyAnimateV4",
    size_bytes=14_000_000_000,
)


def make_checkpoint(folder: Path) -> Path:
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"transformer": ["diffusers", "X"]}))
    save_file({"a": np.zeros(9, np.float32)}, folder / "transformer" / "model.safetensors")
    return folder


def cut(folder: Path) -> Path:
    path = folder / "transformer" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    return path


def make_spec(key="v4", **values):
    return ModelSpec(key=key, summary="", load=print, **values)


def make_plugins(models, sources=()):
    return SimpleNamespace(
        models=lambda: {model.key: model for model in models},
        weights=lambda key: {source.name: source for source in sources if source.model == key},
    )


@pytest.fixture
def demo(tmp_path):
    folder = make_checkpoint(tmp_path / "plugin")
    return WeightsSource(model="v4", name="demo", summary="Small.", licence="Apache-2.0", path=folder)


@pytest.fixture
def find(tmp_path, monkeypatch, demo):
    """`find_weights` with a demo and an official source, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(text, sources=(demo, OFFICIAL), spec=make_spec()):  # noqa: B008 (frozen)
        return find_weights(text, spec, make_plugins([spec], sources), cache=tmp_path / "cache")

    return call


def test_auto_falls_back_on_the_demo_weights_and_says_so(find, tmp_path):
    found = find("auto")
    assert (found.folder.path, found.name) == (tmp_path / "plugin", "demo")
    assert "ea weights pull v4 official" in found.note
    assert "14.0 GB" in found.note
    assert "Apache-2.0" in found.note


def test_auto_takes_the_official_weights_when_they_are_here(find):
    folder = make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4"))
    found = find("auto")
    assert (found.folder.path, found.name, found.note) == (folder, "official", None)


def test_auto_takes_them_from_the_hugging_face_cache(find, tmp_path):
    place = tmp_path / "cache" / "models--owner--EasyAnimateV4"
    folder = make_checkpoint(place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    assert find("auto").folder.path == folder
    assert find("owner/EasyAnimateV4").folder.path == folder


def test_auto_passes_over_a_half_download_and_says_why(find):
    path = cut(make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4")))
    found = find("auto")
    assert found.name == "demo"
    assert "incomplete" in found.note
    assert str(path) in found.note


def test_a_model_without_weights(find):
    found = find("auto", sources=())
    assert (found.folder, found.note) == (None, None)


def test_auto_without_demo_names_the_command(find):
    with pytest.raises(WeightsError, match="ea weights pull v4 official"):
        find("auto", sources=(OFFICIAL,))


def test_official_that_are_not_here(find):
    with pytest.raises(WeightsError) as caught:
        find("official")
    assert caught.value.fix == "ea weights pull v4 official"
    assert "14.0 GB" in caught.value.message


def test_a_damaged_download_names_file_sizes_and_command(find):
    path = cut(make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4")))
    size = path.stat().st_size
    for text in ("official", "models/Diffusion_Transformer/EasyAnimateV4"):
        with pytest.raises(WeightsError) as caught:
            find(text)
        assert str(path) in caught.value.message
        assert caught.value.received == f"{size} bytes"
        assert caught.value.expected == f"{size + 3} bytes"
        assert caught.value.fix == "ea weights pull v4 official"


def test_a_folder(find, tmp_path):
    folder = make_checkpoint(tmp_path / "mine")
    assert find(str(folder)).folder.path == folder
    assert find("./mine").folder.path == Path("mine")


def test_the_original_folder_that_is_missing(find):
    with pytest.raises(WeightsError) as caught:
        find("models/Diffusion_Transformer/EasyAnimateV4")
    assert caught.value.fix == "ea weights pull v4 official"


def test_another_hub_id_names_the_command(find):
    with pytest.raises(WeightsError) as caught:
        find("somebody/weights")
    assert caught.value.fix == "ea weights pull v4 somebody/weights"
    folder = make_checkpoint(Path("models/somebody--weights"))
    assert find("somebody/weights").folder.path == folder


def test_a_misspelt_name(find):
    with pytest.raises(WeightsError) as caught:
        find("oficial")
    assert caught.value.fix == "did you mean official?"


def test_the_check_of_the_model_decides(find):
    def refuse(_):
        raise WeightsError("Of another version.", fix="choose another model")

    with pytest.raises(WeightsError) as caught:
        find("demo", spec=make_spec(check_weights=refuse))
    assert caught.value.fix == "choose another model"


def test_a_file_is_no_weights_folder(tmp_path):
    path = tmp_path / "a.safetensors"
    path.touch()
    with pytest.raises(WeightsError, match=r"a file(?s:.*)--transformer or --lora"):
        find_weights(str(path), make_spec(), make_plugins([]))


class TestIdentify:
    """Models say how sure they are that a folder is theirs; the surest has it."""

    @pytest.fixture
    def folder(self, tmp_path):
        return WeightsFolder(make_checkpoint(tmp_path / "weights"))

    def test_a_surer_model_is_named(self, folder):
        own, weak, strong = (
            make_spec(key, identify=lambda _, sure=sure: sure) for key, sure in zip("abc", (1, 2, 3), strict=True)
        )
        with pytest.raises(WeightsError, match="weights of another model") as caught:
            check_weights(folder, own, [own, weak, strong])
        assert (caught.value.received, caught.value.expected) == ("weights of c", "weights of a")
        assert f"ea run --model c --weights {folder}" in caught.value.fix

    @pytest.mark.parametrize(("own", "other"), [(0, 0), (1, 1), (2, 1), (1, 0)])
    def test_a_folder_passes_where_nobody_is_surer(self, folder, own, other):
        specs = [make_spec("a", identify=lambda _: own), make_spec("b", identify=lambda _: other), make_spec("c")]
        check_weights(folder, specs[0], specs)

    def test_a_model_that_cannot_tell_takes_any_whole_folder(self, folder):
        check_weights(folder, make_spec("a"), [make_spec("b", identify=lambda _: 9)])
        cut(folder.path)
        with pytest.raises(WeightsError, match="incomplete"):
            check_weights(WeightsFolder(folder.path), make_spec("a"))

    def test_the_check_of_the_model_comes_after(self, folder):
        told = []
        check_weights(folder, make_spec(identify=lambda _: 1, check_weights=told.append))
        assert told == [folder]

    def test_find_weights_asks_all_installed_models(self, folder, demo):
        own, other = make_spec(identify=lambda _: 0), make_spec("other", identify=lambda _: 1)
        for text in ("demo", str(folder)):
            with pytest.raises(WeightsError, match="weights of other"):
                find_weights(text, own, make_plugins([own, other], [demo]))


def test_a_model_is_completed_from_its_folder(tmp_path):
    spec = make_spec(complete=lambda folder: {"summary": str(folder), "samplers": ("heun",)})
    completed = complete_spec(spec, WeightsFolder(tmp_path))
    assert (completed.key, completed.summary, completed.samplers) == ("v4", str(tmp_path), ("heun",))
    assert complete_spec(spec, None) is spec
    assert complete_spec(make_spec(), WeightsFolder(tmp_path)) == make_spec()
