"""The released V4 checkpoint: what its `config.json` files may leave out, and what else its files hold. Torch-free."""

from __future__ import annotations

from typing import Any

from easyanimate_core import ShapeRule, TrainedRange

SHAPES = ShapeRule(size_multiple=16, chunk_frames=8, chunk_latents=2, spatial_stride=8, max_frames=1440)

TRAINED = TrainedRange(max_frames=144, min_side=512, max_side=1280)

EASYANIMATE_V4_XL_2_INP_TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 88,
    "in_channels": 12,
    "out_channels": 8,
    "patch_size": 2,
    "n_query": 16,
    "projection_dim": 1024,
    "hidden_size": 1408,
    "num_layers": 40,
    "mlp_ratio": 4.3637,
    "cross_attention_dim": 1024,
    "cross_attention_dim_t5": 2048,
    "pooled_projection_dim": 1024,
    "text_len": 77,
    "text_len_t5": 256,
    "basic_block_type": "basic",
    "time_position_encoding": True,
    "after_norm": False,
}
"""The denoiser of EasyAnimateV4-XL-2-InP. The original takes the last three from a file outside the checkpoint."""

EASYANIMATE_V4_VAE: dict[str, Any] = {
    "ch": 128,
    "ch_mult": (1, 2, 4, 4),
    "down_block_types": ("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
    "up_block_types": ("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
    "latent_channels": 4,
    "mid_block_attention_type": "3d",
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "scaling_factor": 0.1825,
    "slice_mag_vae": False,
    "slice_compression_vae": False,
    "cache_compression_vae": True,
    "mini_batch_encoder": 8,
    "mini_batch_decoder": 2,
}
"""The slice VAE with the caching decoder. The original takes the flags from a file outside the checkpoint."""
