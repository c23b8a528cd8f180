import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest
from easyanimate_core import PluginError
from easyanimate_core.registry import load_plugins

GOOD = """
from easyanimate_core import CaptionerSpec, CommandSpec, DatasetSpec, FilterSpec, ModelSpec, SchedulerSpec
from easyanimate_core import StageSpec, WeightsSource, hookimpl

@hookimpl
def ea_models():
    yield ModelSpec(key="tiny", summary="A tiny model.", load=lambda options: None)

@hookimpl
def ea_weights():
    return [WeightsSource(model="tiny", name="demo", summary="Small.", licence="MIT")]

@hookimpl
def ea_schedulers():
    return [SchedulerSpec(name="heun", summary="Heun.", create=dict)]

@hookimpl
def ea_datasets():
    return [DatasetSpec(key="shards", summary="Shards.", load=dict)]

@hookimpl
def ea_commands():
    return [CommandSpec(group="data", name="count", summary="Count.", load=dict)]

@hookimpl
def ea_filters():
    return [FilterSpec(key="light", summary="Brightness.", load=dict, minimum=0.1)]

@hookimpl
def ea_stages():
    return [StageSpec(key="list", summary="Lists clips.", write=dict)]

@hookimpl
def ea_captioners():
    return [CaptionerSpec(key="painter", summary="Names the light.", load=dict)]
"""
MODEL = """
from easyanimate_core import ModelSpec, hookimpl

@hookimpl
def ea_models():
    yield ModelSpec(key={key!r}, summary="A model.", load=lambda options: None)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution with one plugin to a folder on the import path, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(distribution: str, code: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[easyanimate]\nmain = {module}\n")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def of(plugins, distribution):
    return [plugin for plugin in plugins.broken if plugin.distribution == distribution]


def test_everything_of_a_plugin_is_found(install):
    install("good-plugin", GOOD)
    plugins = load_plugins()
    assert plugins.model("tiny").summary == "A tiny model."
    assert plugins.weights("tiny")["demo"].licence == "MIT"
    assert plugins.weights("other") == {}
    assert "heun" in plugins.schedulers()
    assert plugins.dataset("shards") is plugins.datasets()["shards"]
    assert plugins.command("data", "count") is plugins.commands()["data count"]
    assert plugins.filter("light") is plugins.filters()["light"]
    assert plugins.stages()["list"].summary == "Lists clips."
    assert plugins.captioner("painter") is plugins.captioners()["painter"]
    (plugin,) = [item for item in plugins.installed if item.distribution == "good-plugin"]
    assert (plugin.version, plugin.module, plugin.name) == ("1.0", "good_plugin", "main")
    assert plugin.provides == (
        "model tiny",
        "weights tiny/demo",
        "sampler heun",
        "dataset shards",
        "command data count",
        "filter light",
        "stage list",
        "captioner painter",
    )
    assert plugin.heavy_imports == ()


def test_one_broken_plugin_leaves_the_others(install):
    install("good-plugin", GOOD)
    install("bad-import", "import no_such_library", version="0.3")
    install("bad-exit", "raise SystemExit(3)")
    plugins = load_plugins()
    assert "tiny" in plugins.models()
    (broken,) = of(plugins, "bad-import")
    assert broken.version == "0.3"
    assert "No module named 'no_such_library'" in broken.error
    assert "Traceback" in broken.details
    assert "SystemExit" in of(plugins, "bad-exit")[0].error


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("from easyanimate_core import hookimpl\n@hookimpl\ndef ea_modles(): return []", "did you mean ea_models"),
        ("def ea_modles(): return []", "did you mean ea_models"),
        ("def ea_models(): return []", "hookimpl"),
        ("from easyanimate_core import hookimpl\n@hookimpl\ndef ea_models(config): return []", "config"),
        ("from easyanimate_core import hookimpl\n@hookimpl\ndef models(): return []", "models"),
    ],
)
def test_a_misspelt_hook_is_an_error(install, code, error):
    install("misspelt", code)
    plugins = load_plugins()
    (broken,) = of(plugins, "misspelt")
    assert error in broken.error
    assert not [item for item in plugins.installed if item.distribution == "misspelt"]


def test_a_hook_that_fails_midway_keeps_what_it_gave(install):
    install(
        "half-good",
        MODEL.format(key="kept") + "    yield 3\n    yield ModelSpec(key='two words', summary='', load=print)\n",
    )
    plugins = load_plugins()
    assert "kept" in plugins.models()
    wrong_type, invalid = of(plugins, "half-good")
    assert "int" in wrong_type.error
    assert "one word" in invalid.error


def test_a_hook_that_gives_nothing_is_reported(install):
    install("gives-none", "from easyanimate_core import hookimpl\n@hookimpl\ndef ea_models(): return None")
    assert "NoneType" in of(load_plugins(), "gives-none")[0].error


def test_two_providers_of_one_key(install):
    install("first-owner", MODEL.format(key="same"))
    install("second-owner", MODEL.format(key="same") + MODEL.format(key="other").split("@hookimpl")[0])
    install("good-plugin", GOOD)
    plugins = load_plugins()
    assert "same" not in plugins.models()
    assert "tiny" in plugins.models()
    with pytest.raises(PluginError) as caught:
        plugins.model("same")
    assert "first-owner 1.0" in str(caught.value)
    assert "second-owner 1.0" in str(caught.value)
    assert of(plugins, "first-owner")
    assert of(plugins, "second-owner")


def test_an_unknown_key_names_near_misses_and_broken_plugins(install):
    install("good-plugin", GOOD)
    install("bad-import", "import no_such_library", version="0.3")
    with pytest.raises(PluginError) as caught:
        load_plugins().model("tinny")
    assert "did you mean tiny?" in caught.value.fix
    assert "bad-import 0.3" in caught.value.fix


def test_keys_match_exactly(install):
    install("good-plugin", GOOD)
    with pytest.raises(PluginError, match=r"did you mean tiny\?$"):
        load_plugins().model("Tiny")


@pytest.mark.parametrize("key", ["v1", "v2", "v3", "v4"])
def test_a_known_version_names_its_package(key):
    with pytest.raises(PluginError, match=f"pip install easyanimate-{key}"):
        load_plugins([]).model(key)


def test_a_known_command_names_its_package():
    with pytest.raises(PluginError, match="pip install easyanimate-data"):
        load_plugins([]).command("data", "shapes")
    with pytest.raises(PluginError, match="pip install easyanimate-vae"):
        load_plugins([]).command("train", "vae")


def test_heavy_imports_are_noted(install, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "av"]:
        monkeypatch.delitem(sys.modules, name)
    install("heavy-plugin", "import av\n" + MODEL.format(key="heavy"))
    (plugin,) = [item for item in load_plugins().installed if item.distribution == "heavy-plugin"]
    assert plugin.heavy_imports == ("av",)


def test_entry_points_without_a_distribution(install):
    install("good-plugin", GOOD)
    plugins = load_plugins([EntryPoint("alone", "good_plugin", "easyanimate")])
    assert plugins.installed[0].distribution == "(not installed)"
    assert list(plugins.models()) == ["tiny"]
