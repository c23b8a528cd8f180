"""The untrained parts: captions stay apart in both text encoders."""

import pytest
import torch
from easyanimate_data.caption import VOCABULARY_EN, VOCABULARY_ZH, all_captions
from easyanimate_demo.base import TEXT_LENGTH, write_base
from transformers import BertTokenizer, T5EncoderModel, T5Tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_base(folder, words=[*VOCABULARY_EN, *VOCABULARY_ZH], captions=all_captions())
    return folder


@pytest.mark.parametrize(("tokenizer_class", "name"), [(BertTokenizer, "tokenizer"), (T5Tokenizer, "tokenizer_2")])
def test_every_caption_has_known_tokens_of_its_own(base, tokenizer_class, name):
    tokenizer = tokenizer_class.from_pretrained(base / name)
    captions = sorted(set(all_captions()))
    rows = [tuple(tokenizer(caption).input_ids) for caption in captions]
    assert len(set(rows)) == len(captions)
    assert max(map(len, rows)) <= TEXT_LENGTH
    short = tokenizer("a red circle moves to the left").input_ids
    assert len(short) < 12  # about a token per word
    assert all(tokenizer.unk_token_id not in row for row in rows)


def test_states_differ_between_captions(base):
    tokenizer = T5Tokenizer.from_pretrained(base / "tokenizer_2")
    encoder = T5EncoderModel.from_pretrained(base / "text_encoder_2", dtype=torch.float32)
    pair = ["a red circle moves to the left", "a red circle moves to the right"]
    tokens = tokenizer(pair, padding="max_length", max_length=TEXT_LENGTH, return_tensors="pt")
    with torch.no_grad():
        left, right = encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    assert (left - right).abs().max() > 0.1
