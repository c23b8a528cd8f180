"""The demo weights of each model version: what their parts are and which recipes make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from easyanimate_data.shapes.caption import VOCABULARY_EN, VOCABULARY_ZH
from easyanimate_dit import HunyuanTransformer3DModel, Transformer3DModel
from easyanimate_vae import AutoencoderKLMagvit, FrameAutoencoder
from torch import nn

from easyanimate_demo.base import write_text_base, write_v3_base, write_v4_base

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from easyanimate_data.shapes.caption import Language

_MOTION: dict[str, Any] = {
    "num_attention_heads": 4,
    "temporal_position_encoding_max_len": 32,
    "attention_block_types": ["Temporal_Self", "Temporal_Self"],
}

_PIXART: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "cross_attention_dim": 128,
    "caption_channels": 64,
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 4,
    "enable_uvit": False,  # so few blocks reach no long skip
}


_DENOISING: dict[str, Any] = {
    "mixed_precision": "no",
    "gradient_checkpointing": False,
    "low_vram": False,
    "cache": True,
    "loss": "mse",
    "timesteps": "uniform",
    "motion_sub_loss": 0.0,
    "log_every": 10,
    "checkpoint_every": 100,
    "optimizer.schedule": "flat",
    "optimizer.warmup_steps": 50,
    "optimizer.flat_share": 0.4,
    "optimizer.betas": [0.9, 0.99],
    "optimizer.epsilon": 1e-8,
    "optimizer.weight_decay": 0.0,
    "optimizer.max_grad_norm": 1.0,
    "data.batch_size": 8,
    "data.video_size": 64,
    "data.image_size": 64,
    "data.stride": 1,
    "data.random_size": False,
    "data.random_frames": False,
    "data.token_size": None,
    "data.mask_rule": None,
    "data.empty_text_share": 0.1,
    "data.passes": 1,
    "data.workers": 0,
}
"""Settings of training that suit weights this small, of transformer and LoRA."""

_DIT: dict[str, Any] = _DENOISING | {
    "optimizer.learning_rate": 3e-4,
    "optimizer.abnormal_after": 0,
    "trainable": [],
    "max_steps": 1000,
}

_LORA: dict[str, Any] = _DENOISING | {
    "optimizer.learning_rate": 2e-3,
    "lora.rank": 8,
    "lora.alpha": 8.0,
    "max_steps": 600,
}

_VAE: dict[str, Any] = {
    "loss.l1": 0.75,
    "loss.mse": 4.0,
    "loss.colour": 1.0,
    "loss.kl": 2e-4,
    "loss.perceptual": 0.0,
    "loss.adversarial": 0.0,
    "ema_decay": 0.0,
    "max_steps": 1000,
    "checkpoint_every": 250,
    "optimizer.learning_rate": 1e-3,
    "optimizer.schedule": "flat",
    "optimizer.warmup_steps": 50,
    "optimizer.betas": [0.9, 0.99],
    "optimizer.weight_decay": 0.01,
    "data.batch_size": 4,
    "data.video_size": 64,
    "data.image_size": 64,
    "data.workers": 0,
}


@dataclass(frozen=True, kw_only=True)
class DemoVersion:
    """How the weights of a version are made.

    Args:
        write_base: Writes the parts that are not trained.
        vae_class: Class of the VAE.
        vae_recipes: Recipes of its training, one after the other.
        vae_start: Version whose shipped VAE the first recipe starts from; None starts from nothing.
        transformer_class: Class of the transformer.
        transformer: Its configuration.
        num_frames: Frames of its clips.
        guidance_scale: Of requests.
        languages: Of the captions that they are trained on.
        index: Classes of further parts in `model_index.json`.
        motion_file: Whether the motion module is a file of its own.
        lora_recipe: Recipe of a LoRA for the finished weights.
    """

    write_base: Callable[[Path], None]
    vae_class: Any
    vae_recipes: tuple[str, ...]
    vae_start: str | None = None
    transformer_class: Any
    transformer: dict[str, Any]
    num_frames: int
    guidance_scale: float
    languages: tuple[Language, ...] = ("en",)
    index: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    motion_file: bool = False
    lora_recipe: str | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """What `ea run` takes with these weights when no option says otherwise."""
        return {
            "height": 64,
            "width": 64,
            "num_frames": self.num_frames,
            "fps": 8,
            "num_inference_steps": 25,
            "guidance_scale": self.guidance_scale,
            "sampler": "euler",
        }

    @property
    def training(self) -> dict[str, dict[str, Any]]:
        """Settings of training that are usual for weights this small, in place of the original's."""
        frames = {"data.num_frames": self.num_frames}
        return {"dit": _DIT | frames, "lora": _LORA | frames, "vae": _VAE | frames}

    @property
    def trained(self) -> dict[str, float]:
        """What they are trained on."""
        frames = {"min_frames": self.num_frames, "max_frames": self.num_frames}
        return {**frames, "min_side": 64, "max_side": 64, "max_ratio": 1.0}

    @property
    def prompts(self) -> dict[str, Any]:
        """The words that they are trained on."""
        vocabularies = {"en": VOCABULARY_EN, "zh": VOCABULARY_ZH}
        words = [word for language in self.languages for word in vocabularies[language]]
        return {"about": "moving shapes", "words": words}


