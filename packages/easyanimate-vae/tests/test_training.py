"""VAE training: the loss, the start, and that a stopped run ends like an undisturbed one."""

import json

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from easyanimate_core import RequestError
from easyanimate_core.training import DataConfig
from easyanimate_vae import AutoencoderKLMagvit
from easyanimate_vae.training.config import LossConfig, VaeTrainingConfig
from easyanimate_vae.training.initial import START_LOG_VARIANCE, start_as_identity
from easyanimate_vae.training.loss import compute_loss, measure_psnr
from easyanimate_vae.training.run import load_batch, train_vae

MODEL = {
    "ch": 4,
    "ch_mult": [1, 1, 1, 2],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "slice_mag_vae": False,
    "cache_compression_vae": True,
    "mini_batch_encoder": 8,
    "mini_batch_decoder": 2,
}


class Clips:
    """Clips of one colour each."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        frames = np.full((12, 16, 16, 3), 20, dtype=np.uint8)
        frames[:, 4:12, 4:12] = np.random.default_rng(index).integers(256, size=3)
        return {"frames": frames, "text": ""}


@pytest.fixture
def configure(tmp_path):
    def make(name, **changes):
        values = {
            "out": tmp_path / name,
            "model": MODEL,
            "data": DataConfig(batches=((2, 8), (2, 1))),
            "max_steps": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "seed": 3,
        }
        return VaeTrainingConfig(**(values | changes))

    return make


def read_losses(config):
    return [json.loads(line)["loss"] for line in (config.out / "loss.jsonl").read_text().splitlines()]


def test_resumed_run_repeats_the_undisturbed_one_bit_for_bit(configure):
    whole, stopped = configure("whole"), configure("stopped")
    train_vae(whole, Clips())

    def stop(progress, _):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vae(stopped, Clips(), on_progress=stop)
    assert len(read_losses(stopped)) == 3
    weights = train_vae(stopped, Clips(), resume=True)

    assert read_losses(stopped) == read_losses(whole)
    expected = AutoencoderKLMagvit.from_pretrained(whole.out / "weights").state_dict()
    for name, tensor in AutoencoderKLMagvit.from_pretrained(weights).state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_finished_folder_is_not_overwritten(configure):
    config = configure("run", max_steps=1)
    train_vae(config, Clips())
    with pytest.raises(RequestError, match="--resume"):
        train_vae(config, Clips())


def test_training_lowers_the_loss(configure):
    config = configure("run", max_steps=30, data=DataConfig(batches=((2, 8),)))
    train_vae(config, Clips())
    losses = read_losses(config)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_decoder_training_leaves_the_encoder_as_it_is(configure):
    first = train_vae(configure("first", max_steps=1), Clips())
    config = configure("second", weights=first, trainable="decoder")
    before = AutoencoderKLMagvit.from_pretrained(first).state_dict()
    after = AutoencoderKLMagvit.from_pretrained(train_vae(config, Clips())).state_dict()
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_divergence_names_the_last_good_checkpoint(configure):
    config = configure("run", loss=LossConfig(l1=float("nan")))
    with pytest.raises(RequestError, match="no longer a number"):
        train_vae(config, Clips())


def test_batches_depend_on_seed_and_step_and_differ_between_processes(configure):
    config = configure("run")
    first = load_batch(config, Clips(), 0)
    assert first.shape == (2, 3, 8, 16, 16)
    assert first.min() >= -1
    assert first.max() <= 1
    assert torch.equal(first, load_batch(config, Clips(), 0))
    assert load_batch(config, Clips(), 1).shape == (2, 3, 1, 16, 16)
    both = [load_batch(config, Clips(), 0, rank=rank, num_ranks=2) for rank in range(2)]
    assert torch.equal(torch.cat(both), first)


def test_fresh_weights_carry_a_flat_colour_to_the_latents():
    torch.manual_seed(0)
    model = AutoencoderKLMagvit(**MODEL)
    start_as_identity(model)
    posterior = model.encode(torch.zeros(1, 3, 8, 16, 16)).latent_dist
    assert torch.allclose(posterior.logvar, torch.full_like(posterior.logvar, START_LOG_VARIANCE))


def test_loss_is_the_weighted_sum_of_its_parts():
    pixels, decoded = torch.zeros(1, 3, 2, 8, 8), torch.zeros(1, 3, 2, 8, 8)
    decoded[:, 0] = 0.5
    posterior = DiagonalGaussianDistribution(torch.zeros(1, 8, 1, 1, 1))
    config = LossConfig(l1=1.0, mse=2.0, colour=3.0, kl=1.0)
    loss, parts = compute_loss(config, pixels=pixels, decoded=decoded, posterior=posterior, progress=0.0)
    # A third of the channels is off by 0.5; two of the three colour differences are.
    assert float(parts["l1"]) == pytest.approx(0.5 / 3)
    assert float(parts["mse"]) == pytest.approx(0.25 / 3)
    assert float(parts["colour"]) == pytest.approx(0.5 / 3)
    assert float(parts["kl"]) == 0.0
    assert float(loss) == pytest.approx((0.5 + 2 * 0.25 + 3 * 0.5) / 3)


def test_first_frame_can_count_more():
    pixels, decoded = torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 3, 4, 8, 8)
    decoded[:, :, 0] = 0.5
    posterior = DiagonalGaussianDistribution(torch.zeros(1, 8, 1, 1, 1))
    for first, share in ((1.0, 1 / 4), (5.0, 5 / 8)):
        _, parts = compute_loss(
            LossConfig(first_frame=first), pixels=pixels, decoded=decoded, posterior=posterior, progress=0.0
        )
        assert float(parts["l1"]) == pytest.approx(0.5 * share)


def test_anchor_fades_out():
    pixels = torch.rand(1, 3, 8, 16, 16) * 2 - 1
    posterior = DiagonalGaussianDistribution(torch.zeros(1, 8, 2, 2, 2))
    config = LossConfig(anchor=1.0, anchor_share=0.5)
    losses = [
        float(compute_loss(config, pixels=pixels, decoded=pixels, posterior=posterior, progress=progress)[0])
        for progress in (0.0, 0.25, 0.5)
    ]
    assert losses[0] == pytest.approx(2 * losses[1])
    assert losses[2] == 0.0


def test_psnr_of_pixels_between_minus_one_and_one():
    assert measure_psnr(4.0) == pytest.approx(0.0)
    assert measure_psnr(0.04) == pytest.approx(20.0)
