"""Prompts to ids: lengths, padding, and the second reading of long token rows."""

from types import SimpleNamespace

import torch
from easyanimate_dit.sampling.text import TextBranch, TextConditioner
from transformers import BatchEncoding, BertTokenizer


class Tokenizer:
    """A letter is a token; capitals are lost when ids are written out as text."""

    def __init__(self):
        self.read = []

    def __call__(self, prompts, *, max_length, **_):
        self.read.append(prompts)
        rows = [[ord(letter) for letter in prompt][:max_length] for prompt in prompts]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return BatchEncoding({"input_ids": ids, "attention_mask": (ids > 0).long()})

    def batch_decode(self, ids, *, skip_special_tokens):
        assert skip_special_tokens
        return ["".join(chr(number) for number in row if number).lower() for row in ids]


def encode_ids(ids, attention_mask):
    return SimpleNamespace(last_hidden_state=ids[..., None].double() * attention_mask[..., None])


def branch(length, name="states"):
    return TextBranch(Tokenizer(), encode_ids, length, name, f"{name}_mask")


def test_short_rows_are_read_once():
    short = branch(77)
    assert short.tokenize(["A boat"]).input_ids.shape == (1, 77)
    assert short.tokenizer.read == [["A boat"]]


def test_long_rows_are_cut_to_140_and_read_again():
    long = branch(256)
    ids = long.tokenize(["A" * 200, "B"]).input_ids
    assert long.tokenizer.read[1] == ["a" * 140, "b"]
    assert ids.shape == (2, 256)
    assert (ids[0] > 0).sum() == 140


def test_every_branch_gives_its_own_arguments():
    conditioner = TextConditioner((branch(5, "bert"), branch(7, "t5")))
    found = conditioner.encode(["ab", "c"], device=torch.device("cpu"), dtype=torch.float32)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "bert": (2, 5, 1),
        "bert_mask": (2, 5),
        "t5": (2, 7, 1),
        "t5_mask": (2, 7),
    }
    assert found["bert"].dtype == torch.float32
    assert found["t5_mask"].sum(dim=1).tolist() == [2, 1]


LONG = " ".join(["a red circle moves to the right and"] * 8)


def make_real_branch(tmp_path, length):
    """A branch with a tokenizer of transformers that knows the words of `LONG`."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*LONG.split(), "blue", "square"})]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"), model_max_length=length)
    return TextBranch(tokenizer, encode_ids, length, "states", "mask")


def test_what_is_left_out_is_told(tmp_path):
    short = make_real_branch(tmp_path, 24)
    assert TextConditioner((short,)).explain_cuts("a red circle") == []
    cut = short.find_cut(LONG + " a blue Cat")
    assert cut.num_tokens == 22  # beside the marks of beginning and end
    assert cut.read.split() + cut.left_out.split() == f"{LONG} a blue Cat".split()
    [line] = TextConditioner((short,)).explain_cuts(LONG)
    assert line.startswith('The text encoder reads 22 tokens of the prompt, up to "...')
    assert 'it leaves out "right and a red' in line
    whole = make_real_branch(tmp_path, 100)
    assert TextConditioner((whole, short)).explain_cuts(LONG)[0].startswith("Text encoder 2 of 2 reads 22 tokens")


def test_the_second_reading_counts(tmp_path):
    long = make_real_branch(tmp_path, 256)
    cut = long.find_cut(" ".join(["red"] * 200))
    assert cut.num_tokens == 139
    assert cut.left_out.split() == ["red"] * 61
    assert long.find_cut(" ".join(["red"] * 139)) is None
