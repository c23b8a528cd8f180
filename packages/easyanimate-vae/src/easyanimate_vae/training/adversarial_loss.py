"""The two sides of adversarial training: the VAE learns to deceive the discriminator, which learns to judge.

Axes: B clips, T frames, H height, W width in pixels [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import reduce
from torch.func import functional_call

from easyanimate_vae.training.discriminator import (
    adaptive_weight,
    adversarial_factor,
    discriminator_loss,
    generator_loss,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float
    from torch import Tensor, nn

    from easyanimate_vae.training.config import LossConfig
    from easyanimate_vae.training.discriminator import DiscriminatorPair


class AdversarialLoss:
    """Keeps the VAE's reconstructions of a step until the discriminator has its turn.

    Args:
        config: Weight and start.
        critics: The discriminator, without what accelerate wraps around it.
        last_layer: Weight of the decoder's last convolution.
    """

    def __init__(self, config: LossConfig, critics: DiscriminatorPair, last_layer: nn.Parameter) -> None:
        self._config, self._critics, self._last_layer = config, critics, last_layer
        self._seen: tuple[Tensor, Tensor] | None = None

    def is_awake(self, step: int) -> bool:
        """Whether it counts in this step."""
        return adversarial_factor(step, self._config.adversarial_start) > 0

    def deceive(
        self,
        pixels: Float[Tensor, "B 3 T H W"],
        decoded: Float[Tensor, "B 3 T H W"],
        *,
        visible: Float[Tensor, ""],
        share: float,
    ) -> tuple[Float[Tensor, ""], Mapping[str, Tensor]]:
        """The VAE's turn: the weighted adversarial loss, and numbers for the log.

        Args:
            pixels: The clips.
            decoded: Their reconstructions.
            visible: The rest of their loss.
            share: How much this process counts in the mean of all; see `BatchShard`.
        """
        self._seen = pixels, decoded.detach()
        # The weights are constants here: they get no gradients, and DDP waits for none.
        weights = {name: parameter.detach() for name, parameter in self._critics.named_parameters()}
        loss = torch.stack(
            [generator_loss(logits.float()) for logits in functional_call(self._critics, weights, decoded)]
        )

        def average(gradient: Tensor) -> Tensor:
            # What is added up is memory, which is channels last in one process and not in another.
            mean: Any = reduce((gradient * share).contiguous(), "mean")
            return mean

        factor = adaptive_weight(
            visible, loss.sum(), self._last_layer, weight=self._config.adversarial, average=average
        )
        return factor * loss.sum(), {"adversarial": loss.detach().sum(), "adversarial_weight": factor}

    def judge(self, critics: nn.Module, step: int) -> Mapping[str, Tensor]:
        """The discriminator's turn: its loss, and the mean logits of what is real and of what is decoded."""
        if not self.is_awake(step):
            return {"loss": 0.0 * torch.stack([parameter.sum() for parameter in critics.parameters()]).sum()}
        assert self._seen is not None  # noqa: S101 (the VAE comes first)
        # In one pass, as engines expect between two steps; norms are of single clips, so nothing is mixed.
        pairs = [logits.float().chunk(2) for logits in critics(torch.cat(self._seen))]
        self._seen = None
        return {
            "loss": torch.stack([discriminator_loss(real, decoded) for real, decoded in pairs]).sum(),
            "real": torch.stack([real.detach().mean() for real, _ in pairs]).mean(),
            "decoded": torch.stack([decoded.detach().mean() for _, decoded in pairs]).mean(),
        }
