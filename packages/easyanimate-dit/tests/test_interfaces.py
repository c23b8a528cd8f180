"""Core's Protocols: our networks and foreign ones keep them, foreign ones run, and broken ones are found out."""

from dataclasses import replace

import pytest
import tiny_dit
import torch
from easyanimate_core import SchedulerSpec
from easyanimate_core.testing import (
    AutoencoderCase,
    ImageEncoderCase,
    ImageEncoderContract,
    PipelineContract,
    SchedulerCase,
    SchedulerContract,
    SmoothingAutoencoderContract,
    TextEncoderCase,
    TextEncoderContract,
    TransformerCase,
    TransformerContract,
)
from easyanimate_dit.hunyuan.rotary import make_rotary_table
from easyanimate_dit.sampling import scheduler as scheduler_module
from easyanimate_dit.sampling.request_pipeline import RequestPipeline
from easyanimate_dit.sampling.scheduler import make_scheduler
from foreign_parts import (
    SHAPES,
    ForeignScheduler,
    ForeignTextEncoder,
    ForeignTransformer,
    ForeignVae,
    build_foreign_pipeline,
)
from tiny_dit import randomize

pytestmark = pytest.mark.usefixtures("no_grad")

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def make_hunyuan_case():
    conditions = {
        "encoder_hidden_states": draw(2, 10, 16),
        "text_embedding_mask": torch.ones(2, 10),
        "encoder_hidden_states_t5": draw(2, 12, 16),
        "text_embedding_mask_t5": torch.ones(2, 12),
        "image_meta_size": torch.tensor([[32.0, 48, 32, 48, 0, 0]] * 2),
        "style": torch.zeros(2, dtype=torch.long),
        "clip_encoder_hidden_states": draw(2, 4, 8),
        "clip_attention_mask": torch.ones(2, 4),
    }
    return TransformerCase(
        transformer=tiny_dit.build_hunyuan(),
        latents=draw(2, 4, 2, 4, 6),
        conditions=conditions,
        inputs={"inpaint_latents": draw(2, 8, 2, 4, 6)},
        tables={"image_rotary_emb": make_rotary_table(4, 6, head_dim=8)},
    )


def make_pixart_case():
    conditions = {
        "encoder_hidden_states": draw(2, 5, 16),
        "encoder_attention_mask": MASK,
        "clip_encoder_hidden_states": draw(2, 768),
        "clip_attention_mask": torch.ones(2, 8),
    }
    return TransformerCase(
        transformer=tiny_dit.build_pixart(),
        latents=draw(2, 4, 2, 4, 6),
        conditions=conditions,
        inputs={"inpaint_latents": draw(2, 8, 2, 4, 6)},
    )


def make_foreign_case(transformer=None):
    return TransformerCase(
        transformer=transformer or randomize(ForeignTransformer()),
        latents=draw(2, 4, 2, 4, 6),
        conditions={"states": draw(2, 5, 8), "mask": MASK},
    )


class TestTransformer(TransformerContract):
    @pytest.fixture(params=[make_hunyuan_case, make_pixart_case, make_foreign_case])
    def case(self, request):
        return request.param()


def make_autoencoder_case(vae=None):
    return AutoencoderCase(vae=vae or randomize(ForeignVae()), shapes=SHAPES, clips=draw(2, 3, 3, 16, 24).tanh())


class TestForeignAutoencoder(SmoothingAutoencoderContract):
    """It smooths nothing."""

    test_smooths_with_the_noise_of_the_run = None

    @pytest.fixture
    def case(self):
        return make_autoencoder_case()


class TestTinyAutoencoder(SmoothingAutoencoderContract):
    @pytest.fixture
    def case(self):
        return AutoencoderCase(
            vae=randomize(tiny_dit.TinyVae()), shapes=tiny_dit.SHAPES, clips=draw(2, 3, 16, 16, 32).tanh()
        )


def make_text_case(encoder=None):
    ids = torch.tensor([[5, 9, 3, 7, 8], [4, 4, 2, 0, 0]])
    return TextEncoderCase(encoder=encoder or randomize(ForeignTextEncoder()), ids=ids, mask=MASK)


