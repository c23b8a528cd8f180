"""Small random models for the tests: both transformers of this package, a VAE, text encoders, a vision tower.

Everything is untrained, so that clips are noise, but every input matters: no weight is zero.
"""

import torch
from diffusers import DDIMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from easyanimate_core import ShapeRule
from easyanimate_dit.hunyuan import HunyuanTransformer3DModel
from easyanimate_dit.pixart import Transformer3DModel
from easyanimate_dit.pixart.version_parts import make_pixart_parts
from easyanimate_dit.sampling.conditioning import ClipTokenConditioner, HunyuanSizeConditioner
from easyanimate_dit.sampling.inpaint import BlendInpainter, ChannelInpainter, CodedMaskInpainter
from easyanimate_dit.sampling.latent import LatentCodec
from easyanimate_dit.sampling.pipeline import EasyAnimatePipeline
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from easyanimate_dit.sampling.version_parts import VersionParts
from torch import nn
from transformers import (
    BatchEncoding,
    BertConfig,
    BertModel,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

SHAPES = ShapeRule(size_multiple=16, chunk_frames=8, chunk_latents=2, spatial_stride=8)

SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.03,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "clip_sample": False,
}
"""That of the released V4; it names no sampler of ours."""

_TEXT_WIDTH = 16
_VISION_WIDTH = 8
_CLIP_WIDTH = 768  # of the picture's embedding, the same in every PixArt


class TinyVae(ModelMixin, ConfigMixin):
    """One convolution each way: 8x smaller in space, and 8 frames become 2; one frame becomes one."""

    @register_to_config
    def __init__(self, latent_channels=4, scaling_factor=0.5):  # noqa: ARG002 (kept in the configuration)
        super().__init__()
        step = (4, 8, 8)
        self.encoder = nn.Conv3d(3, 2 * latent_channels, step, stride=step)
        self.decoder = nn.ConvTranspose3d(latent_channels, 3, step, stride=step)

    def encode(self, x):
        frames = x.expand(-1, -1, 4, -1, -1) if x.shape[2] == 1 else x
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(self.encoder(frames)))

    def decode_chunks(self, z):
        for part in z.split(2, dim=2):
            frames = self.decoder(part)
            yield frames[:, :, :1] if part.shape[2] == 1 else frames

    def decode_smoothly(self, z, draw):
        clip = torch.cat(list(self.decode_chunks(z)), dim=2)
        again = draw(self.encode(clip).latent_dist)
        return torch.lerp(clip, torch.cat(list(self.decode_chunks(again)), dim=2), 0.5).clamp(-1, 1)


class LetterTokenizer:
    """A letter is a token."""

    model_max_length = 12

    def __call__(self, prompts, *, max_length=None, **_):
        if isinstance(prompts, str):
            return BatchEncoding({"input_ids": [1 + ord(letter) % 63 for letter in prompts]})
        rows = [[1 + ord(letter) % 63 for letter in prompt][:max_length] for prompt in prompts]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return BatchEncoding({"input_ids": ids, "attention_mask": (ids > 0).long()})

    def num_special_tokens_to_add(self):
        return 0

    def decode(self, ids):
        return "?" * len(ids)


def randomize(model, seed=0):
    """Give every weight a random value that keeps what flows through the model at about its size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.1 * noise + float("norm" in name and name.endswith("weight")))
    return model.eval()


def build_hunyuan(**changes):
    """A transformer like V4's; `in_channels=4` makes a plain one, without inpainting."""
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "hidden_size": 16,
        "num_layers": 4,
        "mlp_ratio": 2.0,
        "n_query": 4,
        "projection_dim": _VISION_WIDTH,
        "cross_attention_dim": _TEXT_WIDTH,
        "cross_attention_dim_t5": _TEXT_WIDTH,
        "pooled_projection_dim": _TEXT_WIDTH,
        "text_len": 10,
        "text_len_t5": 12,
    }
    return _calm(randomize(HunyuanTransformer3DModel(**(config | changes))))


