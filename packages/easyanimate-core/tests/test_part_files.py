import numpy as np
import pytest
from easyanimate_core import LoadOptions, RequestError, WeightsError
from easyanimate_core.part_files import (
    LORA_FILE,
    TRANSFORMER_FILE,
    check_lora_files,
    check_part_file,
    check_transformer_file,
    find_trained,
    holds_motion,
    is_motion_module,
)
from easyanimate_core.spec import LoraFile
from safetensors.numpy import save_file


def write(path, *names):
    save_file({name: np.zeros(1, np.float32) for name in names}, path)
    return path


def test_motion_modules_are_told_by_their_names(tmp_path):
    motion = write(tmp_path / "motion.safetensors", "blocks.0.attn_temporal.proj")
    image = write(tmp_path / "image.safetensors", "blocks.0.attn1.to_q.weight")
    both = write(tmp_path / "both.safetensors", "blocks.0.attn1.to_q.weight", "blocks.0.attn_temporal.proj")
    assert [is_motion_module(path) for path in (motion, image, both)] == [True, False, False]
    assert [holds_motion([path]) for path in (motion, image, both)] == [True, False, True]
    pickled = tmp_path / "image.bin"
    assert not is_motion_module(pickled)
    assert not holds_motion([pickled])


def test_files_that_are_missing_or_cut(tmp_path):
    path = write(tmp_path / "a.safetensors", "x")
    check_part_file(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="incomplete"):
        check_part_file(path)
    with pytest.raises(WeightsError, match=r"no weights file(?s:.*)a folder"):
        check_part_file(tmp_path)


def test_a_lora_file_is_sent_where_it_belongs(tmp_path):
    path = write(tmp_path / "style.safetensors", "lora_unet__blocks_0.lora_down.weight")
    with pytest.raises(WeightsError, match=r"LoRA file(?s:.*)--lora"):
        check_part_file(path)


def test_a_version_with_motion_modules_of_its_own(tmp_path):
    path = write(tmp_path / "a.safetensors", "x")
    options = LoadOptions(transformer=path)
    assert check_transformer_file(options) is options
    with pytest.raises(WeightsError, match="nothing there"):
        check_transformer_file(LoadOptions(transformer=tmp_path / "b.safetensors"))
    with pytest.raises(RequestError, match="takes no motion module"):
        check_transformer_file(LoadOptions(motion_module=path))


def test_lora_files_are_checked_before_anything_is_loaded(tmp_path):
    path = write(tmp_path / "style.safetensors", "lora_unet__blocks_0.lora_down.weight")
    check_lora_files(LoadOptions(loras=(LoraFile(path), LoraFile(tmp_path))))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="incomplete"):
        check_transformer_file(LoadOptions(loras=(LoraFile(path),)))
    whole = write(tmp_path / "whole.safetensors", "blocks.0.attn1.to_q.weight")
    with pytest.raises(WeightsError, match=r"not a LoRA file(?s:.*)--transformer"):
        check_lora_files(LoadOptions(loras=(LoraFile(whole),)))


def test_a_motion_module_is_no_transformer(tmp_path):
    motion = write(tmp_path / "motion.safetensors", "blocks.0.attn_temporal.proj")
    with pytest.raises(WeightsError, match=r"V1's motion module(?s:.*)--model v1 --motion-module"):
        check_transformer_file(LoadOptions(transformer=motion))


def test_the_folder_of_a_training_stands_for_what_was_trained(tmp_path):
    run = tmp_path / "run"
    steps = [run / "checkpoints" / f"step-0000000{step}" for step in (3, 6)]
    for folder in (*steps, run / "checkpoints" / "step-00000009.tmp"):
        folder.mkdir(parents=True)
        (folder / LORA_FILE).touch()
    assert find_trained(run, LORA_FILE) == steps[1] / LORA_FILE
    assert find_trained(steps[0], LORA_FILE) == steps[0] / LORA_FILE
    (run / "weights").mkdir()
    (run / "weights" / LORA_FILE).touch()
    assert find_trained(run, LORA_FILE) == run / "weights" / LORA_FILE
    assert find_trained(run, TRANSFORMER_FILE) == run
    assert find_trained(tmp_path / "other", LORA_FILE) == tmp_path / "other"
