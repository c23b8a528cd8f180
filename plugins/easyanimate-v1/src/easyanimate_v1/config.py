"""The released V1 checkpoint: its transformer's configuration, its motion module's file, sizes. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_core import Defaults, ShapeRule, TrainedRange

SHAPES = ShapeRule(size_multiple=32, chunk_frames=1, chunk_latents=1, spatial_stride=8, max_frames=960, image=False)
"""Any number of frames, one latent each; the squares of the motion module want sides in multiples of 32."""

EASYANIMATE_V1_TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "cross_attention_dim": 1152,
    "attention_bias": True,
    "sample_size": 64,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "caption_channels": 4096,
    "basic_block_type": "motionmodule",
    "motion_module_type": "VanillaGrid",
    "motion_module_kwargs": {
        "num_attention_heads": 8,
        "num_transformer_block": 1,
        "attention_block_types": ["Temporal_Self", "Temporal_Self"],
        "temporal_position_encoding": True,
        "temporal_position_encoding_max_len": 4096,
        "temporal_attention_dim_div": 1,
        "block_size": 2,
    },
}
"""PixArt-XL-2 with a motion module; the original takes the last three from a file outside the checkpoint."""

MOTION_MODULE_PATH = "Motion_Module/easyanimate_v1_mm.safetensors"
"""Where the original keeps the motion module below `models/`."""

MOTION_MODULE_URL = f"https://pai-aigc-photog.oss-cn-hangzhou.aliyuncs.com/easyanimate/{MOTION_MODULE_PATH}"
"""Where it is downloaded from; 4.1 GB."""

EASYANIMATE_V1_512X512 = Defaults(
    height=512, width=512, num_frames=80, fps=12, num_inference_steps=30, guidance_scale=6.0, sampler="dpm++"
)
"""Values of a request for PixArt-XL-2-512x512 with easyanimate_v1_mm."""

TRAINED_512 = TrainedRange(min_frames=40, max_frames=80, min_side=512, max_side=512)
