"""Transformer training on V4: samples, loss, and that a stopped run ends like an undisturbed one."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from easyanimate_core import LoadOptions, RequestError, WeightsFolder
from easyanimate_core.registry import load_plugins
from easyanimate_dit import HunyuanTransformer3DModel
from easyanimate_dit.training.config import DitTrainingConfig, TaskConfig
from easyanimate_dit.training.loss import compute_loss, draw_timesteps, make_target
from easyanimate_dit.training.run import train_dit
from easyanimate_dit.training.sample import CaptionEncoder, SampleEncoder
from easyanimate_train.config import DataConfig, OptimizerConfig
from easyanimate_train.cycled import CycledBatches
from easyanimate_v4.plugin import V4


@dataclass(frozen=True)
class Clips:
    """Clips of noise with a caption each."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        frames = np.random.default_rng(index).integers(256, size=(8, 32, 32, 3), dtype=np.uint8)
        return {"frames": frames, "text": f"clip {index}"}


@pytest.fixture
def configure(tmp_path, checkpoint):
    def make(name, **changes):
        values = {
            "out": tmp_path / name,
            "weights": str(checkpoint),
            "data": DataConfig(batches=((2, 8), (2, 1)), passes=1),
            "tracker": "none",
            "task": TaskConfig(start_share=0.5, ends_share=0.25),
            "optimizer": OptimizerConfig(learning_rate=1e-3, warmup_steps=1),
            "ema_decay": 0.9,
            "max_steps": 4,
            "checkpoint_every": 2,
            "log_every": 1,
        }
        return DitTrainingConfig(**(values | changes))

    return make


@pytest.fixture
def load_model(checkpoint):
    """A model of its own for every run, because training changes it."""
    return lambda: V4.load(LoadOptions(weights=WeightsFolder(checkpoint), device="cpu", dtype="float32")).pipeline


@pytest.fixture
def train(load_model):
    """Train a model of its own."""

    def run(config, **options):
        return train_dit(config, load_model(), CycledBatches(Clips(), config.data, seed=config.seed), **options)

    return run


def read_losses(config):
    return [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure, train):
    whole, stopped = configure("whole"), configure("stopped")
    train(whole)

    def stop(progress, _):
        if progress.phase == "train" and progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, on_progress=stop)
    weights = train(stopped, resume=True)

    assert read_losses(stopped) == read_losses(whole)
    expected = HunyuanTransformer3DModel.from_pretrained(whole.out / "weights" / "transformer").state_dict()
    for name, tensor in HunyuanTransformer3DModel.from_pretrained(weights / "transformer").state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_training_lowers_the_loss_on_what_it_sees(configure, train):
    config = configure("run", max_steps=30, data=DataConfig(batches=((4, 8),)), timesteps="uniform")
    train(config)
    losses = read_losses(config)
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_a_cache_changes_nothing_and_is_of_use(configure, train, tmp_path, monkeypatch):
    fresh, kept, again = (
        configure("fresh"),
        *(configure(name, cache=True, cache_folder=tmp_path / "cache") for name in ("kept", "again")),
    )
    train(fresh)
    train(kept)

    def refuse(*_):
        raise AssertionError("everything was encoded before")

    monkeypatch.setattr(SampleEncoder, "encode", refuse)
    train(again)
    assert read_losses(again) == read_losses(kept)
    # Fewer clips are coded at a time, which shows in the last digits.
    assert read_losses(kept) == pytest.approx(read_losses(fresh), abs=1e-5)


def test_a_damaged_cache_is_filled_again(configure, train, tmp_path):
    for name in ("first", "second"):
        train(configure(name, cache=True, cache_folder=tmp_path / "cache"))
        for path in (tmp_path / "cache").rglob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:40])
    assert read_losses(configure("first")) == read_losses(configure("second"))


def test_what_differs_in_every_epoch_cannot_be_kept(configure, train, tmp_path):
    with pytest.raises(RequestError, match=r"data\.passes"):
        train(configure("run", cache=True, cache_folder=tmp_path / "cache", data=DataConfig(batches=((2, 8),))))


