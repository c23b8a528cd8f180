"""A text encoder that is trained together with the transformer, as one module that takes captions as tokens.

Axes: B captions, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from easyanimate_dit.sampling.text import Conditions, TextBranch, TextConditioner


@dataclass(frozen=True)
class TokenConditioner:
    """Captions to the arguments of `CaptionedTransformer`; replaces the `TextConditioner`.

    Args:
        trained: The branch whose encoder is trained; it only tokenizes here.
        others: The other text encoders.
    """

    trained: TextBranch
    others: TextConditioner

    def encode(self, prompts: Sequence[str], *, device: torch.device, dtype: torch.dtype) -> Conditions:
        """`caption_ids` and `caption_mask` [B, L], and the states of the other text encoders."""
        tokens = self.trained.tokenize(prompts).to(device)
        states = self.others.encode(prompts, device=device, dtype=dtype)
        return {"caption_ids": tokens.input_ids, "caption_mask": tokens.attention_mask, **states}


class CaptionedTransformer(nn.Module):
    """The transformer after the text encoder that is trained with it; engines see one module.

    The text encoder has no dropout, so that a step is the same in every process and every run.

    Args:
        transformer: The transformer.
        branch: The branch with the text encoder.
    """

    def __init__(self, transformer: nn.Module, branch: TextBranch) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = branch.encoder
        self._states, self._mask = branch.states, branch.mask

    def forward(
        self, latents: Tensor, timesteps: Tensor, *, caption_ids: Tensor, caption_mask: Tensor, **arguments: Any
    ) -> Any:
        """The transformer's prediction with the states of these tokens; further arguments are passed on."""
        states = self.text_encoder(caption_ids, attention_mask=caption_mask).last_hidden_state
        text = {self._states: states.to(latents.dtype), self._mask: caption_mask}
        return self.transformer(latents, timesteps, **text, **arguments)
