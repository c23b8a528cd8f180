"""The video transformer of EasyAnimate V1 to V3: PixArt blocks with motion modules, from V2 with long skips.

Axes: B batch, L latent channels, F latent frames, H and W latent rows and columns, P tokens of a frame, C inner width,
S text tokens, E width of the text states, M context tokens (text, then picture).
"""

# ruff: noqa: PLR0913, PLR0917 (the original's configuration fields and arguments)

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from easyanimate_torch.strict_model import StrictModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.diffusers_private import AttentionMixin, PixArtAlphaTextProjection, Transformer2DModelOutput
from easyanimate_dit.normalization import LayerNorm
from easyanimate_dit.pixart.block import PixArtMotionBlock
from easyanimate_dit.pixart.embedding import AdaLayerNormSingle, GridPatchEmbed
from easyanimate_dit.pixart.motion_module import MotionModule
from easyanimate_dit.refusal import check_config, missing

_CLIP_WIDTH = 768
NUM_CLIP_TOKENS = 8
_INPAINT_CHANNELS = 12
_SIZE_CONDITION_SAMPLE_SIZE = 128
_NUM_SKIPS = 13
_FIRST_SKIPPED_TO = 15
_MASKED = -10000.0


class PixArtCondition(NamedTuple):
    """What a prompt and a picture become, once per run: `Transformer3DModel.encode_condition`."""

    size: Tensor | None
    """[B, C]: embedded resolution and aspect ratio; None for models that are not told them."""
    context: Tensor
    """[B, M, C]: projected text states, then the tokens of the picture."""
    bias: Tensor | None
    """[B, 1, 1, M]: -10000 on tokens that do not count; None where all of them do."""


