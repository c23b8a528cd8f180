"""Blocks: attention with several heads is PyTorch's, and checkpointed blocks are computed again."""

import pytest
import torch
from easyanimate_vae import AutoencoderKLMagvit
from easyanimate_vae.block import Attention3D, ResidualBlock3D
from torch import nn


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("across_frames", [True, False])
def test_attention_is_that_of_pytorch(across_frames):
    torch.manual_seed(0)
    attention = Attention3D(8, num_heads=4, norm_num_groups=2, across_frames=across_frames)
    reference = nn.MultiheadAttention(8, 4, batch_first=True)
    reference.in_proj_weight.copy_(torch.cat([getattr(attention, f"to_{name}").weight for name in "qkv"]))
    reference.in_proj_bias.copy_(torch.cat([getattr(attention, f"to_{name}").bias for name in "qkv"]))
    reference.out_proj.load_state_dict(attention.to_out.state_dict())
    x = torch.randn(2, 8, 3, 2, 5)
    frames = [x] if across_frames else x.split(1, dim=2)
    expected = []
    for part in frames:
        tokens = nn.functional.group_norm(part, 2, eps=1e-6).flatten(2).transpose(1, 2)
        mixed = reference(tokens, tokens, tokens, need_weights=False)[0]
        expected.append(part + mixed.transpose(1, 2).view(part.shape))
    torch.testing.assert_close(attention(x), torch.cat(expected, dim=2), atol=1e-5, rtol=0)


def test_heads_and_attention_of_the_mid_block_are_configured():
    def list_heads(**changes):
        with torch.device("meta"):
            vae = AutoencoderKLMagvit(ch=4, norm_num_groups=2, **changes)
        return [module.num_heads for module in vae.modules() if isinstance(module, Attention3D)]

    assert list_heads() == [1, 1]
    assert list_heads(mid_block_num_attention_heads=2) == [2, 2]
    assert list_heads(mid_block_use_attention=False) == []


def test_checkpointed_blocks_are_computed_again(build_random):
    vae = build_random("v4").train()
    calls = []
    blocks = [module for module in vae.modules() if isinstance(module, ResidualBlock3D)]
    for block in blocks:
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    counts = []
    for _ in range(2):
        calls.clear()
        vae(torch.zeros(1, 3, 1, 8, 8)).sample.sum().backward()
        counts.append(len(calls))
        vae.enable_gradient_checkpointing()
    assert counts == [len(blocks), 2 * len(blocks)]
