"""The video transformer of EasyAnimate V4: HunyuanDiT blocks over the tokens of all frames, with long skips.

Axes: B batch, L latent channels, F latent frames, H and W latent rows and columns, N tokens of all frames (frame, row,
column), C inner width, M text tokens, Q CLIP query tokens, D1/D2 width of the BERT/T5 states, S1/S2 their lengths.
"""

# ruff: noqa: PLR0913, PLR0917 (the original's configuration fields and arguments)

import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from easyanimate_torch.strict_model import StrictModelMixin
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from easyanimate_dit.attention import RotaryTable
from easyanimate_dit.diffusers_private import (
    AttentionMixin,
    ContextParallelInput,
    ContextParallelOutput,
    PixArtAlphaTextProjection,
    Transformer2DModelOutput,
)
from easyanimate_dit.hunyuan.block import HunyuanDiTBlock
from easyanimate_dit.hunyuan.embedding import PatchEmbed, Resampler, TimeTextSizeEmbedding
from easyanimate_dit.hunyuan.normalization import ModulatedLayerNorm
from easyanimate_dit.hunyuan.rotary import TokenPosition
from easyanimate_dit.refusal import check_config, missing


class HunyuanCondition(NamedTuple):
    """What a prompt and a reference image become, once per run: `HunyuanTransformer3DModel.encode_condition`."""

    extra: Tensor
    """[B, C]: pooled text, image size and style, the constant part of the conditioning vector."""
    text: Tensor
    """[B, M, D1]: BERT states, then projected T5 states, padding replaced by learned rows."""
    clip: Tensor | None
    """[B, Q, D1]: resampled CLIP tokens of the reference image; None for a model without that branch."""