class Transformer3DModel(StrictModelMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):
    """The denoiser of EasyAnimate V1, V2 and V3; class name, config fields, arguments and weights are the original's.

    Args:
        num_attention_heads: Heads of the attention within frames and to the prompt.
        attention_head_dim: Width of a head; heads times this is the inner width C.
        in_channels: Latent channels in; 12 makes an inpainting model, which takes `inpaint_latents` and a picture.
        out_channels: Channels out: the prediction and its variance. None: `in_channels`.
        num_layers: Number of blocks.
        dropout: Kept from the original's files; 0.
        norm_num_groups: Kept from the original's files; motion modules have 32 groups.
        cross_attention_dim: Width of the projected prompt: the inner width.
        attention_bias: Whether query, key and value have biases outside motion modules.
        sample_size: Latent side of the training resolution, which positions are relative to. At 128 the model is told
            resolution and aspect ratio.
        num_vector_embeds: None.
        patch_size: Latent rows and columns of a token.
        activation_fn: Of the feed-forward, as diffusers names it.
        num_embeds_ada_norm: Kept from the original's files; without effect.
        use_linear_projection: False.
        only_cross_attention: False.
        double_self_attention: False.
        upcast_attention: False.
        norm_type: `ada_norm_single`, the only one.
        norm_elementwise_affine: False.
        norm_eps: 1e-6.
        attention_type: `default`, the only one.
        caption_channels: Width E of the text states.
        patch_3d: False.
        fake_3d: False.
        basic_block_type: `motionmodule`: the same motion module in every block; `global_motionmodule`: one kind in even
            blocks, another in odd ones.
        time_position_encoding_before_transformer: False.
        motion_module_type: `Vanilla`: attention over time at each place; `VanillaGrid`: at squares of places.
        enable_uvit: Long skips from block 12 - k to block 15 + k.
        motion_module_kwargs: Settings of the motion modules; see `MotionModule`.
        motion_module_kwargs_even: The same for even blocks of `global_motionmodule`.
        motion_module_kwargs_odd: The same for odd ones.

    Source: PixArt-alpha (arXiv 2310.00426) with the motion modules of EasyAnimate (arXiv 2405.18991); the long skips
    come from U-ViT (arXiv 2209.12152).
    """

    _supports_gradient_checkpointing = True
    _gradient_checkpointing_func: Any
    _no_split_modules: ClassVar = ["PixArtMotionBlock"]
    _repeated_blocks: ClassVar = ["PixArtMotionBlock"]
    # No _cp_plan: attention within frames needs whole frames and attention over time needs all of them, so there is no
    # one axis along which the tokens could stay apart.
    _skip_layerwise_casting_patterns: ClassVar = ["pos_embed", "adaln_single", "norm", "proj_out"]

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int = 16,
        attention_head_dim: int = 72,
        in_channels: int = 4,
        out_channels: int | None = 8,
        num_layers: int = 28,
        dropout: float = 0.0,  # noqa: ARG002 (checked with the configuration)
        norm_num_groups: int = 32,  # noqa: ARG002 (kept in the configuration)
        cross_attention_dim: int | None = 1152,  # noqa: ARG002 (checked with the configuration)
        attention_bias: bool = True,
        sample_size: int = 64,
        num_vector_embeds: int | None = None,  # noqa: ARG002 (checked with the configuration)
        patch_size: int = 2,
        activation_fn: str = "gelu-approximate",
        num_embeds_ada_norm: int | None = 1000,  # noqa: ARG002 (kept in the configuration)
        use_linear_projection: bool = False,  # noqa: ARG002 (checked with the configuration)
        only_cross_attention: bool = False,  # noqa: ARG002 (checked with the configuration)
        double_self_attention: bool = False,  # noqa: ARG002 (checked with the configuration)
        upcast_attention: bool = False,  # noqa: ARG002 (checked with the configuration)
        norm_type: str = "ada_norm_single",  # noqa: ARG002 (checked with the configuration)
        norm_elementwise_affine: bool = False,  # noqa: ARG002 (checked with the configuration)
        norm_eps: float = 1e-6,  # noqa: ARG002 (checked with the configuration)
        attention_type: str = "default",  # noqa: ARG002 (checked with the configuration)
        caption_channels: int = 4096,
        patch_3d: bool = False,  # noqa: ARG002 (checked with the configuration)
        fake_3d: bool = False,  # noqa: ARG002 (checked with the configuration)
        basic_block_type: str = "motionmodule",
        time_position_encoding_before_transformer: bool = False,  # noqa: ARG002 (checked with the configuration)
        motion_module_type: str = "Vanilla",
        enable_uvit: bool = False,
        motion_module_kwargs: dict[str, Any] | None = None,
        motion_module_kwargs_even: dict[str, Any] | None = None,
        motion_module_kwargs_odd: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_config(self.config)
        dim = num_attention_heads * attention_head_dim
        self.out_channels = out_channels or in_channels
        self.has_clip = in_channels == _INPAINT_CHANNELS
        self.has_size_condition = sample_size == _SIZE_CONDITION_SAMPLE_SIZE

        # 1. Conditions
        self.adaln_single = AdaLayerNormSingle(dim, has_size_condition=self.has_size_condition)
        self.caption_projection = PixArtAlphaTextProjection(caption_channels, dim)
        if self.has_clip:
            self.clip_projection = PixArtAlphaTextProjection(_CLIP_WIDTH, dim * NUM_CLIP_TOKENS)
            # Pictures start without effect, so that a text model can be continued.
            nn.init.zeros_(self.clip_projection.linear_2.weight)
            nn.init.zeros_(self.clip_projection.linear_2.bias)

        # 2. Tokens
        self.pos_embed = GridPatchEmbed(in_channels, dim, patch_size=patch_size, sample_size=sample_size)

        # 3. Blocks; in the hybrid of V3 even and odd ones have motion modules of their own kind
        is_hybrid = basic_block_type == "global_motionmodule"
        even, odd = (motion_module_kwargs_even, motion_module_kwargs_odd) if is_hybrid else (motion_module_kwargs,) * 2
        self.transformer_blocks = nn.ModuleList(
            PixArtMotionBlock(
                dim,
                heads=num_attention_heads,
                cross_attention_dim=dim,
                attention_bias=attention_bias,
                activation_fn=activation_fn,
                motion_module=MotionModule(dim, motion_module_type, dict((odd if index % 2 else even) or {})),
            )
            for index in range(num_layers)
        )
        if enable_uvit:
            self.long_connect_fc = nn.ModuleList(nn.Linear(dim, dim) for _ in range(_NUM_SKIPS))
            for parameter in self.long_connect_fc.parameters():
                nn.init.zeros_(parameter)

        # 4. Output
        self.norm_out = LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.randn(2, dim) / dim**0.5)
        self.proj_out = nn.Linear(dim, patch_size**2 * self.out_channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

        self.gradient_checkpointing = False

    def encode_condition(self, **conditions: Any) -> PixArtCondition:
        """Project text, picture and size once, for every step of a run.

        Takes `encoder_hidden_states`, `encoder_attention_mask`, `resolution`, `aspect_ratio`,
        `clip_encoder_hidden_states` and `clip_attention_mask` as `forward` does; the result goes to
        `forward(condition=...)`. Context tokens that count for no sample are left out, so that a prompt alone needs no
        mask. It passes through `forward`, because offloading and layerwise casting hook into that.
        """
        return _drop_masked(self(hidden_states=None, timestep=None, **conditions))

    def _encode_condition(
        self,
        encoder_hidden_states: Float[Tensor, "B S E"] | None,
        encoder_attention_mask: Tensor | None,
        size_conditions: dict[str, Tensor | None],
        clip_encoder_hidden_states: Float[Tensor, "B 768"] | None,
        clip_attention_mask: Tensor | None,
    ) -> PixArtCondition:
        if encoder_hidden_states is None:
            raise missing("text states", "give encoder_hidden_states, or a condition from encode_condition()")

        # 1. Size of the clip
        size = None
        if self.has_size_condition:
            resolution, aspect_ratio = size_conditions.get("resolution"), size_conditions.get("aspect_ratio")
            if resolution is None or aspect_ratio is None:
                raise missing("resolution and aspect ratio", "give both")
            size = self.adaln_single.emb.embed_size(resolution, aspect_ratio, encoder_hidden_states.dtype)

        # 2. Text, then the tokens of the picture
        context = self.caption_projection(encoder_hidden_states)
        mask = encoder_attention_mask
        if mask is None:
            mask = torch.ones(context.shape[:2], device=context.device)
        if self.has_clip and clip_encoder_hidden_states is not None:
            picture = self.clip_projection(clip_encoder_hidden_states).unflatten(1, (NUM_CLIP_TOKENS, -1))
            if clip_attention_mask is None:
                clip_attention_mask = torch.ones(picture.shape[:2], device=context.device)
            context = torch.cat([context, picture], dim=1)
            mask = torch.cat([mask.to(clip_attention_mask.dtype), clip_attention_mask], dim=1)
        return PixArtCondition(size, context, ((1 - mask.to(context.dtype)) * _MASKED)[:, None, None])

    def forward(
        self,
        hidden_states: Float[Tensor, "B L F H W"] | None,
        timestep: Tensor | None = None,
        encoder_hidden_states: Float[Tensor, "B S E"] | None = None,
        encoder_attention_mask: Tensor | None = None,
        added_cond_kwargs: dict[str, Tensor | None] | None = None,
        inpaint_latents: Float[Tensor, "B inpaint F H W"] | None = None,
        clip_encoder_hidden_states: Float[Tensor, "B 768"] | None = None,
        clip_attention_mask: Tensor | None = None,
        *,
        resolution: Float[Tensor, "B 2"] | None = None,
        aspect_ratio: Float[Tensor, "B 1"] | None = None,
        condition: PixArtCondition | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor] | PixArtCondition:
        """Predict the noise of a noisy latent video.

        Args:
            hidden_states: Noisy latents. None: only encode the condition (see `encode_condition`).
            timestep: (B) or one for all, 0 to 1000.
            encoder_hidden_states: T5 states.
            encoder_attention_mask: (B, S), 1 where a token is real. None: all are.
            added_cond_kwargs: "resolution" (B, 2), height and width in pixels, and "aspect_ratio" (B, 1), height by
                width; needed at sample size 128, without effect otherwise.
            inpaint_latents: Inpainting: latents of the mask, then of the masked video.
            clip_encoder_hidden_states: Inpainting: CLIP embedding of the picture. None: there is none.
            clip_attention_mask: Inpainting: (B, 8), 0 where the picture does not count. None: it does.
            resolution: In place of `added_cond_kwargs`, with `aspect_ratio`.
            aspect_ratio: See `resolution`.
            condition: Result of `encode_condition`, in place of text, sizes and picture.
            return_dict: Whether to return an object with `sample` or a tuple.

        Returns:
            (B, out_channels, F, H, W); the first half of the channels is the prediction.
        """
        # 1. Conditions
        if condition is None:
            condition = self._encode_condition(
                encoder_hidden_states,
                encoder_attention_mask,
                added_cond_kwargs or {"resolution": resolution, "aspect_ratio": aspect_ratio},
                clip_encoder_hidden_states,
                clip_attention_mask,
            )
        if hidden_states is None or timestep is None:
            return condition
        modulation, embedded = self.adaln_single(
            timestep.reshape(-1).expand(len(hidden_states)), condition.size, hidden_states.dtype
        )

        # 2. Tokens
        if inpaint_latents is not None:
            hidden_states = torch.cat([hidden_states, inpaint_latents], dim=1)
        patch = self.config["patch_size"]
        grid = hidden_states.shape[3] // patch, hidden_states.shape[4] // patch
        tokens: Tensor = self.pos_embed(hidden_states)

        # 3. Blocks
        tokens = self._run_blocks(tokens, condition.context, condition.bias, modulation, grid)

        # 4. Output: tokens back to rows and columns
        table = self.scale_shift_table.to(embedded.dtype) + embedded[:, None]
        shift, scale = table[:, :, None, None].unbind(dim=1)
        tokens = self.proj_out(torch.addcmul(shift, self.norm_out(tokens), 1 + scale))
        patches = tokens.unflatten(2, grid).unflatten(-1, (patch, patch, self.out_channels))
        sample = patches.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _run_blocks(self, tokens: Float[Tensor, "B F P C"], *conditions: Any) -> Float[Tensor, "B F P C"]:
        """Run all blocks; outputs of the first 13 come back through a projection from block 15 on, the last first.

        The numbers are those of 28 blocks whatever the number of blocks is, as in the original.
        """
        outputs: list[Tensor] = []
        for index, block in enumerate(self.transformer_blocks):
            skip = None
            if outputs and index >= _FIRST_SKIPPED_TO:
                skip = self.long_connect_fc[index - _FIRST_SKIPPED_TO](outputs.pop())
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens = self._gradient_checkpointing_func(block, tokens, *conditions, skip)
            else:
                tokens = block(tokens, *conditions, skip)
            if self.config["enable_uvit"] and index < _NUM_SKIPS:
                outputs.append(tokens)
        return tokens


def _drop_masked(condition: PixArtCondition) -> PixArtCondition:
    """Leave out tokens that count for no sample; a bias that is zero everywhere is none."""
    if condition.bias is None:
        return condition
    counts = condition.bias[:, 0, 0] == 0
    if not bool(counts.any(dim=1).all()):
        return condition  # a sample without any token attends to all of them alike
    used = counts.any(dim=0)
    bias = condition.bias[..., used]
    return PixArtCondition(condition.size, condition.context[:, used], bias if bool(bias.any()) else None)


def _check_config(config: Any) -> None:
    """Refuse configurations that the class cannot stand for."""
    dim = config.num_attention_heads * config.attention_head_dim
    allowed = {
        "norm_type": ("ada_norm_single",),
        "attention_type": ("default",),
        "basic_block_type": ("motionmodule", "global_motionmodule"),
        "norm_elementwise_affine": (False,),
        "norm_eps": (1e-6,),
        "dropout": (0.0,),
        "cross_attention_dim": (dim,),
        "num_vector_embeds": (None,),
        "use_linear_projection": (False,),
        "only_cross_attention": (False,),
        "double_self_attention": (False,),
        "upcast_attention": (False,),
        "patch_3d": (False,),
        "fake_3d": (False,),
        "time_position_encoding_before_transformer": (False,),
    }
    if config.sample_size == _SIZE_CONDITION_SAMPLE_SIZE:
        allowed["attention_head_dim"] = (
            config.attention_head_dim if dim % 3 == 0 else f"a width divisible by 3: {dim}",
        )
    check_config(config, allowed, network="Transformer3DModel", versions="V1, V2 or V3")


if TYPE_CHECKING:  # the class is what the sampling pipeline takes
    from easyanimate_core.interfaces import VideoTransformer

    _: type[VideoTransformer] = Transformer3DModel