class TestTextEncoder(TextEncoderContract):
    @pytest.fixture(params=["text_encoder", "text_encoder_2", "foreign"])
    def case(self, request):
        return make_text_case(tiny_dit.build_components("hunyuan").get(request.param))


def make_image_case(projection_dim=4):
    encoder = tiny_dit.build_vision(projection_dim)["image_encoder"]
    return ImageEncoderCase(encoder=encoder, pixels=draw(2, 3, 16, 16))


class TestImageEncoder(ImageEncoderContract):
    @pytest.fixture
    def case(self):
        return make_image_case()


def make_scheduler_case(scheduler):
    return SchedulerCase(scheduler=scheduler, clean=draw(1, 4, 2, 4, 6), noise=draw(1, 4, 3, 4, 6)[:, :, :2])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers, with NumPy 2
class TestScheduler(SchedulerContract):
    @pytest.fixture(params=["euler", "euler_a", "dpm++", "pndm", "ddim", "lcm"])
    def case(self, request):
        return make_scheduler_case(make_scheduler(request.param, tiny_dit.SCHEDULER))


class TestForeignScheduler(SchedulerContract):
    @pytest.fixture
    def case(self):
        return make_scheduler_case(ForeignScheduler())


class TestForeignPipeline(PipelineContract):
    """Parts that keep the Protocols, and nothing else, make clips."""

    request_values = {"sampler": "foreign"}

    @pytest.fixture
    def pipeline(self, monkeypatch):
        spec = SchedulerSpec(name="foreign", summary="Foreign.", create=ForeignScheduler.from_config)
        plugins = type("Plugins", (), {"schedulers": lambda _: {"foreign": spec}})
        monkeypatch.setattr(scheduler_module, "load_plugins", plugins)
        return RequestPipeline(build_foreign_pipeline())


def break_transformer(name):
    """A foreign transformer with one fault."""

    class Broken(ForeignTransformer):
        def encode_condition(self, *, states, mask):
            condition = super().encode_condition(states=states, mask=mask)
            return condition * 0 if name == "deaf" else condition

        def forward(self, hidden_states, timestep, *, condition, return_dict=True):
            if name == "used up":
                condition += 1
            if name == "mixes":
                hidden_states = hidden_states + hidden_states.mean(dim=0, keepdim=True)
            if name == "timeless":
                timestep = timestep * 0
            if name == "blind":
                hidden_states = hidden_states * 0
            output = super().forward(hidden_states, timestep, condition=condition, return_dict=return_dict)
            if name == "no tuple":
                return super().forward(hidden_states, timestep, condition=condition)
            return (output[0][:, :3],) if name == "few channels" else output

    built = randomize(Broken())
    if name == "trains":
        built.train()
    return built


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("trains", "is_a_transformer"),
        ("no tuple", "predicts_something_of_the_size_of_the_latents"),
        ("few channels", "predicts_something_of_the_size_of_the_latents"),
        ("used up", "a_condition_serves_every_step"),
        ("timeless", "a_condition_serves_every_step"),
        ("blind", "latents_and_conditions_matter"),
        ("deaf", "latents_and_conditions_matter"),
        ("mixes", "videos_of_a_batch_do_not_mix"),
    ],
)
def test_a_broken_transformer_is_found_out(fault, test):
    with pytest.raises(AssertionError):
        getattr(TransformerContract(), f"test_{test}")(make_foreign_case(break_transformer(fault)))


def test_a_network_that_lacks_something_is_found_out():
    class Cacheless(ForeignTransformer):
        cache_context = None

    class Placeless(torch.nn.Module):
        config, encode, decode_chunks = ForeignVae.config, ForeignVae.encode, ForeignVae.decode_chunks

    with pytest.raises(AssertionError):
        TransformerContract().test_is_a_transformer(make_foreign_case(randomize(Cacheless())))
    with pytest.raises(AssertionError):
        SmoothingAutoencoderContract().test_is_an_autoencoder(make_autoencoder_case(Placeless()))
    with pytest.raises(AssertionError):
        SmoothingAutoencoderContract().test_smooths_with_the_noise_of_the_run(make_autoencoder_case())
    with pytest.raises(AssertionError):
        TextEncoderContract().test_is_a_text_encoder(make_text_case(Placeless()))
    with pytest.raises(AssertionError):
        ImageEncoderContract().test_is_an_image_encoder(replace(make_image_case(), encoder=Placeless()))
    with pytest.raises(AssertionError):
        SchedulerContract().test_is_a_scheduler(make_scheduler_case(object()))


