"""The untrained parts: captions stay apart in both text encoders."""

import pytest
import torch
from easyanimate_data.shapes.caption import all_captions
from easyanimate_demo.base import TEXT_LENGTH, write_v3_base, write_v4_base
from transformers import BertTokenizer, T5EncoderModel, T5Tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    (folder / "v3").mkdir()
    write_v3_base(folder / "v3")
    write_v4_base(folder / "v4")
    return folder


CASES = [(BertTokenizer, "v4/tokenizer"), (T5Tokenizer, "v4/tokenizer_2"), (T5Tokenizer, "v3/tokenizer")]


@pytest.mark.parametrize(("tokenizer_class", "name"), CASES, ids=[name for _, name in CASES])
def test_every_caption_has_known_tokens_of_its_own(base, tokenizer_class, name):
    tokenizer = tokenizer_class.from_pretrained(base / name)
    captions = sorted({caption for caption in all_captions() if name.startswith("v4") or caption.isascii()})
    rows = [tuple(tokenizer(caption).input_ids) for caption in captions]
    assert len(set(rows)) == len(captions)
    assert max(map(len, rows)) <= TEXT_LENGTH
    short = tokenizer("a red circle moves to the left").input_ids
    assert len(short) < 12  # about a token per word
    assert all(tokenizer.unk_token_id not in row for row in rows)


def test_states_differ_between_captions(base):
    tokenizer = T5Tokenizer.from_pretrained(base / "v4" / "tokenizer_2")
    encoder = T5EncoderModel.from_pretrained(base / "v4" / "text_encoder_2", dtype=torch.float32)
    pair = ["a red circle moves to the left", "a red circle moves to the right"]
    tokens = tokenizer(pair, padding="max_length", max_length=TEXT_LENGTH, return_tensors="pt")
    with torch.no_grad():
        left, right = encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    assert (left - right).abs().max() > 0.1
