import numpy as np
import pytest
from easyanimate_core import LoraFile, ModelSpec, PartFile, RequestError, WeightsError, part_files
from easyanimate_core.part_files import (
    TRAINED_FILES,
    check_lora_files,
    check_part_file,
    check_part_files,
    find_trained,
    parse_lora,
)
from easyanimate_core.spec import TRANSFORMER_FILE
from safetensors.numpy import save_file

MOTION_FILE = PartFile(
    name="motion_module", summary="Motion.", matches=lambda header: all(".attn_temporal." in name for name in header)
)
OLD = ModelSpec(key="old", summary="", load=print, part_files=(TRANSFORMER_FILE, MOTION_FILE))
NEW = ModelSpec(key="new", summary="", load=print, part_files=(TRANSFORMER_FILE,))
NONE = ModelSpec(key="none", summary="", load=print)


def write(path, *names):
    save_file({name: np.zeros(1, np.float32) for name in names}, path)
    return path


@pytest.fixture
def motion(tmp_path):
    return write(tmp_path / "motion.safetensors", "blocks.0.attn_temporal.proj")


@pytest.fixture
def image(tmp_path):
    return write(tmp_path / "image.safetensors", "blocks.0.attn1.to_q.weight")


def test_files_in_their_places_pass(tmp_path, motion, image):
    both = write(tmp_path / "both.safetensors", "blocks.0.attn1.to_q.weight", "blocks.0.attn_temporal.proj")
    pickled = tmp_path / "motion.bin"
    pickled.write_bytes(b"\x80\x02 a file of PyTorch before 1.6")
    check_part_files({"transformer": image, "motion_module": motion}, OLD, [OLD, NEW])
    check_part_files({"transformer": both}, NEW, [OLD, NEW])
    check_part_files({"transformer": pickled, "motion_module": pickled}, OLD, [OLD, NEW])


def test_a_part_that_the_model_does_not_take(image):
    with pytest.raises(
        RequestError, match=r"new takes no file for motion_module(?s:.*)accepted: transformer"
    ) as caught:
        check_part_files({"motion_module": image}, NEW)
    assert caught.value.fix == "leave out --motion-module"
    with pytest.raises(RequestError, match="did you mean transformer"):
        check_part_files({"transfomer": image}, NEW)
    with pytest.raises(RequestError, match="no weights beside its folder"):
        check_part_files({"transformer": image}, NONE)


def test_another_part_is_named_with_its_model(motion):
    for spec in (OLD, NEW):
        with pytest.raises(WeightsError, match="the motion module of old") as caught:
            check_part_files({"transformer": motion}, spec, [OLD, NEW])
        assert caught.value.fix == f"ea run --model old --motion-module {motion}"
        assert "attn_temporal" in str(caught.value)


def test_a_file_that_is_not_the_part(image):
    with pytest.raises(WeightsError, match=r"not the motion module of old(?s:.*)attn1(?s:.*)--transformer"):
        check_part_files({"motion_module": image}, OLD, [OLD, NEW])


def test_a_part_file_is_read_once(monkeypatch, image):
    read, opened = part_files.read_header, []
    monkeypatch.setattr(part_files, "read_header", lambda path: opened.append(path) or read(path))
    check_part_files({"transformer": image}, OLD, [OLD, NEW])
    assert opened == [image]


def test_files_that_are_missing_or_cut(tmp_path):
    path = write(tmp_path / "a.safetensors", "x")
    check_part_file(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="incomplete"):
        check_part_file(path)
    with pytest.raises(WeightsError, match=r"no weights file(?s:.*)a folder"):
        check_part_file(tmp_path)
    with pytest.raises(WeightsError, match="nothing there"):
        check_part_files({"transformer": tmp_path / "b.safetensors"}, NEW)
    empty = tmp_path / "empty.bin"
    empty.touch()
    with pytest.raises(WeightsError, match="empty"):
        check_part_file(empty)


def test_a_lora_file_is_sent_where_it_belongs(tmp_path):
    path = write(tmp_path / "style.safetensors", "lora_unet__blocks_0.lora_down.weight")
    with pytest.raises(WeightsError, match=r"LoRA file(?s:.*)--lora"):
        check_part_files({"transformer": path}, NEW)


def test_lora_files_are_checked_before_anything_is_loaded(tmp_path):
    path = write(tmp_path / "style.safetensors", "lora_unet__blocks_0.lora_down.weight")
    check_lora_files((LoraFile(path),))
    with pytest.raises(RequestError, match="no LoRA file in the folder"):
        check_lora_files((LoraFile(tmp_path),))
    write(tmp_path / "adapter_model.safetensors", "base_model.model.blocks.0.lokr_w1")
    check_lora_files((LoraFile(tmp_path),))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="incomplete"):
        check_lora_files((LoraFile(path),))
    whole = write(tmp_path / "whole.safetensors", "blocks.0.attn1.to_q.weight")
    with pytest.raises(WeightsError, match=r"not a LoRA file(?s:.*)--transformer"):
        check_lora_files((LoraFile(whole),))


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:-0.5", "a.safetensors", -0.5),
        ("C:/loras/a.safetensors", "C:/loras/a.safetensors", 1.0),
        (r"C:\loras\a.safetensors", r"C:\loras\a.safetensors", 1.0),
        (r"C:\loras\a.safetensors:0.6", r"C:\loras\a.safetensors", 0.6),
        ("a:b.safetensors:1e-1", "a:b.safetensors", 0.1),
    ],
)
def test_a_lora_and_its_weight_are_told_apart(monkeypatch, text, path, weight):
    monkeypatch.setattr(part_files.Path, "is_file", lambda _: True)
    assert parse_lora(text) == LoraFile(part_files.Path(path), weight)


def test_the_folder_of_a_training_stands_for_what_was_trained(tmp_path):
    run, name = tmp_path / "run", TRAINED_FILES["lora"]
    steps = [run / "checkpoints" / f"step-0000000{step}" for step in (3, 6)]
    for folder in (*steps, run / "checkpoints" / "step-00000009.tmp"):
        folder.mkdir(parents=True)
        (folder / name).touch()
    assert find_trained(run, "lora") == steps[1] / name
    assert find_trained(steps[0], "lora") == steps[0] / name
    assert parse_lora(f"{run}:0.5") == LoraFile(steps[1] / name, 0.5)
    (run / "weights" / "transformer").mkdir(parents=True)
    (run / "weights" / name).touch()
    assert find_trained(run, "lora") == run / "weights" / name
    assert find_trained(run, "transformer") == run
    (run / "weights" / TRAINED_FILES["transformer"]).touch()
    assert find_trained(run, "transformer") == run / "weights" / TRAINED_FILES["transformer"]
    assert find_trained(run, "motion_module") == run
    assert find_trained(tmp_path / "other", "lora") == tmp_path / "other"
