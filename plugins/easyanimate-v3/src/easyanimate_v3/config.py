"""The released V3 checkpoints: what their `config.json` files may leave out, sizes and training. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_core import Defaults, ShapeRule, TrainedRange

SHAPES = ShapeRule(size_multiple=16, chunk_frames=8, chunk_latents=2, spatial_stride=8, max_frames=1440)

_MOTION: dict[str, Any] = {
    "num_attention_heads": 16,
    "num_transformer_block": 1,
    "temporal_position_encoding": True,
    "temporal_position_encoding_max_len": 4096,
    "temporal_attention_dim_div": 1,
    "block_size": 1,
    "remove_time_embedding_in_photo": False,
}

EASYANIMATE_V3_XL_2_INP_TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 12,
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
    "basic_block_type": "global_motionmodule",
    "motion_module_type": "Vanilla",
    "enable_uvit": True,
    "motion_module_kwargs_even": {**_MOTION, "attention_block_types": ["Temporal_Self", "Temporal_Self"]},
    "motion_module_kwargs_odd": {**_MOTION, "attention_block_types": ["Temporal_Self", "Global_Self"]},
}
"""The denoiser of all three releases; the original takes the last five from a file outside the checkpoint."""

EASYANIMATE_V3_VAE: dict[str, Any] = {
    "ch": 128,
    "ch_mult": (1, 2, 4, 4),
    "down_block_types": ("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
    "up_block_types": ("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
    "latent_channels": 4,
    "mid_block_attention_type": "3d",
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
    "slice_mag_vae": False,
    "slice_compression_vae": True,
    "cache_compression_vae": False,
    "mini_batch_encoder": 8,
    "mini_batch_decoder": 2,
}
"""The slice VAE. The original takes the flags from a file outside the checkpoint."""

_OFFICIAL: dict[str, Any] = {"num_frames": 144, "fps": 24, "num_inference_steps": 25, "guidance_scale": 7.0}

EASYANIMATE_V3_XL_2_INP_512X512 = Defaults(height=384, width=672, sampler="euler", **_OFFICIAL)
"""Values of a request for EasyAnimateV3-XL-2-InP-512x512."""

EASYANIMATE_V3_XL_2_INP_768X768 = Defaults(height=576, width=1008, sampler="euler", **_OFFICIAL)
"""Values of a request for EasyAnimateV3-XL-2-InP-768x768."""

EASYANIMATE_V3_XL_2_INP_960X960 = Defaults(height=720, width=1280, sampler="euler", **_OFFICIAL)
"""Values of a request for EasyAnimateV3-XL-2-InP-960x960."""

TRAINED_512 = TrainedRange(max_frames=144, min_side=512, max_side=512)
TRAINED_768 = TrainedRange(max_frames=144, min_side=768, max_side=768)
TRAINED_960 = TrainedRange(max_frames=144, min_side=960, max_side=960)
