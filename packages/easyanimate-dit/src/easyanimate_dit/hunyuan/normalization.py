"""Normalisation by the conditioning vector, of the V4 transformer.

Axes: B batch, N tokens, C inner width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from easyanimate_dit.normalization import LayerNorm


class ShiftedLayerNorm(nn.Module):
    """Layer norm followed by a shift that depends on the conditioning vector; no scale and no gate."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.norm = LayerNorm(dim, eps=1e-6)

    def forward(self, x: Float[Tensor, "B N C"], activated_temb: Float[Tensor, "B C"]) -> Float[Tensor, "B N C"]:
        """Normalise and shift; `activated_temb` is SiLU(conditioning vector)."""
        return self.norm(x) + self.linear(activated_temb)[:, None]


class ModulatedLayerNorm(nn.Module):
    """The last norm: without parameters of its own, scaled and shifted by the conditioning vector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)
        self.norm = LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Float[Tensor, "B N C"], activated_temb: Float[Tensor, "B C"]) -> Float[Tensor, "B N C"]:
        """Normalise, scale and shift; `activated_temb` is SiLU(conditioning vector)."""
        scale, shift = self.linear(activated_temb)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)
