"""The parts of the demo weights that are not trained: tokenizers, small random encoders, the scheduler.

Random encoders are enough for so few words: every caption still gets states of its own, which the transformer learns.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import sentencepiece
from easyanimate_data.shapes.caption import VOCABULARY_EN, VOCABULARY_ZH, all_captions
from transformers import (
    BertConfig,
    BertModel,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEXT_WIDTH = 64
"""Width of the states of both text encoders and of the image encoder."""

TEXT_LENGTH = 24
"""Tokens of a caption for each text encoder; the longest one of the shapes clips has 16."""

CLIP_WIDTH = 768
"""Width of the embedding of a picture that V3's transformer takes."""

T5_VOCABULARY = 128
"""Upper bound of the sentencepiece vocabulary, and rows of the embedding."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.03,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}


def write_bert(folder: Path, words: Sequence[str]) -> None:
    """Write `tokenizer` and `text_encoder`: whole words and Chinese characters, two layers."""
    vocabulary = [*SPECIAL_TOKENS, *words]
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    (tokenizer / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "tokenize_chinese_chars": True,
        "model_max_length": TEXT_LENGTH,
    }
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * TEXT_WIDTH,
        max_position_embeddings=2 * TEXT_LENGTH,
        # Wide enough that words and places differ clearly without training.
        initializer_range=0.2,
    )
    BertModel(config).half().save_pretrained(folder / "text_encoder")


def write_t5(folder: Path, words: Sequence[str], captions: Sequence[str], *, number: str = "") -> None:
    """Write `tokenizer` and `text_encoder`: a sentencepiece model of the captions, two layers.

    Args:
        folder: Where to.
        words: Pieces of their own.
        captions: What to learn the other pieces from: the letters of the words.
        number: Ends the folders' names, such as "_2".
    """
    # Told to it, because so few captions teach it letters and whole phrases. In a piece, U+2581 stands for a space.
    pieces = [f"\u2581{word}" if word.isascii() else word for word in words]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*captions, *(letter for word in words for letter in word)]),
        model_writer=model,
        vocab_size=T5_VOCABULARY,
        hard_vocab_limit=False,
        user_defined_symbols=pieces,
        character_coverage=1.0,
        normalization_rule_name="identity",  # the others are tables of 240 kB
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    tokenizer = folder / f"tokenizer{number}"
    tokenizer.mkdir(parents=True)
    (tokenizer / "spiece.model").write_bytes(model.getvalue())
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "legacy": True, "model_max_length": TEXT_LENGTH}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    config = T5Config(
        vocab_size=T5_VOCABULARY,
        d_model=TEXT_WIDTH,
        d_kv=16,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        tie_word_embeddings=False,  # pyright: ignore[reportCallIssue] (a field of every configuration)
    )
    T5EncoderModel(config).half().save_pretrained(folder / f"text_encoder{number}")


def write_image_encoder(folder: Path, projection_dim: int = TEXT_WIDTH) -> None:
    """Write `image_encoder`: two layers over 16 patches of a 32 pixel picture."""
    config = CLIPVisionConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=projection_dim,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        hidden_act="quick_gelu",
    )
    CLIPVisionModelWithProjection(config).half().save_pretrained(folder / "image_encoder")
    size = {"shortest_edge": 32}
    CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder / "image_encoder")


def write_scheduler(folder: Path) -> None:
    """Write `scheduler` with the noise levels of the released V4.

    The released V1 to V3 predict noise at other levels; the folder's configuration decides.
    """
    (folder / "scheduler").mkdir()
    settings = folder / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps(SCHEDULER, indent=1), encoding="utf-8")


def write_v4_base(folder: Path) -> None:
    """Write V4's: BERT and T5 for English and Chinese, image encoder."""
    words = [*VOCABULARY_EN, *VOCABULARY_ZH]
    write_bert(folder, words)
    write_t5(folder, words, all_captions(), number="_2")
    write_image_encoder(folder)


def write_text_base(folder: Path) -> None:
    """Write V1's and V2's: T5 for English."""
    write_t5(folder, VOCABULARY_EN, [caption for caption in all_captions() if caption.isascii()])


def write_v3_base(folder: Path) -> None:
    """Write V3's: T5 for English, and an image encoder as wide as the released one projects to."""
    write_text_base(folder)
    write_image_encoder(folder, CLIP_WIDTH)
