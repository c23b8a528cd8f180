import json
from pathlib import Path

import numpy as np
import pytest
from easyanimate_core import Defaults, TrainedRange, WeightsError, WeightsSource
from easyanimate_core.weights import read_defaults, read_trained, resolve_weights
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


@pytest.fixture
def resolve(tmp_path, monkeypatch):
    """`resolve_weights` with an official and a demo source, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    demo = WeightsSource(
        model="v4", name="demo", summary="Small.", licence="Apache-2.0", path=make_checkpoint(tmp_path / "plugin")
    )

    def call(text, **options):
        options = {"sources": {"demo": demo, "official": OFFICIAL}, **options}
        return resolve_weights(text, model_key="v4", cache=tmp_path / "cache", **options)

    return call


def test_auto_falls_back_on_the_demo_weights_and_says_so(resolve, tmp_path):
    found = resolve("auto")
    assert (found.folder, found.name) == (tmp_path / "plugin", "demo")
    assert "ea weights pull v4 official" in found.note
    assert "14.0 GB" in found.note
    assert "Apache-2.0" in found.note


def test_auto_takes_the_official_weights_when_they_are_here(resolve):
    folder = make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4"))
    found = resolve("auto")
    assert (found.folder, found.name, found.note) == (folder, "official", None)


def test_auto_takes_them_from_the_hugging_face_cache(resolve, tmp_path):
    place = tmp_path / "cache" / "models--owner--EasyAnimateV4"
    folder = make_checkpoint(place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    assert resolve("auto").folder == folder
    assert resolve("owner/EasyAnimateV4").folder == folder


def test_auto_passes_over_a_half_download_and_says_why(resolve):
    path = cut(make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4")))
    found = resolve("auto")
    assert found.name == "demo"
    assert "incomplete" in found.note
    assert str(path) in found.note


def test_a_model_without_weights(resolve):
    found = resolve("auto", sources={})
    assert (found.folder, found.note) == (None, None)


def test_auto_without_demo_names_the_command(resolve):
    with pytest.raises(WeightsError, match="ea weights pull v4 official"):
        resolve("auto", sources={"official": OFFICIAL})


def test_official_that_are_not_here(resolve):
    with pytest.raises(WeightsError) as caught:
        resolve("official")
    assert caught.value.fix == "ea weights pull v4 official"
    assert "14.0 GB" in caught.value.message


def test_a_damaged_download_names_file_sizes_and_command(resolve):
    path = cut(make_checkpoint(Path("models/Diffusion_Transformer/EasyAnimateV4")))
    size = path.stat().st_size
    for text in ("official", "models/Diffusion_Transformer/EasyAnimateV4"):
        with pytest.raises(WeightsError) as caught:
            resolve(text)
        assert str(path) in caught.value.message
        assert caught.value.received == f"{size} bytes"
        assert caught.value.expected == f"{size + 3} bytes"
        assert caught.value.fix == "ea weights pull v4 official"


def test_a_folder(resolve, tmp_path):
    folder = make_checkpoint(tmp_path / "mine")
    assert resolve(str(folder)).folder == folder
    assert resolve("./mine").folder == Path("mine")


def test_the_original_folder_that_is_missing(resolve):
    with pytest.raises(WeightsError) as caught:
        resolve("models/Diffusion_Transformer/EasyAnimateV4")
    assert caught.value.fix == "ea weights pull v4 official"


def test_another_hub_id_names_the_command(resolve):
    with pytest.raises(WeightsError) as caught:
        resolve("somebody/weights")
    assert caught.value.fix == "ea weights pull v4 somebody/weights"
    folder = make_checkpoint(Path("models/somebody--weights"))
    assert resolve("somebody/weights").folder == folder


def test_a_misspelt_name(resolve):
    with pytest.raises(WeightsError) as caught:
        resolve("oficial")
    assert caught.value.fix == "did you mean official?"


def test_the_check_of_the_model_decides(resolve):
    def refuse(_: Path) -> None:
        raise WeightsError("Of another version.", fix="choose another model")

    with pytest.raises(WeightsError) as caught:
        resolve("demo", check=refuse)
    assert caught.value.fix == "choose another model"


def test_defaults_of_weights(tmp_path):
    base = Defaults(height=384)
    assert read_defaults(tmp_path, base) is base
    path = tmp_path / "easyanimate.json"
    path.write_text(json.dumps({"defaults": {"height": 64, "guidance_scale": 5, "sampler": "ddim"}, "licence": "MIT"}))
    read = read_defaults(tmp_path, base)
    assert (read.height, read.width, read.guidance_scale, read.sampler) == (64, base.width, 5, "ddim")


@pytest.mark.parametrize(
    ("defaults", "message"),
    [({"heigth": 64}, "did you mean height?"), ({"height": "64"}, "height: int"), ({"height": True}, "height: int")],
)
def test_wrong_defaults(tmp_path, defaults, message):
    (tmp_path / "easyanimate.json").write_text(json.dumps({"defaults": defaults}))
    with pytest.raises(WeightsError) as caught:
        read_defaults(tmp_path, Defaults())
    assert message in str(caught.value)


def test_what_weights_were_trained_on(tmp_path):
    base = TrainedRange(max_frames=80)
    assert read_trained(tmp_path, base) is base
    path = tmp_path / "easyanimate.json"
    path.write_text(json.dumps({"defaults": {"height": 64}}))
    assert read_trained(tmp_path, base) is None
    path.write_text(json.dumps({"trained": {"max_frames": 16, "min_side": 64, "max_side": 64}}))
    assert read_trained(tmp_path, base) == TrainedRange(max_frames=16, min_side=64, max_side=64)
    path.write_text(json.dumps({"trained": {"side": 64}}))
    with pytest.raises(WeightsError, match="Unknown trained"):
        read_trained(tmp_path, base)


def test_a_file_is_no_weights_folder(tmp_path):
    path = tmp_path / "a.safetensors"
    path.touch()
    with pytest.raises(WeightsError, match=r"a file(?s:.*)--transformer, --motion-module or --lora"):
        resolve_weights(str(path), model_key="v4", sources={})