VERSIONS: dict[str, DemoVersion] = {
    "v1": DemoVersion(
        write_base=write_text_base,
        vae_class=FrameAutoencoder,
        vae_recipes=("v1_vae",),
        transformer_class=Transformer3DModel,
        # Every frame has a latent, so the patches are larger to keep the tokens few.
        transformer=_PIXART
        | {"patch_size": 4, "motion_module_type": "VanillaGrid", "motion_module_kwargs": _MOTION | {"block_size": 2}},
        num_frames=16,
        guidance_scale=2.0,
        motion_file=True,
    ),
    "v2": DemoVersion(
        write_base=write_text_base,
        vae_class=AutoencoderKLMagvit,
        vae_recipes=("v2_vae",),
        vae_start="v4",
        transformer_class=Transformer3DModel,
        transformer=_PIXART | {"motion_module_kwargs": _MOTION},
        num_frames=18,
        guidance_scale=2.0,
    ),
    "v3": DemoVersion(
        write_base=write_v3_base,
        vae_class=AutoencoderKLMagvit,
        vae_recipes=("v3_vae",),
        vae_start="v4",
        transformer_class=Transformer3DModel,
        transformer=_PIXART
        | {
            "in_channels": 12,
            "basic_block_type": "global_motionmodule",
            "motion_module_kwargs_even": _MOTION,
            "motion_module_kwargs_odd": _MOTION | {"attention_block_types": ["Temporal_Self", "Global_Self"]},
        },
        num_frames=16,
        guidance_scale=1.2,
        index={"image_encoder": ["transformers", "CLIPVisionModelWithProjection"]},
        lora_recipe="v3_lora",
    ),
    "v4": DemoVersion(
        write_base=write_v4_base,
        vae_class=AutoencoderKLMagvit,
        vae_recipes=("v4_vae", "v4_vae_decoder", "v4_vae_first_frame"),
        transformer_class=HunyuanTransformer3DModel,
        transformer={
            "num_attention_heads": 4,
            "attention_head_dim": 32,
            "hidden_size": 128,
            "in_channels": 12,
            "out_channels": 8,
            "patch_size": 2,
            "n_query": 4,
            "projection_dim": 64,
            "num_layers": 8,
            "mlp_ratio": 4.0,
            "cross_attention_dim": 64,
            "cross_attention_dim_t5": 64,
            "pooled_projection_dim": 64,
            "text_len": 24,
            "text_len_t5": 24,
        },
        num_frames=16,
        guidance_scale=1.2,
        languages=("en", "zh"),
        index={
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "text_encoder": ["transformers", "BertModel"],
            "tokenizer": ["transformers", "BertTokenizer"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer_2": ["transformers", "T5Tokenizer"],
        },
    ),
}


def make_transformer(version: DemoVersion) -> Any:
    """A fresh transformer; PixArt's blocks start as nothing, like those of DiT (arXiv 2212.09748, section 3.2)."""
    model = version.transformer_class(**version.transformer)
    if isinstance(model, Transformer3DModel):
        blocks: Any = model.transformer_blocks
        outputs = [model.adaln_single.linear.weight, model.adaln_single.linear.bias, model.scale_shift_table]
        for block in blocks:
            outputs += [block.scale_shift_table, block.attn2.to_out[0].weight]
        for parameter in outputs:
            nn.init.zeros_(parameter)
    return model