def build_pixart(**changes):
    """A transformer like V3's; `in_channels=4` makes a plain one, without inpainting."""
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "in_channels": 12,
        "num_layers": 2,
        "caption_channels": _TEXT_WIDTH,
        "basic_block_type": "global_motionmodule",
        "motion_module_kwargs_even": {"attention_block_types": ("Global_Self",)},
    }
    return _calm(randomize(Transformer3DModel(**(config | changes))))


def _calm(transformer):
    """Keep predictions small, so that no sampler and no guidance makes latents grow without end."""
    transformer.proj_out.weight.data.mul_(0.1)
    return transformer


def _build_bert():
    widths = {"hidden_size": _TEXT_WIDTH, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    return randomize(
        BertModel(BertConfig(vocab_size=64, max_position_embeddings=16, **widths), add_pooling_layer=False)
    )


def _build_t5():
    widths = {"d_model": _TEXT_WIDTH, "d_kv": 8, "d_ff": 16, "num_heads": 2, "num_layers": 1}
    return randomize(T5EncoderModel(T5Config(vocab_size=64, is_encoder_decoder=False, **widths)))


def build_vision(projection_dim):
    widths = {"hidden_size": _VISION_WIDTH, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**widths, image_size=16, patch_size=8, projection_dim=projection_dim)
    return {
        "image_encoder": randomize(CLIPVisionModelWithProjection(config)),
        "image_processor": CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
    }


def build_components(kind, *, inpaints=True):
    """The parts of a model by role: of "hunyuan" as V4 has them, of "pixart" as V3 has them."""
    in_channels = 12 if inpaints else 4
    components = {
        "vae": randomize(TinyVae(), seed=1),
        "scheduler": DDIMScheduler.from_config(SCHEDULER),
        "tokenizer": LetterTokenizer(),
    }
    if kind == "hunyuan":
        components["transformer"] = build_hunyuan(in_channels=in_channels, out_channels=8)
        components |= {"text_encoder": _build_bert(), "text_encoder_2": _build_t5(), "tokenizer_2": LetterTokenizer()}
        return components | (build_vision(4) if inpaints else {})
    components |= {"transformer": build_pixart(in_channels=in_channels), "text_encoder": _build_t5()}
    return components | (build_vision(_CLIP_WIDTH) if inpaints else {})


def build_pipeline(components):
    """The sampling pipeline of these parts."""
    transformer = components["transformer"]
    has_clip = transformer.has_clip
    if isinstance(transformer, Transformer3DModel):
        inpaint = CodedMaskInpainter() if has_clip else BlendInpainter()
        parts = make_pixart_parts(components, SHAPES, smooth=True, inpaint=inpaint)
        return EasyAnimatePipeline(**components, parts=parts)
    config = transformer.config
    image = None
    if has_clip:
        image = ClipTokenConditioner(components["image_processor"], components["image_encoder"], config.n_query)
    first = TextBranch(
        tokenizer=components["tokenizer"],
        encoder=components["text_encoder"],
        length=config.text_len,
        states="encoder_hidden_states",
        mask="text_embedding_mask",
    )
    second = TextBranch(
        tokenizer=components["tokenizer_2"],
        encoder=components["text_encoder_2"],
        length=config.text_len_t5,
        states="encoder_hidden_states_t5",
        mask="text_embedding_mask_t5",
    )
    parts = VersionParts(
        text=TextConditioner((first, second)),
        size=HunyuanSizeConditioner(config.attention_head_dim, config.patch_size),
        codec=LatentCodec(components["vae"], SHAPES),
        inpaint=ChannelInpainter() if has_clip else BlendInpainter(),
        image=image,
        image_frames=3,
        image_share=0.4,
    )
    return EasyAnimatePipeline(**components, parts=parts)
