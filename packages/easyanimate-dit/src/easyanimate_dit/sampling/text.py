"""Prompts to text states: one branch per text encoder.

Axes: B prompts, L tokens, D width of the states of one encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easyanimate_core.interfaces import TextEncoder

Conditions = dict[str, Tensor]
"""Arguments of the transformer by name."""

_REREAD_TOKENS = 140
"""Longer token rows are cut to this many, written out as text, and read again: the original's way."""


_SHOWN = 60
"""Characters of a prompt that show where it is cut."""


@dataclass(frozen=True)
class Cut:
    """Where a text encoder stops reading.

    Args:
        num_tokens: How many it reads.
        read: What they say, as the tokenizer writes it.
        left_out: What is left out.
    """

    num_tokens: int
    read: str
    left_out: str


@dataclass(frozen=True)
class TextBranch:
    """One text encoder and the names that the transformer knows its states by.

    Args:
        tokenizer: Of prompts, as transformers has them.
        encoder: Codes their tokens.
        length: Number of tokens that every prompt is padded or cut to.
        states: The transformer's argument for the states [B, L, D].
        mask: The transformer's argument for the mask [B, L], 1 where a token is real.
        clean: What is done to a prompt before it is tokenized; None leaves it as it is.
    """

    tokenizer: Any
    encoder: TextEncoder
    length: int
    states: str
    mask: str
    clean: Callable[[str], str] | None = None

    def tokenize(self, prompts: Sequence[str]) -> Any:
        """Token ids and mask [B, L].

        Rows longer than 140 pass through text once more, so that about 140 tokens of a prompt count, and characters
        that the tokenizer does not know are lost or altered: checkpoints are used with this, training is without.
        """
        if self.clean is not None:
            prompts = [self.clean(prompt) for prompt in prompts]
        tokens = self._tokenize(prompts)
        if tokens.input_ids.shape[1] > _REREAD_TOKENS:
            texts = self.tokenizer.batch_decode(tokens.input_ids[:, :_REREAD_TOKENS], skip_special_tokens=True)
            tokens = self._tokenize(texts)
        return tokens

    def find_cut(self, prompt: str) -> Cut | None:
        """Where the end of a prompt is left out; None where all of it is read."""
        cleaned = prompt if self.clean is None else self.clean(prompt)
        # The places of tokens in the text are known to tokenizers of the newer kind alone.
        places = {"return_offsets_mapping": True} if getattr(self.tokenizer, "is_fast", False) else {}
        everything = self.tokenizer(cleaned, add_special_tokens=False, verbose=False, **places)
        read = self.tokenize([prompt])
        num_tokens = int(read.attention_mask.sum()) - self.tokenizer.num_special_tokens_to_add()
        ids = everything.input_ids
        if len(ids) <= num_tokens:
            return None
        if places:
            end = everything["offset_mapping"][num_tokens - 1][1]
            return Cut(num_tokens, cleaned[:end], cleaned[end:].strip())
        return Cut(num_tokens, self.tokenizer.decode(ids[:num_tokens]), self.tokenizer.decode(ids[num_tokens:]))

    def encode(self, prompts: Sequence[str], *, device: torch.device, dtype: torch.dtype) -> Conditions:
        """The states and the mask by the transformer's argument names."""
        tokens = self.tokenize(prompts).to(device)
        mask = tokens.attention_mask
        states = self.encoder(tokens.input_ids, attention_mask=mask).last_hidden_state
        return {self.states: states.to(dtype), self.mask: mask}

    def _tokenize(self, prompts: Sequence[str]) -> Any:
        return self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )


@dataclass(frozen=True)
class TextConditioner:
    """All text encoders of a model."""

    branches: tuple[TextBranch, ...]

    def encode(self, prompts: Sequence[str], *, device: torch.device, dtype: torch.dtype) -> Conditions:
        """The text arguments of the transformer for these prompts, in order."""
        conditions: Conditions = {}
        for branch in self.branches:
            conditions |= branch.encode(prompts, device=device, dtype=dtype)
        return conditions

    def explain_cuts(self, prompt: str) -> list[str]:
        """A line for each encoder that does not read all of a prompt."""
        lines: list[str] = []
        for number, branch in enumerate(self.branches, start=1):
            cut = branch.find_cut(prompt)
            if cut is None:
                continue
            which = f"Text encoder {number} of {len(self.branches)}" if len(self.branches) > 1 else "The text encoder"
            left_out = cut.left_out if len(cut.left_out) <= _SHOWN else f"{cut.left_out[:_SHOWN]}..."
            lines.append(
                f'{which} reads {cut.num_tokens} tokens of the prompt, up to "...{cut.read[-_SHOWN:]}"; '
                f'it leaves out "{left_out}"'
            )
        return lines
