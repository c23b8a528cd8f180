"""`ea train demo` from the first step to weights that load, with recipes of one step each."""

import pytest
import yaml
from easyanimate_core import LoadOptions, RequestError, VideoRequest, WeightsFolder
from easyanimate_core.registry import load_plugins
from easyanimate_demo import command
from easyanimate_demo.version import VERSIONS


@pytest.fixture
def short_recipes(tmp_path, monkeypatch):
    """The shipped recipes, with one step on a few clips."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for recipe in command.RECIPES.glob("*.yaml"):
        settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        settings |= {"max_steps": 1, "checkpoint_every": 1, "log_every": 1}
        settings["data"]["batches"] = [[2, 8]]
        settings["data"]["options"]["count"] = 2
        if "num_frames" in settings["data"]["options"]:
            settings["data"]["batches"] = [[2, 9]] if "v2" in recipe.stem else [[2, 4]]
        if "cache_items" in settings:
            settings["cache_items"] = 2
        (folder / recipe.name).write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setattr(command, "RECIPES", folder)
    monkeypatch.setattr(command, "LATENT_CLIPS", 8)


@pytest.mark.usefixtures("short_recipes")
@pytest.mark.parametrize("key", VERSIONS)
def test_the_demo_is_made_from_nothing(tmp_path, key):
    out = tmp_path / "out"
    command.train_demo(model=key, out=out)
    with pytest.raises(RequestError, match="--resume"):
        command.train_demo(model=key, out=out)
    finished = (out / "dit" / "weights" / "transformer" / "config.json").stat().st_mtime_ns
    command.train_demo(model=key, out=out, resume=True)
    assert (out / "dit" / "weights" / "transformer" / "config.json").stat().st_mtime_ns == finished

    model = load_plugins().model(key)
    folder = WeightsFolder(out / "weights")
    model.check_weights(folder)
    request = VideoRequest(prompt="a red circle", **(VERSIONS[key].defaults | {"num_inference_steps": 1}))
    video = model.load(LoadOptions(weights=folder, device="cpu"))(request)
    assert video.frames.shape == (VERSIONS[key].num_frames, 64, 64, 3)
    for config in (out / "weights").rglob("config.json"):
        assert str(tmp_path) not in config.read_text(encoding="utf-8")


def test_a_model_without_demo_weights_is_refused():
    with pytest.raises(RequestError, match="no demo weights") as caught:
        command.train_demo(model="v5")
    assert "v1, v2, v3, v4" in str(caught.value)
