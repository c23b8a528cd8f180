"""VAE training: that a stopped run ends like an undisturbed one, what is trained, what is written, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from easyanimate_core import RequestError
from easyanimate_core.errors import WeightsError
from easyanimate_core.video import read_image, read_video
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.plan import measure
from easyanimate_train.stream import BatchStream
from easyanimate_vae import AutoencoderKLMagvit, FrameAutoencoder
from easyanimate_vae.training import task as task_module
from easyanimate_vae.training.config import LossConfig, ValidationConfig
from easyanimate_vae.training.run import prepare_task, train_vae


def read_log(config):
    return [json.loads(line) for line in (config.out / "loss.jsonl").read_text().splitlines()]


def read_losses(config):
    return [line["loss"] for line in read_log(config)]


def load(weights):
    return AutoencoderKLMagvit.from_pretrained(weights / "vae").state_dict()


def list_changed(before, after):
    return {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}


IMAGE_MODEL = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 2,
}

EVERYTHING = {
    "loss": LossConfig(adversarial=0.5, adversarial_start=1),
    "ema_decay": 0.9,
    "accumulate": 2,
}


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, changes):
    both = whole, stopped = configure("whole", **changes), configure("stopped", **changes)
    train_vae(whole)

    def stop(progress, _):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vae(stopped, on_progress=stop)
    assert len(read_losses(stopped)) == 3
    weights = train_vae(stopped, resume=True)

    assert read_log(stopped) == read_log(whole)
    assert not list_changed(load(whole.out / "weights"), load(weights))
    for name in ("vae", "discriminator"):
        states = [config.out / "checkpoints" / "step-00000005" / "state" / f"{name}.safetensors" for config in both]
        assert states[0].exists() == (name == "vae" or bool(changes))
        assert not states[0].exists() or states[0].read_bytes() == states[1].read_bytes()


def test_a_finished_folder_is_not_overwritten(configure):
    config = configure("run", max_steps=1)
    train_vae(config)
    with pytest.raises(RequestError, match="--resume"):
        train_vae(config)


def test_training_lowers_the_loss(configure):
    config = configure("run", max_steps=30, data=DataConfig(kind="colours", batches=((2, 8),)))
    train_vae(config)
    losses = read_losses(config)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("trainable", "trained"),
    [("decoder", {"decoder", "post_quant_conv"}), ("encoder", {"encoder", "quant_conv"})],
)
def test_a_part_is_trained_and_the_other_stays(configure, trainable, trained):
    first = train_vae(configure("first", max_steps=1))
    config = configure("second", weights=str(first), trainable=trainable, model={})
    assert list_changed(load(first), load(train_vae(config))) == trained


def test_a_loss_that_is_no_number_stops_the_run(configure, monkeypatch):
    config, compute = configure("run"), task_module.compute_loss

    def compute_badly(*arguments, **options):
        loss = compute(*arguments, **options)
        return loss._replace(total=loss.total * float("nan"))

    monkeypatch.setattr(task_module, "compute_loss", compute_badly)
    with pytest.raises(RequestError, match="checkpoint is none"):
        train_vae(config)


def test_divergence_names_the_last_good_checkpoint(configure, monkeypatch):
    config = configure("run")
    calls, compute = [], task_module.compute_loss

    def compute_badly(*arguments, **options):
        calls.append(1)
        loss = compute(*arguments, **options)
        return loss if len(calls) < 4 else loss._replace(total=loss.total * float("nan"))

    monkeypatch.setattr(task_module, "compute_loss", compute_badly)
    with pytest.raises(RequestError, match=r"not finite(.|\n)*step-00000002"):
        train_vae(config)


def test_validation_measures_and_shows_clips(configure):
    config = configure("run", max_steps=2, validate_every=1, validation=ValidationConfig(num_clips=5, fps=4))
    train_vae(config)
    folder = config.out / "validation" / "step-00000001"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.mp4",
        "1.mp4",
        "2.png",
        "3.png",
        "4.mp4",
        "values.json",
    ]
    clip = read_video(folder / "0.mp4")
    assert clip.frames.shape == (8, 16, 32, 3)
    assert clip.fps == 4
    assert read_image(folder / "2.png").shape == (16, 32, 3)
    values = json.loads((folder / "values.json").read_text())
    assert values.keys() == {"psnr", "ssim"}
    assert 0 < values["psnr"] < 60


def test_validation_changes_nothing(configure):
    with_it, without = configure("with", validate_every=2), configure("without")
    train_vae(with_it)
    train_vae(without)
    assert read_losses(with_it) == read_losses(without)


def test_validation_has_other_options(configure):
    config = configure(
        "run", validate_every=1, validation=ValidationConfig(options={"first": 100}), data=DataConfig(kind="colours")
    )
    task, _ = prepare_task(config)
    assert task._validator._dataset._dataset.first == 100


def test_the_loss_is_computed_in_full_precision(configure):
    found = []
    for precise in (True, False):
        task, dataset = prepare_task(configure("run"))
        shard, batch = next(iter(BatchStream(dataset, task.load)))
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            found.append(task.compute("vae", batch, shard, 0))
    for name, value in found[0].items():
        assert found[1][name].dtype == torch.float32
        torch.testing.assert_close(found[1][name], value, rtol=0.02, atol=0)
    assert found[0]["loss"] != found[1]["loss"]


def test_half_precision_trains_single_frames(configure):
    config = configure("run", mixed_precision="bf16", kind="frames", model=IMAGE_MODEL)
    weights = train_vae(config)
    assert np.isfinite(read_losses(config)).all()
    assert FrameAutoencoder.from_pretrained(weights / "vae").dtype == torch.float32


class Distance(torch.nn.Module):
    """Stands for LPIPS."""

    def __init__(self, vgg):
        super().__init__()
        assert vgg == Path("vgg16.pth")

    def forward(self, pixels, decoded):
        return (pixels - decoded).abs().mean(dim=(1, 3, 4))


def test_the_perceptual_distance_counts_and_is_measured(configure, monkeypatch):
    monkeypatch.setattr(task_module, "PerceptualDistance", Distance)
    loss = LossConfig(perceptual=0.5, vgg=Path("vgg16.pth"))
    config = configure("run", loss=loss, max_steps=1, validate_every=1)
    train_vae(config)
    (line,) = read_log(config)
    assert line["perceptual"] == pytest.approx(line["l1"])
    parts = 0.75 * line["l1"] + 4 * line["mse"] + line["colour"] + 1e-4 * line["kl"] + 0.5 * line["perceptual"]
    assert line["loss"] == pytest.approx(parts)
    values = json.loads((config.out / "validation" / "step-00000001" / "values.json").read_text())
    assert values.keys() == {"psnr", "ssim", "lpips"}


def test_half_precision_of_clips_needs_a_gpu(configure, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="wrong gradients"):
        train_vae(configure("run", mixed_precision="bf16"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_clips_on_a_gpu(configure, precision):
    config = configure("run", mixed_precision=precision, **EVERYTHING)
    train_vae(config)
    assert np.isfinite(read_losses(config)).all()


def test_gradient_checkpointing_changes_no_number(configure):
    with_it, without = configure("with", gradient_checkpointing=True), configure("without")
    train_vae(with_it)
    train_vae(without)
    assert read_losses(with_it) == pytest.approx(read_losses(without), rel=1e-5)


def test_a_plan_measures_without_writing(configure):
    config = configure("run", loss=LossConfig(adversarial=0.5, adversarial_start=0))
    rows = dict(measure(*prepare_task_for(config)))
    assert rows["batch 0"] == "2 clips of 8 frames, 16x16"
    assert {"weights of vae", "weights of discriminator"} <= rows.keys()
    assert not config.out.exists()


def prepare_task_for(config):
    task, dataset = prepare_task(config)
    return task, config, dataset


def test_advice_names_what_is_not_used_yet(configure):
    task, _ = prepare_task(configure("run", ema_decay=0.9, mixed_precision="bf16"))
    advice = "\n".join(task.advise())
    assert "--gradient-checkpointing" in advice
    assert "--ema-decay 0" in advice
    assert "--mixed-precision" not in advice


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_weights": "somewhere", "weights": "elsewhere"}, "image_weights starts"),
        ({"loss": LossConfig(adversarial=0.5), "trainable": "encoder"}, "needs a decoder"),
        ({"model": {"chs": 4}}, r"Unknown setting model\.chs"),
        ({"optimizer": OptimizerConfig(betas=(0.9, 0.99)), "max_steps": 0}, "max_steps"),
    ],
)
def test_settings_that_cannot_be_are_refused(configure, changes, message):
    with pytest.raises(RequestError, match=message):
        train_vae(configure("run", **changes))


def test_weights_that_are_not_there_are_told(configure, tmp_path):
    for kind in ("video", "frames"):
        with pytest.raises(WeightsError, match=r"config\.json"):
            train_vae(configure("run", kind=kind, model={}, weights=str(tmp_path / "nothing")))
