"""Adversarial training: the loss of the VAE, and that of the discriminator in the same step.

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
    """Both adversarial losses of a step; the discriminator's follows the VAE's, on the same reconstructions.

    Args:
        config: Weight and first step of the adversarial loss.
        discriminator: The discriminator as it is, before accelerate wraps it.
        last_layer: Weight of the decoder's last convolution.
    """

    def __init__(self, config: LossConfig, discriminator: DiscriminatorPair, last_layer: nn.Parameter) -> None:
        self._config, self._discriminator, self._last_layer = config, discriminator, last_layer
        self._pairs: tuple[Tensor, Tensor] | None = None

    def is_active(self, step: int) -> bool:
        """Whether the adversarial loss is used in a step."""
        return adversarial_factor(step, self._config.adversarial_start) > 0

    def compute_generator_loss(
        self,
        pixels: Float[Tensor, "B 3 T H W"],
        decoded: Float[Tensor, "B 3 T H W"],
        *,
        reconstruction_loss: Float[Tensor, ""],
        weight: float,
    ) -> tuple[Float[Tensor, ""], Mapping[str, Tensor]]:
        """The VAE's adversarial loss, weighted, and numbers for the log.

        Args:
            pixels: The clips.
            decoded: Their reconstructions.
            reconstruction_loss: The other losses of the reconstructions.
            weight: Weight of this process in the mean over all; see `BatchShard`.
        """
        self._pairs = pixels, decoded.detach()
        # The discriminator is constant here: its parameters get no gradients, and DDP waits for none.
        parameters = {name: parameter.detach() for name, parameter in self._discriminator.named_parameters()}
        loss = torch.stack(
            [generator_loss(logits.float()) for logits in functional_call(self._discriminator, parameters, decoded)]
        )

        def average(gradient: Tensor) -> Tensor:
            # Processes add up raw memory, which may be channels last in one of them only.
            mean: Any = reduce((gradient * weight).contiguous(), "mean")
            return mean

        factor = adaptive_weight(
            reconstruction_loss, loss.sum(), self._last_layer, weight=self._config.adversarial, average=average
        )
        return factor * loss.sum(), {"adversarial": loss.detach().sum(), "adversarial_weight": factor}

    def compute_discriminator_loss(self, discriminator: nn.Module, step: int) -> Mapping[str, Tensor]:
        """The discriminator's loss on the clips of the VAE's, and the mean logits of real and of decoded clips.

        Args:
            discriminator: The discriminator as accelerate wraps it.
            step: Optimiser steps taken before.
        """
        if not self.is_active(step):
            return {"loss": 0.0 * torch.stack([parameter.sum() for parameter in discriminator.parameters()]).sum()}
        assert self._pairs is not None  # noqa: S101 (the VAE's loss comes first)
        # In one pass, as engines expect; the norms are of single clips, so real and decoded ones do not mix.
        pairs = [logits.float().chunk(2) for logits in discriminator(torch.cat(self._pairs))]
        self._pairs = None
        return {
            "loss": torch.stack([discriminator_loss(real, decoded) for real, decoded in pairs]).sum(),
            "real": torch.stack([real.detach().mean() for real, _ in pairs]).mean(),
            "decoded": torch.stack([decoded.detach().mean() for _, decoded in pairs]).mean(),
        }
