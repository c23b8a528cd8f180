import sys

import easyocr
import numpy as np
import pytest
import torch
from easyanimate_core.errors import PluginError, WeightsError
from easyanimate_data.preparation.scorer import text_area
from easyanimate_data.preparation.scorer.text_area import box_area, load
from easyocr.craft import CRAFT

SLANTED = [[0, 10], [10, 0], [20, 10], [10, 20]]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(6)
    return CRAFT().eval()


@pytest.fixture(scope="module")
def model_dir(network, tmp_path_factory):
    """A folder with a detector of random weights, saved as the published one is: with the names of DataParallel."""
    folder = tmp_path_factory.mktemp("easyocr")
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, folder / "craft_mlt_25k.pth")
    return folder


def test_area_of_boxes():
    assert box_area([]) == 0
    assert box_area([[10, 30, 5, 15], [0, 4, 0, 4]]) == 216
    assert box_area([[30, 10, 5, 15], [10, 30, 15, 5]]) == 0
    assert box_area([[0, 2, 0, 2]], [SLANTED]) == 204
    assert box_area([], [SLANTED[::-1]]) == 200


@pytest.mark.parametrize(("compat", "expected"), [(False, 0.13125), (True, 0.0625)])
def test_slanted_boxes_count_unless_compat(compat, expected, model_dir, monkeypatch):
    boxes = [[[10, 30, 5, 15]]], [[[[0, 0], [20, 2], [20, 13], [0, 11]]]]
    monkeypatch.setattr(easyocr.Reader, "detect", lambda *_: boxes)
    assert load(model_dir=model_dir, compat=compat)(np.zeros((1, 40, 80, 3), np.uint8)) == expected


def test_the_real_detector_runs(model_dir):
    score = load(model_dir=model_dir, device="cpu")
    frames = np.random.default_rng(7).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    assert score(frames) == score(frames) >= 0


def test_the_detector_is_easyocrs_own(network, model_dir):
    """The same boxes as from EasyOCR's functions around the network that was saved."""
    frame = np.full((128, 192, 3), 255, np.uint8)
    frame[40:80, 30:160:8] = 0
    ours = text_area._load_detector(model_dir, "cpu")
    low = {"text_threshold": 0.0, "low_text": 0.0, "link_threshold": 0.0}
    boxes = ours.detect(frame, **low)
    assert boxes[0][0]
    ours.detector = network
    assert repr(ours.detect(frame, **low)) == repr(boxes)


def test_a_missing_detector_is_fetched_and_a_failure_is_an_error(tmp_path, model_dir, monkeypatch):
    weights = (model_dir / "craft_mlt_25k.pth").read_bytes()
    monkeypatch.setattr(
        easyocr.Reader, "getDetectorPath", lambda *_: (tmp_path / "craft_mlt_25k.pth").write_bytes(weights)
    )
    assert load(model_dir=tmp_path)(np.zeros((1, 32, 32, 3), np.uint8)) >= 0

    def fail(*_):
        raise AssertionError("MD5 hash mismatch")

    (tmp_path / "craft_mlt_25k.pth").unlink()
    monkeypatch.setattr(easyocr.Reader, "getDetectorPath", fail)
    with pytest.raises(WeightsError, match="MD5 hash mismatch"):
        load(model_dir=tmp_path)


def test_a_damaged_detector_is_an_error(tmp_path):
    (tmp_path / "craft_mlt_25k.pth").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="craft_mlt_25k"):
        load(model_dir=tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "easyocr", None)
    with pytest.raises(PluginError, match=r'(?s)easyocr.*"easyanimate-data\[score\]"'):
        load()
