"""The plugin: the model `mine` is made of these networks, a BERT, and the sampling pipeline of EasyAnimate."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from easyanimate_core import Defaults, ModelSpec, ShapeRule, Task, hookimpl
from easyanimate_dit.loading.part import EncoderPart, ModelPart, SchedulerPart, TokenizerPart
from easyanimate_dit.loading.release import Release

if TYPE_CHECKING:
    from easyanimate_dit.sampling.version_parts import VersionParts

NUM_WORDS = 16
"""Length of a prompt in words."""

MINE = Release(
    key="mine",
    summary="A plain video transformer: 8 frames of 32 x 32 pixels.",
    parts={
        "transformer": ModelPart(target="my_network.transformer:PlainTransformer"),
        "vae": ModelPart(target="my_network.vae:PlainVae"),
        "text_encoder": EncoderPart(target="transformers:BertModel", options={"add_pooling_layer": False}),
        "tokenizer": TokenizerPart("transformers:BertTokenizer"),
        "scheduler": SchedulerPart(
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.03, "clip_sample": False}
            | {"prediction_type": "v_prediction", "set_alpha_to_one": False}
        ),
    },
    make_version_parts="my_network.plugin:make_version_parts",
    class_prefixes=("PlainTransformer",),
    shapes=ShapeRule(size_multiple=8, chunk_frames=2, chunk_latents=1, spatial_stride=4, max_frames=64, image=False),
    tasks=(Task.TEXT_TO_VIDEO,),
    defaults=Defaults(height=32, width=32, num_frames=8, fps=8, num_inference_steps=20, guidance_scale=3.0),
)


def make_version_parts(components: Mapping[str, Any], shapes: ShapeRule) -> "VersionParts":
    """How the loaded parts work together: which arguments of the transformer the text becomes, and what the VAE is."""
    from easyanimate_dit.sampling.latent import LatentCodec
    from easyanimate_dit.sampling.text import TextBranch, TextConditioner
    from easyanimate_dit.sampling.version_parts import VersionParts

    words = TextBranch(
        tokenizer=components["tokenizer"],
        encoder=components["text_encoder"],
        length=NUM_WORDS,
        states="encoder_hidden_states",
        mask="encoder_attention_mask",
    )
    return VersionParts(text=TextConditioner((words,)), codec=LatentCodec(components["vae"], shapes))


@hookimpl
def ea_models() -> Iterator[ModelSpec]:
    """Offer the model to `ea`."""
    yield MINE.spec()