def encode(pipeline, **task):
    batches = CycledBatches(Clips(), DataConfig(batches=((1, 8),), passes=1), seed=0)
    rows = batches.describe(0)
    return SampleEncoder(pipeline, TaskConfig(blank_share=1.0, **task)).encode(
        batches.load(0, [0]), rows, torch.device("cpu")
    )


def test_samples_keep_the_ends_that_their_task_gives(load_model):
    pipeline = load_model()
    always = {"text": (0.0, 0.0), "start": (1.0, 0.0), "ends": (0.0, 1.0)}
    samples = {
        name: encode(pipeline, start_share=start, ends_share=ends, image_share=1.0)
        for name, (start, ends) in always.items()
    }
    assert not samples["text"].given["inpaint_latents"].any()
    assert not samples["text"].image["clip_attention_mask"].any()
    for name in ("start", "ends"):
        assert samples[name].given["inpaint_latents"].any()
        assert samples[name].image["clip_attention_mask"].all()
    first = [samples[name].given["inpaint_latents"] for name in ("start", "ends")]
    assert not torch.allclose(*first)


def test_every_caption_is_encoded_once(load_model):
    pipeline = load_model()
    seen = []
    captions = CaptionEncoder(lambda caption: seen.append(caption) or pipeline.encode_prompt(caption))
    states = captions.encode(["one", "two", "one"])
    captions.encode(["two"])
    assert seen == ["one", "two"]
    assert torch.equal(states["encoder_hidden_states"][0], states["encoder_hidden_states"][2])


def test_timesteps_of_both_kinds_are_in_range():
    generator = torch.Generator().manual_seed(0)
    uniform = draw_timesteps("uniform", 4000, num_train_timesteps=1000, generator=generator)
    normal = draw_timesteps("logit_normal", 4000, num_train_timesteps=1000, generator=generator)
    for drawn in (uniform, normal):
        assert drawn.min() >= 0
        assert drawn.max() <= 999
        assert drawn.float().mean() == pytest.approx(500, abs=20)
    # sigmoid(N(0, 1)) gathers in the middle.
    assert normal.float().std() < 0.8 * uniform.float().std()


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_target_leads_back_to_the_latents(kind):
    scheduler = DDPMScheduler(prediction_type=kind, clip_sample=False)
    latents, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).unbind(0)
    timestep = torch.tensor([400])
    noisy = scheduler.add_noise(latents, noise, timestep)
    target = make_target(scheduler, latents, noise, timestep)
    restored = scheduler.step(target, 400, noisy).pred_original_sample
    assert torch.allclose(restored, latents, atol=1e-4)


def test_loss_ignores_the_variance_channels_and_weighs_motion():
    target = torch.zeros(1, 1, 3, 1, 1)
    prediction = torch.full((1, 2, 3, 1, 1), 9.0)
    prediction[0, 0, :, 0, 0] = torch.tensor([0.0, 1.0, 0.0])
    assert float(compute_loss(prediction, target)) == pytest.approx(1 / 3)
    assert float(compute_loss(prediction, target, motion_sub_loss=0.25)) == pytest.approx(0.75 / 3 + 0.25 * 1.0)


def test_a_plan_writes_nothing(checkpoint, tmp_path, capsys):
    plan = load_plugins().command("train", "dit").load()
    settings = {"data__kind": "shapes", "data__options": "{count: 4, num_frames: 8, height: 32, width: 32}"}
    settings |= {"data__batches": "[[2, 8]]", "data__passes": "1", "mixed_precision": "no", "data__workers": "0"}
    plan(config=None, plan=True, resume=False, launch_words=None, model="v4", weights=str(checkpoint), cache=True,
         out=str(tmp_path / "out"), **settings)  # fmt: skip
    printed = capsys.readouterr().out
    assert "weights of transformer" in printed
    assert "2 clips of 8 frames, 32x32" in printed
    assert not (tmp_path / "out").exists()
