"""What a LoRA file changes in one module: the kinds of changes, and the matrix that each of them adds.

Axes: out and in are the rows and columns of a module's weight; a 1 x 1 convolution counts as a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class LoraLayer:
    """One low-rank change: weight += multiplier * scale * up @ down.

    With DoRA (Liu et al., arXiv 2402.09353, equation 5), each row of the sum is then brought to its magnitude.
    """

    down: Tensor
    """(rank, in), with trailing 1 x 1 for a convolution."""
    up: Tensor
    """(out, rank), likewise."""
    alpha: float | None
    """None: the file has none, and the scale is 1."""
    magnitude: Tensor | None = None
    """DoRA: the norm of each row of the changed weight, (out), or (1, out, 1, 1) for a convolution."""
    bias: Tensor | None = None
    """(out): what is added to the module's bias at multiplier 1."""

    @property
    def rank(self) -> int:
        """Number of rows of `down`."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Alpha / rank, or 1 without alpha (the original's rule)."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.up.shape[0], self.down.shape[1]

    @property
    def kind(self) -> str:
        """What it is called."""
        return "LoRA" if self.magnitude is None else "DoRA"

    def multiply(self, device: torch.device) -> Tensor:
        """The change (out, in) at scale 1, in float32."""
        up, down = (x.flatten(1).to(device, torch.float32) for x in (self.up, self.down))
        return up @ down

    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        if self.magnitude is not None or self.bias is not None:
            return False
        return self.scale == 0 or not (self.up.any() and self.down.any())


@dataclass(frozen=True)
class ProductLayer:
    """One change that is no product of two matrices: weight += multiplier * scale * the product of its factors.

    - "LoHa": (w1_a @ w1_b) * (w2_a @ w2_b), element by element (FedPara, Hyeon-Woo et al., arXiv 2108.06098).
    - "LoKr": the Kronecker product of w1 and w2, each of which may be the product of w_a and w_b (LyCORIS, Yeh et al.,
      arXiv 2309.14859).
    - "full": a whole difference of the weight; without factors of the bias alone.
    """

    kind: str
    factors: Mapping[str, Tensor]
    """By their names without the kind: "w1_a", "w1", ..., "full"; (rows, columns), with trailing 1 x 1."""
    scale: float = 1.0
    magnitude: Tensor | None = None
    """As that of `LoraLayer`."""
    bias: Tensor | None = None
    """(out): what is added to the module's bias at multiplier 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in); of a layer that has the bias alone, in is 0."""
        if self.kind == "LoHa":
            return self.factors["w1_a"].shape[0], self.factors["w1_b"].shape[1]
        if self.kind == "LoKr":
            (out1, in1), (out2, in2) = (self._shape_of(name) for name in ("w1", "w2"))
            return out1 * out2, in1 * in2
        if "full" in self.factors:
            return self.factors["full"].shape[0], self.factors["full"].shape[1]
        return (0 if self.bias is None else len(self.bias)), 0

    def multiply(self, device: torch.device) -> Tensor:
        """The change (out, in) at scale 1, in float32."""
        factors = {name: value.flatten(1).to(device, torch.float32) for name, value in self.factors.items()}

        def join(name: str) -> Tensor:
            return factors[name] if name in factors else factors[f"{name}_a"] @ factors[f"{name}_b"]

        if self.kind == "LoHa":
            return join("w1") * join("w2")
        return torch.kron(join("w1"), join("w2")) if self.kind == "LoKr" else factors["full"]

    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        if self.magnitude is not None or self.bias is not None:
            return False
        return self.scale == 0 or not all(value.any() for value in self.factors.values())

    def _shape_of(self, name: str) -> tuple[int, int]:
        if name in self.factors:
            return self.factors[name].shape[0], self.factors[name].shape[1]
        return self.factors[f"{name}_a"].shape[0], self.factors[f"{name}_b"].shape[1]


Layer = LoraLayer | ProductLayer
