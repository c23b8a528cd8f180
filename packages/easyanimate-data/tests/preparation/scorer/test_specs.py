import subprocess
import sys

from easyanimate_core import FrameChoice
from easyanimate_data.preparation.scorer.specs import NEURAL_FILTERS


def test_thresholds_are_those_of_the_original():
    specs = {spec.key: (spec.column, spec.minimum, spec.maximum, spec.frames) for spec in NEURAL_FILTERS}
    four = FrameChoice("uniform", 4)
    assert specs == {
        "aesthetic": ("aesthetic_score_siglip_mean", 4.0, None, four),
        "aesthetic-clip": ("aesthetic_score_mean", 4.0, None, four),
        "text": ("text_score", None, 0.02, FrameChoice("middle")),
        "consistency": ("similarity_min", 0.8, None, FrameChoice("key", 16)),
        "clip-score": ("clip_score", None, None, four),
        "align": ("alignment_score", 0.2, None, FrameChoice("uniform", 8)),
    }
    assert [spec.key for spec in NEURAL_FILTERS if spec.uses_text] == ["clip-score", "align"]


def test_specs_import_nothing_heavy():
    code = (
        "import sys, easyanimate_data.preparation.scorer.specs\n"
        "import easyanimate_data.preparation.captioner.specs\n"
        "print(*{'numpy', 'torch', 'transformers', 'easyocr', 'openai', 'PIL'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert result.stdout.strip() == ""
