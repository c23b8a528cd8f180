import io
import math
from pathlib import Path

import pytest
from easyanimate_core import Progress, RequestError
from easyanimate_core.config import read_config
from easyanimate_core.run_folder import RunFolder
from easyanimate_core.training import DataConfig, OptimizerConfig, ProgressLine, list_overrides, refuse_divergence


def test_settings_of_data_come_from_words():
    config = read_config(DataConfig, None, ["kind=shapes", "path=clips", "options={seed: 3}", "batches=[[2, 1]]"])
    assert config == DataConfig(kind="shapes", path=Path("clips"), options={"seed": 3}, batches=((2, 1),))


def test_learning_rate_rises_stays_and_falls():
    optimizer = OptimizerConfig(warmup_steps=10, flat_share=0.5)
    factors = [optimizer.factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[:10] == sorted(factors[:10])
    assert set(factors[10:50]) == {1.0}
    assert factors[50:] == sorted(factors[50:], reverse=True)
    assert factors[75] == pytest.approx(0.5)
    assert min(factors) == pytest.approx(0.02)


def test_given_options_become_words():
    assert list_overrides({"out": Path("a"), "max_steps": None}, ["seed=3"]) == ["out=a", "seed=3"]
    assert list_overrides({}, None) == []


def test_a_run_that_diverges_is_stopped(tmp_path):
    folder = RunFolder(tmp_path / "run", OptimizerConfig(), resume=False)
    refuse_divergence({"loss": 0.5}, 1, folder)
    folder.save(5, lambda path: (path / "w").touch())
    for loss in (math.nan, math.inf):
        with pytest.raises(RequestError, match="step-00000005"):
            refuse_divergence({"loss": loss}, 7, folder)


def test_progress_line_tells_the_time_left():
    file = io.StringIO()
    line = ProgressLine(file)
    line(Progress("train", 10, 100), {"loss": 0.123456})
    line(Progress("train", 20, 100), {"loss": 0.1})
    first, second = file.getvalue().splitlines()
    assert first == "train 10/100  loss 0.1235"
    assert second.startswith("train 20/100  loss 0.1 ")
    assert second.endswith("min left")
