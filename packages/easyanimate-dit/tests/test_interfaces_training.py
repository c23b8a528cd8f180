"""What the trainers ask of a transformer and a VAE: ours keep it, and broken ones are found out."""

from types import SimpleNamespace

import pytest
import torch
from easyanimate_core.testing import AutoencoderCase, TrainableAutoencoderContract, TrainableTransformerContract
from foreign_parts import ForeignVae
from test_interfaces import make_autoencoder_case, make_foreign_case, make_hunyuan_case, make_pixart_case
from tiny_dit import SHAPES, TinyVae, randomize


class TestTransformer(TrainableTransformerContract):
    @pytest.fixture(params=[make_hunyuan_case, make_pixart_case])
    def case(self, request):
        return request.param()


def make_tiny_case(vae):
    clips = torch.randn(2, 3, 16, 16, 32, generator=torch.Generator().manual_seed(0)).tanh()
    return AutoencoderCase(vae=vae, shapes=SHAPES, clips=clips)


class TestAutoencoder(TrainableAutoencoderContract):
    @pytest.fixture
    def case(self):
        return make_tiny_case(randomize(TinyVae()))


def break_transformer(fault):
    """A PixArt transformer with one fault."""
    case = make_pixart_case()
    transformer = case.transformer
    forward = transformer.forward

    def call(*args, condition=None, **options):
        if not args:  # only the condition is encoded
            return forward(**options)
        (prediction,) = forward(*args, condition=condition, **options)
        if fault == "differs" and condition is None:
            return (prediction * 2,)
        if fault == "detached":
            return (prediction.detach() + 0 * transformer.proj_out.weight.sum(),)
        return (prediction * 2 if fault == "checkpointed" and transformer.is_gradient_checkpointing else prediction,)

    transformer.forward = call
    return case


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("differs", "conditions_stand_for_their_encoding"),
        ("detached", "gradients_reach_every_parameter"),
        ("checkpointed", "checkpointing_changes_no_gradient"),
    ],
)
def test_a_broken_transformer_is_found_out(fault, test):
    with pytest.raises(AssertionError):
        getattr(TrainableTransformerContract(), f"test_{test}")(break_transformer(fault))


def test_networks_that_cannot_be_written_are_found_out(tmp_path):
    with pytest.raises(AssertionError):
        TrainableTransformerContract().test_is_trainable(make_foreign_case())
    with pytest.raises(AssertionError):
        TrainableAutoencoderContract().test_is_trainable(make_autoencoder_case(randomize(ForeignVae())))
    vae = randomize(TinyVae())
    vae.extra = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(AssertionError):
        TrainableAutoencoderContract().test_is_written_and_read_again(make_tiny_case(vae), tmp_path)


def test_a_vae_whose_encoder_learns_nothing_is_found_out():
    vae = randomize(TinyVae())
    encode = vae.encode

    def detach(x):
        posterior = encode(x).latent_dist
        return SimpleNamespace(
            latent_dist=SimpleNamespace(mean=posterior.mean.detach(), logvar=posterior.logvar.detach())
        )

    vae.encode = detach
    with pytest.raises(AssertionError):
        TrainableAutoencoderContract().test_gradients_reach_every_parameter(make_tiny_case(vae))