class HunyuanTransformer3DModel(StrictModelMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):
    """The denoiser of EasyAnimate V4; class name, config fields, arguments and weights are those of the original.

    A model whose `in_channels` times 2 differs from `out_channels` is an inpainting model (InP): it also takes
    `inpaint_latents` and CLIP tokens. The defaults are the released EasyAnimateV4-XL-2-InP.

    Args:
        num_attention_heads: heads of every attention; heads times `attention_head_dim` is the inner width.
        attention_head_dim: width of one head, divisible by 4.
        in_channels: latent channels in, with `inpaint_latents`.
        out_channels: channels out: prediction and variance (which nobody uses). None: `in_channels`, doubled with
            `learn_sigma`.
        patch_size: latent rows and columns per token.
        n_query: CLIP tokens after resampling, a square number.
        projection_dim: width of the CLIP tokens that come in.
        activation_fn: of the feed-forward, as diffusers names it.
        sample_size: kept from the original's files; without effect.
        hidden_size: inner width, the same as heads times head width.
        num_layers: number of blocks, even.
        mlp_ratio: feed-forward width over inner width.
        learn_sigma: see `out_channels`.
        cross_attention_dim: width of the BERT states.
        norm_type: `layer_norm`, the only one.
        cross_attention_dim_t5: width of the T5 states.
        pooled_projection_dim: width of the pooled T5 states.
        text_len: number of BERT positions.
        text_len_t5: number of T5 positions.
        basic_block_type: `basic`, the only one.
        time_position_encoding: adds frame positions in every block.
        after_norm: a further norm after the feed-forward (not V4).

    Source: HunyuanDiT (arXiv 2405.08748) with the changes of EasyAnimate (arXiv 2405.18991).
    """

    _supports_gradient_checkpointing = True
    _gradient_checkpointing_func: Any
    _no_split_modules: ClassVar = ["HunyuanDiTBlock"]
    _repeated_blocks: ClassVar = ["HunyuanDiTBlock"]
    # Parameters that stand outside linear layers, and what must keep its precision.
    _skip_layerwise_casting_patterns: ClassVar = ["pos_embed", "time_extra_emb", "clip_projection", "norm", "proj_out"]
    _cp_plan: ClassVar = {
        # Tokens are split by whole frames, hence the frame indices with them.
        "token_position": {
            0: ContextParallelInput(split_dim=0, expected_dims=2, split_output=True),
            1: ContextParallelInput(split_dim=0, expected_dims=2, split_output=True),
            2: ContextParallelInput(split_dim=0, expected_dims=1, split_output=True),
        },
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=1, expected_dims=3, split_output=False)},
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int = 16,
        attention_head_dim: int = 88,
        in_channels: int = 12,
        out_channels: int | None = 8,
        patch_size: int = 2,
        n_query: int = 16,
        projection_dim: int = 1024,
        activation_fn: str = "gelu-approximate",
        sample_size: int = 128,  # noqa: ARG002 (kept in the configuration)
        hidden_size: int = 1408,  # noqa: ARG002 (checked with the configuration)
        num_layers: int = 40,
        mlp_ratio: float = 4.3637,
        learn_sigma: bool = True,
        cross_attention_dim: int = 1024,
        norm_type: str = "layer_norm",  # noqa: ARG002 (checked with the configuration)
        cross_attention_dim_t5: int = 2048,
        pooled_projection_dim: int = 1024,
        text_len: int = 77,
        text_len_t5: int = 256,
        basic_block_type: str = "basic",  # noqa: ARG002 (checked with the configuration)
        time_position_encoding: bool = True,
        after_norm: bool = False,
    ) -> None:
        super().__init__()
        _check_config(self.config)
        dim = num_attention_heads * attention_head_dim
        self.out_channels = out_channels or (in_channels * 2 if learn_sigma else in_channels)
        self.has_clip = in_channels * 2 != self.out_channels

        # 1. Conditions
        self.text_embedding_padding = nn.Parameter(torch.randn(text_len + text_len_t5, cross_attention_dim))
        if self.has_clip:
            self.clip_padding = nn.Parameter(torch.randn(n_query, cross_attention_dim) * 0.02)
            self.clip_projection = Resampler(
                n_query, cross_attention_dim, heads=num_attention_heads, kv_dim=projection_dim
            )
        self.text_embedder = PixArtAlphaTextProjection(
            cross_attention_dim_t5, cross_attention_dim_t5 * 4, out_features=cross_attention_dim, act_fn="silu_fp32"
        )
        self.time_extra_emb = TimeTextSizeEmbedding(
            dim,
            text_len_t5=text_len_t5,
            cross_attention_dim_t5=cross_attention_dim_t5,
            pooled_projection_dim=pooled_projection_dim,
        )

        # 2. Tokens
        self.pos_embed = PatchEmbed(in_channels, dim, patch_size)
        self.token_position = TokenPosition()

        # 3. Blocks: the first half stores its outputs, the second half takes them back, last stored first
        self.blocks = nn.ModuleList(
            HunyuanDiTBlock(
                dim,
                heads=num_attention_heads,
                feed_forward_dim=int(dim * mlp_ratio),
                cross_attention_dim=cross_attention_dim,
                activation_fn=activation_fn,
                has_skip=index > num_layers // 2,
                has_clip=self.has_clip,
                time_position_encoding=time_position_encoding,
                after_norm=after_norm,
            )
            for index in range(num_layers)
        )

        # 4. Output
        self.norm_out = ModulatedLayerNorm(dim)
        self.proj_out = nn.Linear(dim, patch_size**2 * self.out_channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

        self.gradient_checkpointing = False

    def encode_condition(self, **conditions: Any) -> HunyuanCondition:
        """Project text, image size and CLIP tokens once, for every step of a run.

        Takes the arguments of `forward` from `encoder_hidden_states` to `style`, `clip_encoder_hidden_states` and
        `clip_attention_mask`; the result goes to `forward(condition=...)`. It passes through `forward`, because
        offloading and layerwise casting hook into that.
        """
        return self(hidden_states=None, timestep=None, **conditions)

    def _encode_condition(
        self,
        encoder_hidden_states: Float[Tensor, "B S1 D1"] | None,
        text_embedding_mask: Tensor | None,
        encoder_hidden_states_t5: Float[Tensor, "B S2 D2"] | None,
        text_embedding_mask_t5: Tensor | None,
        image_meta_size: Tensor | None,
        style: Int[Tensor, " B"] | None,
        clip_encoder_hidden_states: Float[Tensor, "B K clip"] | None,
        clip_attention_mask: Tensor | None,
    ) -> HunyuanCondition:
        if (
            encoder_hidden_states is None
            or text_embedding_mask is None
            or encoder_hidden_states_t5 is None
            or text_embedding_mask_t5 is None
            or image_meta_size is None
        ):
            raise missing(
                "text states, their masks and image sizes", "give them, or a condition from encode_condition()"
            )

        # 1. Constant part of the conditioning vector
        if style is None:
            style = torch.zeros(len(encoder_hidden_states), dtype=torch.long, device=encoder_hidden_states.device)
        extra = self.time_extra_emb.embed_extra(encoder_hidden_states_t5, image_meta_size, style)

        # 2. Text tokens; a learned row stands wherever the tokenizers padded, so that attention needs no mask
        tokens = torch.cat([encoder_hidden_states, self.text_embedder(encoder_hidden_states_t5)], dim=1)
        is_token = torch.cat([text_embedding_mask, text_embedding_mask_t5], dim=1).bool()[..., None]
        text = torch.where(is_token, tokens, self.text_embedding_padding.to(tokens.dtype))

        # 3. CLIP tokens
        if not self.has_clip:
            return HunyuanCondition(extra, text, None)
        if clip_encoder_hidden_states is None or clip_attention_mask is None:
            raise missing("CLIP tokens and their mask", "give zeros for both when there is no reference image")
        clip = self.clip_projection(clip_encoder_hidden_states)
        clip = torch.where(clip_attention_mask.bool()[..., None], clip, self.clip_padding.to(clip.dtype))
        return HunyuanCondition(extra, text, clip)

    def forward(
        self,
        hidden_states: Float[Tensor, "B L F H W"] | None,
        timestep: Tensor | None = None,
        encoder_hidden_states: Float[Tensor, "B S1 D1"] | None = None,
        text_embedding_mask: Tensor | None = None,
        encoder_hidden_states_t5: Float[Tensor, "B S2 D2"] | None = None,
        text_embedding_mask_t5: Tensor | None = None,
        image_meta_size: Tensor | None = None,
        style: Int[Tensor, " B"] | None = None,
        image_rotary_emb: RotaryTable | None = None,
        inpaint_latents: Float[Tensor, "B inpaint F H W"] | None = None,
        clip_encoder_hidden_states: Float[Tensor, "B K clip"] | None = None,
        clip_attention_mask: Tensor | None = None,
        *,
        condition: HunyuanCondition | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor] | HunyuanCondition:
        """Predict the noise or velocity of a noisy latent video.

        Args:
            hidden_states: noisy latents. None: only encode the condition (see `encode_condition`).
            timestep: (B) or one for all, 0 to 1000.
            encoder_hidden_states: BERT states.
            text_embedding_mask: (B, S1), 1 where a BERT position is a real token.
            encoder_hidden_states_t5: T5 states.
            text_embedding_mask_t5: (B, S2), 1 where a T5 position is a real token.
            image_meta_size: (B, 6): original height and width, target height and width, crop top and left; pixels.
            style: zeros; None stands for them.
            image_rotary_emb: (cos, sin) of one frame, each (P, head width) float32: `rotary.make_rotary_table`.
            inpaint_latents: InP: latents of the mask, then of the masked video.
            clip_encoder_hidden_states: InP: CLIP tokens of the reference image, zeros without one.
            clip_attention_mask: InP: (B, n_query), 0 where a CLIP token is replaced by a learned row.
            condition: result of `encode_condition`, in place of the states, masks, sizes and style above.
            return_dict: whether to return an object with `sample` or a tuple.

        Returns:
            (B, out_channels, F, H, W); the first half of the channels is the prediction.
        """
        # 1. Conditions
        if condition is None:
            condition = self._encode_condition(
                encoder_hidden_states,
                text_embedding_mask,
                encoder_hidden_states_t5,
                text_embedding_mask_t5,
                image_meta_size,
                style,
                clip_encoder_hidden_states,
                clip_attention_mask,
            )
        if hidden_states is None or timestep is None:
            return condition
        temb = self.time_extra_emb(timestep.reshape(-1).expand(len(hidden_states)), condition.extra)
        activated_temb = functional.silu(temb).to(hidden_states.dtype)

        # 2. Tokens and their positions
        num_frames, height, width = hidden_states.shape[2:]
        if inpaint_latents is not None:
            hidden_states = torch.cat([hidden_states, inpaint_latents], dim=1)
        tokens: Tensor = self.pos_embed(hidden_states)
        rotary_emb, frame_index = None, torch.arange(num_frames, device=tokens.device)
        if image_rotary_emb is not None:
            cos, sin, frame_index = self.token_position(image_rotary_emb, num_frames)
            rotary_emb = cos, sin

        # 3. Blocks
        tokens = self._run_blocks(
            tokens,
            condition.text,
            activated_temb,
            rotary_emb,
            frame_index if num_frames > 1 else None,
            condition.clip,
        )

        # 4. Output: tokens back to rows and columns
        tokens = self.proj_out(self.norm_out(tokens, activated_temb))
        patch = self.config["patch_size"]
        grid = tokens.unflatten(1, (num_frames, height // patch, width // patch))
        grid = grid.unflatten(-1, (patch, patch, self.out_channels))
        sample = grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _run_blocks(self, hidden_states: Float[Tensor, "B N C"], *conditions: Any) -> Float[Tensor, "B local C"]:
        """Run all blocks; half of them hand their output to the mirrored later block.

        Under context parallelism the first block takes this device's part of the tokens, which stay apart from there.
        """
        middle = len(self.blocks) // 2
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            skip = skips.pop() if index > middle else None
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states, *conditions, skip)
            else:
                hidden_states = block(hidden_states, *conditions, skip)
            if index < middle - 1:
                skips.append(hidden_states)
        return hidden_states


def _check_config(config: Any) -> None:
    """Refuse configurations that the class cannot stand for."""
    allowed = {
        "norm_type": ("layer_norm",),
        "basic_block_type": ("basic",),
        "hidden_size": (config.num_attention_heads * config.attention_head_dim,),
        "num_layers": (config.num_layers - config.num_layers % 2,),
        "attention_head_dim": (config.attention_head_dim - config.attention_head_dim % 4,),
        "n_query": (math.isqrt(config.n_query) ** 2,),
    }
    check_config(config, allowed, network="HunyuanTransformer3DModel", versions="V4")


if TYPE_CHECKING:  # the class is what the sampling pipeline takes
    from easyanimate_core.interfaces import VideoTransformer

    _: type[VideoTransformer] = HunyuanTransformer3DModel
