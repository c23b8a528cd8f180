"""Names of modules tell which installed models a LoRA can be for."""

import pytest
from easyanimate_dit.lora.target import find_models, find_path, list_patterns


@pytest.mark.parametrize("key", ["v1", "v2", "v3", "v4"])
def test_a_whole_file_is_of_its_model(key):
    paths = list_patterns("transformer")[key].values()
    assert find_models("transformer", [path.replace("#", "0") for path in paths]) == (key,)


@pytest.mark.parametrize(
    ("names", "models"),
    [
        (["blocks_0_attn1_to_q"], ("v4",)),
        (["blocks.0.attn1.to_q"], ("v4",)),
        (["transformer_blocks_0_attn1_to_q"], ("v1", "v2", "v3")),
        (["transformer_blocks.0.attn1.to_q", "long_connect_fc.3"], ("v2", "v3")),
        (["clip_projection_linear_1"], ("v3",)),
        (["down_blocks_0_attentions_0_proj_in"], ()),
        # What nobody has tells nothing.
        (["blocks.0.attn1.to_q", "down_blocks_0_attentions_0_proj_in"], ("v4",)),
        (["transformer_blocks.0.attn1.to_q", "blocks.0.attn1.to_q"], ()),
        ([], ()),
    ],
)
def test_layers_of_the_transformer_tell_what_they_can(names, models):
    assert find_models("transformer", names) == models


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("encoder_layer_0_attention_self_query", ("v4",)),
        ("encoder_block_0_layer_0_SelfAttention_q", ("v1", "v2", "v3")),
    ],
)
def test_layers_of_the_text_encoder_tell_what_they_can(name, models):
    assert find_models("text_encoder", [name]) == models


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("blocks_12_attn1_to_out_0", "blocks.12.attn1.to_out.0"),
        ("blocks.12.attn1.to_out.0", "blocks.12.attn1.to_out.0"),
        ("pos_embed_proj", "pos_embed.proj"),
        (
            "transformer_blocks_1_attn_temporal_temporal_transformer_transformer_blocks_0_attention_blocks_1_to_q",
            "transformer_blocks.1.attn_temporal.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q",
        ),
        ("down_blocks_0_proj_in", None),
    ],
)
def test_a_name_with_underscores_has_a_path(name, path):
    assert find_path("transformer", name) == path


def test_models_that_take_no_lora_are_passed_over():
    assert set(list_patterns("transformer")) == set(list_patterns("text_encoder")) == {"v1", "v2", "v3", "v4"}
