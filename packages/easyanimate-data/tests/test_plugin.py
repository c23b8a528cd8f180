"""What the package offers to `ea`: the original's thresholds, and nothing heavy before it is used."""

import subprocess
import sys
from importlib.metadata import EntryPoint

from easyanimate_core import FrameChoice
from easyanimate_core.registry import load_plugins
from easyanimate_data import plugin


def test_thresholds_are_those_of_the_original():
    specs = {spec.key: (spec.column, spec.minimum, spec.maximum, spec.frames) for spec in plugin.ea_filters()}
    four = FrameChoice("uniform", 4)
    assert specs == {
        "duration": ("duration", 2.5, None, four),
        "resolution": ("pixels", 512 * 512, None, four),
        "motion": ("motion_score", 2, None, FrameChoice("rate", 2)),
        "aesthetic": ("aesthetic_score_siglip_mean", 4.0, None, four),
        "aesthetic-clip": ("aesthetic_score_mean", 4.0, None, four),
        "text": ("text_score", None, 0.02, FrameChoice("middle")),
        "consistency": ("similarity_min", 0.8, None, FrameChoice("key", 16)),
        "clip-score": ("clip_score", None, None, four),
        "align": ("alignment_score", 0.2, None, FrameChoice("uniform", 8)),
    }
    assert [spec.key for spec in plugin.ea_filters() if spec.uses_text] == ["clip-score", "align"]


def test_every_place_that_is_named_is_there():
    plugins = load_plugins([EntryPoint("data", "easyanimate_data.plugin", "easyanimate")])
    assert plugins.broken == ()
    assert list(plugins.stages()) == ["split", "duplicates", "caption", "rewrite", "export", "report"]
    for stage in plugins.stages().values():
        named = [target for target in (stage.work, stage.rule, stage.write, stage.find_sources) if target]
        assert named
        assert all(callable(target.resolve()) for target in named)
    for spec in (*plugins.filters().values(), *plugins.captioners().values()):
        assert spec.load is None or callable(spec.load.resolve())


def test_reading_all_offers_imports_nothing_heavy():
    code = (
        "import sys, easyanimate_data.plugin as plugin\n"
        "offers = [*plugin.ea_stages(), *plugin.ea_filters(), *plugin.ea_captioners(), *plugin.ea_commands()]\n"
        "assert len(offers) > 20\n"
        "print(*{'numpy', 'torch', 'transformers', 'easyocr', 'openai', 'PIL', 'typer', 'av'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert result.stdout.strip() == ""
