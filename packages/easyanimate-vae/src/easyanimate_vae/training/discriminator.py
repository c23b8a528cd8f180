"""Discriminators for adversarial training, their hinge losses, and the adaptive weight of the adversarial loss.

Axes: B batch, C channels, T frames, H height, W width in pixels [-1, 1]; U, X, Y the same in patches.
"""

import math
from collections.abc import Callable

import torch
from easyanimate_core.errors import RequestError
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_INITIAL_DEVIATION = 0.02
"""Standard deviation of the initial kernels (Isola et al. 2017, section 6.2)."""
_MAX_WIDENING = 8
"""The deepest layers have at most this many times the channels of the first."""
_NORM_GROUPS = 32
_CEILING = 1e4
"""Largest ratio of gradients in `adaptive_weight`, as in the code of Esser et al. and of EasyAnimate."""
_SMALLEST_NORM = 1e-6
"""delta of Esser et al. 2021, equation 7."""


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017, arXiv 1611.07004): a logit for each overlapping patch, positive for "real".

    `num_levels` strided 4x4 convolutions, one more at stride 1, and one to a single channel, leaky ReLU between. With
    three levels a patch is 70 pixels wide. Across frames the convolutions see 3 frames as well, zeros before the first
    and after the last, and every strided one halves the frames, rounding up: a single frame is judged like a clip.
    Norms are group norms, because a batch of clips is often one clip.

    Args:
        in_channels: Channels of the pixels.
        width: Channels after the first convolution; they double with each level, up to eightfold.
        num_levels: Number of strided convolutions.
        across_frames: Whether it convolves over frames and so sees motion; otherwise it takes each frame by itself.
    """

    def __init__(
        self, in_channels: int = 3, *, width: int = 64, num_levels: int = 3, across_frames: bool = True
    ) -> None:
        super().__init__()
        self.across_frames = across_frames
        self.min_size = 3 * 2**num_levels
        widths = [width * min(2**level, _MAX_WIDENING) for level in range(num_levels + 1)]
        layers: list[nn.Module] = [self._convolution(in_channels, widths[0], stride=2), nn.LeakyReLU(0.2)]
        for level in range(1, num_levels + 1):
            layers += [
                # No bias, because the norm has one.
                self._convolution(widths[level - 1], widths[level], stride=2 if level < num_levels else 1, bias=False),
                nn.GroupNorm(math.gcd(_NORM_GROUPS, widths[level]), widths[level]),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, self._convolution(widths[-1], 1, stride=1))

    def forward(self, pixels: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B 1 U X Y"]:
        """The logits; U is T without `across_frames`.

        Raises:
            RequestError: For frames smaller than `min_size` pixels.
        """
        if min(pixels.shape[-2:]) < self.min_size:
            raise RequestError(
                "The frames are too small for the discriminator.",
                received=f"{pixels.shape[-2]} x {pixels.shape[-1]} pixels",
                expected=f"height and width of at least {self.min_size}",
                fix="train on larger clips, or lower discriminator.num_levels",
            )
        if self.across_frames:
            return self.layers(pixels)
        batch = pixels.shape[0]
        # Frames as clips of one frame, so that the norms see one frame as well.
        frames = pixels.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        return self.layers(frames).squeeze(2).unflatten(0, (batch, -1)).transpose(1, 2)

    def _convolution(self, in_channels: int, out_channels: int, *, stride: int, bias: bool = True) -> nn.Conv3d:
        frames, step, margin = (3, stride, 1) if self.across_frames else (1, 1, 0)
        conv = nn.Conv3d(
            in_channels,
            out_channels,
            (frames, 4, 4),
            stride=(step, stride, stride),
            padding=(margin, 1, 1),
            bias=bias,
        )
        nn.init.normal_(conv.weight, std=_INITIAL_DEVIATION)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        return conv


class DiscriminatorPair(nn.Module):
    """A discriminator of single frames and one of clips, with equal weights.

    EasyAnimate's are a PatchGAN with batch norms on frames, and on clips a residual network of 64, 128 and 256 channels
    with group norms and blurred downsampling.

    Args:
        width: As in `PatchDiscriminator`.
        num_levels: As in `PatchDiscriminator`.
    """

    def __init__(self, *, width: int = 64, num_levels: int = 3) -> None:
        super().__init__()
        self.frames = PatchDiscriminator(width=width, num_levels=num_levels, across_frames=False)
        self.clips = PatchDiscriminator(width=width, num_levels=num_levels)

    def forward(
        self, pixels: Float[Tensor, "B 3 T H W"]
    ) -> tuple[Float[Tensor, "B 1 T Z Q"], Float[Tensor, "B 1 U X Y"]]:
        """The logits of both."""
        return self.frames(pixels), self.clips(pixels)


def discriminator_loss(real: Float[Tensor, "..."], decoded: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Hinge loss of the discriminator (Lim and Ye 2017, arXiv 1705.02894): real over 1, decoded under -1.

    Args:
        real: Logits of pixels.
        decoded: Logits of detached reconstructions.
    """
    return 0.5 * (functional.relu(1.0 - real).mean() + functional.relu(1.0 + decoded).mean())


def generator_loss(decoded: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Hinge loss of the autoencoder: the mean logit of its reconstructions, negated."""
    return -decoded.mean()


def adversarial_factor(step: int, start: int) -> float:
    """Factor of both adversarial losses: 0 before step `start`, 1 from then on.

    The autoencoder first learns to reconstruct; until then, the discriminator would have an easy task.
    """
    return 0.0 if step < start else 1.0


def adaptive_weight(
    reconstruction_loss: Float[Tensor, ""],
    adversarial_loss: Float[Tensor, ""],
    last_layer: Tensor,
    *,
    weight: float = 0.5,
    average: Callable[[Tensor], Tensor] = lambda gradient: gradient,
) -> Float[Tensor, ""]:
    """Factor that gives the adversarial loss `weight` times the gradient of the reconstruction loss at the decoder.

    Esser et al. 2021 (arXiv 2012.09841), equation 7: ratio of the norms of both losses' gradients with respect to the
    last layer, at most 1e4. Both graphs stay for the backward pass; the result has no gradient.

    Args:
        reconstruction_loss: Pixel and perceptual loss, before weighting against other losses.
        adversarial_loss: `generator_loss`.
        last_layer: Weight of the decoder's last convolution, `model.decoder.conv_out.weight`.
        weight: EasyAnimate takes 0.5.
        average: The mean of a gradient over the processes that share a batch, so that all have the same factor.

    Raises:
        RequestError: When the last layer is not being trained, so that it has no gradients to compare.
    """
    if not last_layer.requires_grad:
        raise RequestError(
            "The adversarial loss needs gradients of the decoder, which is not trained.",
            fix="train the decoder, or set the weight of the adversarial loss to 0",
        )
    wanted, pulled = (
        average(torch.autograd.grad(loss, last_layer, retain_graph=True)[0].float()).norm()
        for loss in (reconstruction_loss, adversarial_loss)
    )
    return weight * (wanted / (pulled + _SMALLEST_NORM)).clamp(max=_CEILING).detach()
