"""The untrained parts: tokenizers that know every caption, encoders that tell captions apart."""

import pytest
import torch
from easyanimate_data.caption import VOCABULARY_EN, VOCABULARY_ZH, all_captions
from easyanimate_demo.base import TEXT_LENGTH, TEXT_WIDTH, write_base
from easyanimate_dit.encoder import load_encoder, load_tokenizer
from transformers import BertModel, BertTokenizer, T5EncoderModel, T5Tokenizer

PARTS = {
    "tokenizer": (BertTokenizer, "text_encoder", BertModel),
    "tokenizer_2": (T5Tokenizer, "text_encoder_2", T5EncoderModel),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "base"
    write_base(path, words=[*VOCABULARY_EN, *VOCABULARY_ZH], captions=all_captions())
    return path


def test_every_part_is_written(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2", "image_encoder", "scheduler"}


@pytest.mark.parametrize("tokenizer_name", PARTS)
def test_every_caption_has_states_of_its_own(folder, tokenizer_name):
    tokenizer_class, encoder_name, encoder_class = PARTS[tokenizer_name]
    tokenizer = load_tokenizer(tokenizer_class, folder / tokenizer_name)
    captions = sorted(set(all_captions()))
    tokens = tokenizer(captions, padding="max_length", truncation=False, max_length=TEXT_LENGTH, return_tensors="pt")
    assert tokens.input_ids.shape == (len(captions), TEXT_LENGTH), "a caption is longer than the text"
    assert not (tokens.input_ids == tokenizer.unk_token_id).any()
    assert len(torch.unique(tokens.input_ids, dim=0)) == len(captions)

    encoder = load_encoder(encoder_class, folder / encoder_name, dtype=torch.float32)
    some = slice(0, len(captions), max(1, len(captions) // 40))
    states = encoder(tokens.input_ids[some], attention_mask=tokens.attention_mask[some])[0]
    assert states.shape[1:] == (TEXT_LENGTH, TEXT_WIDTH)
    distances = torch.pdist(states.flatten(1))
    assert distances.min() > 0.1 * distances.mean()


def test_the_same_seed_gives_the_same_parts(folder, tmp_path):
    write_base(tmp_path / "again", words=[*VOCABULARY_EN, *VOCABULARY_ZH], captions=all_captions())
    for file in (path for path in folder.rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folder)).read_bytes(), file.name