def break_vae(name):
    """A VAE with one fault."""

    class Broken(tiny_dit.TinyVae):
        def encode(self, x):
            if name == "mixes pixels":
                x = x + x.mean(dim=0, keepdim=True)
            return super().encode(x[..., :-8] if name == "small" else x * (name != "blind"))

        def decode_chunks(self, z):
            if name == "mixes latents":
                z = z + z.mean(dim=0, keepdim=True)
            pieces = list(super().decode_chunks(z * (name != "deaf")))
            yield from pieces[: 1 if name == "stops" else None]

        def decode_smoothly(self, z, draw):
            clip = super().decode_smoothly(z, (lambda posterior: posterior.mean) if name == "own draw" else draw)
            return clip + 2 if name == "loud" else clip

    return AutoencoderCase(vae=randomize(Broken()), shapes=tiny_dit.SHAPES, clips=draw(2, 3, 16, 16, 32).tanh())


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("small", "latents_are_as_large_as_the_shape_rule_says"),
        ("stops", "pieces_make_a_clip_of_the_same_size"),
        ("blind", "pixels_and_latents_matter"),
        ("deaf", "pixels_and_latents_matter"),
        ("mixes pixels", "clips_of_a_batch_do_not_mix"),
        ("mixes latents", "clips_of_a_batch_do_not_mix"),
        ("own draw", "smooths_with_the_noise_of_the_run"),
        ("loud", "smooths_with_the_noise_of_the_run"),
    ],
)
def test_a_broken_autoencoder_is_found_out(fault, test):
    with pytest.raises(AssertionError):
        getattr(SmoothingAutoencoderContract(), f"test_{test}")(break_vae(fault))


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("one state", "every_token_has_a_state"),
        ("deaf", "tokens_matter_and_padding_does_not"),
        ("maskless", "tokens_matter_and_padding_does_not"),
        ("mixes", "prompts_of_a_batch_do_not_mix"),
    ],
)
def test_a_broken_text_encoder_is_found_out(fault, test):
    class Broken(ForeignTextEncoder):
        def forward(self, input_ids, *, attention_mask):
            ids = input_ids * (fault != "deaf")
            output = super().forward(ids, attention_mask=attention_mask)
            states = output.last_hidden_state
            if fault == "maskless":
                states = states + self.table(ids).mean(dim=1, keepdim=True)
            if fault == "mixes":
                states = states + states.mean(dim=0, keepdim=True)
            output.last_hidden_state = states[:, :1] if fault == "one state" else states
            return output

    with pytest.raises(AssertionError):
        getattr(TextEncoderContract(), f"test_{test}")(make_text_case(randomize(Broken())))


def test_a_broken_image_encoder_is_found_out():
    case, contract = make_image_case(), ImageEncoderContract()
    case.encoder.config.projection_dim = 5
    with pytest.raises(AssertionError):
        contract.test_states_and_embedding_are_as_large_as_the_configuration_says(case)
    with pytest.raises(AssertionError):
        contract.test_pictures_matter_and_do_not_mix(replace(case, pixels=case.pixels[:1].repeat(2, 1, 1, 1)))


class Rising(ForeignScheduler):
    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        self.timesteps = self.timesteps.flip(0)


class Overshooting(ForeignScheduler):
    def step(self, prediction, timestep, sample, return_dict=True):
        return super().step(prediction * 1.5, timestep, sample, return_dict)


class Loud(ForeignScheduler):
    init_noise_sigma = 14.6


@pytest.mark.parametrize(
    ("scheduler", "test"),
    [
        (Rising, "timesteps_fall_and_stay_on_the_host"),
        (Overshooting, "perfect_predictions_end_at_the_clean_latents"),
        (Loud, "a_run_starts_from_noise_as_strong_as_it_says"),
    ],
)
def test_a_broken_scheduler_is_found_out(scheduler, test):
    with pytest.raises(AssertionError):
        getattr(SchedulerContract(), f"test_{test}")(make_scheduler_case(scheduler()))
