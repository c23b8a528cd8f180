"""A plain video VAE: 3D convolutions, twice smaller in time and four times in space.

Axes: B clips, C channels, T frames, H height, W width in pixels in [-1, 1]; t, h, w the same in latents.
"""

from collections.abc import Iterator

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

STRIDE = (2, 4, 4)
"""Frames, rows and columns of pixels for one of latents."""


class Residual(nn.Module):
    """Two convolutions over time and space beside the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv3d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, t, h, w] in and out."""
        return x + self.layers(x)


class PlainVae(ModelMixin, ConfigMixin):
    """Codes clips [B, 3, T, H, W] to a distribution of latents [B, C, T / 2, H / 4, W / 4], and back.

    The pipeline reads `latent_channels` and `scaling_factor` from the configuration.
    """

    @register_to_config
    def __init__(
        self, latent_channels: int = 8, width: int = 32, num_blocks: int = 2, scaling_factor: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv3d(3, width, STRIDE, STRIDE),
            *(Residual(width) for _ in range(num_blocks)),
            nn.Conv3d(width, 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv3d(latent_channels, width, 1),
            *(Residual(width) for _ in range(num_blocks)),
            nn.ConvTranspose3d(width, 3, STRIDE, STRIDE),
        )
        # A narrow posterior at first: the noise of a wide one would drown the colours.
        self.encoder[-1].bias.data[latent_channels:] = -6.0

    @apply_forward_hook  # so that offloading knows that the network is used
    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """The distribution of the latents of clips."""
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(self.encoder(x)))

    @apply_forward_hook
    def decode_chunks(self, z: Tensor) -> Iterator[Tensor]:
        """The clips of latents, in one piece: a VAE that codes chunk by chunk would yield each as it is done."""
        yield self.decoder(z)
