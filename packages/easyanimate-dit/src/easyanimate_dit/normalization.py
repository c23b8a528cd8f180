"""The layer norm of both transformers."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm(nn.LayerNorm):
    """Layer norm whose parameters follow the dtype of the input.

    The kernels of `torch` accumulate 16-bit inputs in float32, so that no float32 copy of the input is needed. The cast
    of the parameters does nothing unless layerwise casting keeps them in a dtype of their own.
    """

    def forward(self, input: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:  # noqa: A002
        """Normalise the last axis."""
        weight = None if self.weight is None else self.weight.to(input.dtype)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.layer_norm(input, self.normalized_shape, weight, bias, self.eps)
