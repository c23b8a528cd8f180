"""The perceptual distance of two clips: LPIPS (Zhang et al. 2018, arXiv 1801.03924), frame by frame.

The distance is that of the `lpips` package (extra `lpips`): VGG16 features of both pictures, scaled to unit length at
each position, and their squared differences weighted by how much people notice them.

Axes: B batch, T frames, H height, W width in pixels [-1, 1].
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from easyanimate_core.errors import RequestError, WeightsError
from easyanimate_torch.checkpoint import check_shapes, list_shapes, read_weights
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

VGG_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
"""VGG16 as torchvision trained it on ImageNet, which LPIPS is calibrated for (528 MB; `features.*`, 59 MB, suffice)."""

_MIN_SIZE = 16
"""VGG halves its input four times."""


class PerceptualDistance(nn.Module):
    """LPIPS version 0.1 on VGG16: 0 for equal pictures, about 1 for unlike ones; frozen.

    Args:
        vgg: File of VGG16's weights with torchvision's keys. None takes it from the cache of `torch.hub`, and downloads
            it where it is not there.
        slice_size: Frames that are compared together. In training, those of a clip longer than this are computed
            again in the backward pass, so that memory does not grow with the clip (about 0.1 GB a frame of 256 x 256).

    Raises:
        RequestError: When `lpips` is not installed.
        WeightsError: When VGG's weights cannot be had or are others.
    """

    def __init__(self, vgg: Path | str | None = None, *, slice_size: int = 8) -> None:
        super().__init__()
        self.slice_size = slice_size
        self.network = _build_network()
        _load_trunk(self.network.net, *(_find_vgg() if vgg is None else (read_weights(Path(vgg)), Path(vgg))))
        self.requires_grad_(requires_grad=False).eval()

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Stay in evaluation mode: the network itself is not trained."""
        del mode
        return super().train(mode=False)

    def forward(self, pixels: Float[Tensor, "B 3 T H W"], decoded: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B T"]:
        """The distance of each frame; gradients flow to `decoded` (and to `pixels`, if it wants them).

        Raises:
            RequestError: For frames under 16 pixels.
        """
        if min(pixels.shape[-2:]) < _MIN_SIZE:
            raise RequestError(
                "The frames are too small for the perceptual distance.",
                received=f"{pixels.shape[-2]} x {pixels.shape[-1]} pixels",
                expected=f"height and width of at least {_MIN_SIZE}",
                fix="train on larger clips, or set the weight of the perceptual loss to 0",
            )
        batch = pixels.shape[0]
        pairs = zip(_split(pixels, self.slice_size), _split(decoded, self.slice_size), strict=True)
        again = torch.is_grad_enabled() and batch * pixels.shape[2] > self.slice_size
        distances = [
            checkpoint(self.network, *pair, use_reentrant=False) if again else self.network(*pair) for pair in pairs
        ]
        return torch.cat(distances).view(batch, -1)


def _split(clips: Float[Tensor, "B 3 T H W"], size: int) -> tuple[Float[Tensor, "part 3 H W"], ...]:
    """The frames of all clips, clip after clip, a few at a time."""
    return clips.transpose(1, 2).flatten(0, 1).split(size)


def _build_network() -> Any:
    """LPIPS with its calibration, and VGG's layers still random."""
    try:
        import lpips
    except ImportError as error:
        raise RequestError(
            "The perceptual loss needs a package that is not installed.",
            received=error,
            expected="the package lpips",
            fix="pip install 'easyanimate-vae[lpips]', or set the weight of the perceptual loss to 0",
        ) from error
    with warnings.catch_warnings():
        # lpips calls torchvision by the arguments of old.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        return lpips.LPIPS(net="vgg", version="0.1", pnet_rand=True, verbose=False)


def _find_vgg() -> tuple[dict[str, Tensor], Path]:
    """VGG's weights from the cache, or from the net into the cache."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / VGG_URL.rpartition("/")[2]
    if cached.is_file():
        return read_weights(cached), cached
    try:
        tensors = torch.hub.load_state_dict_from_url(VGG_URL, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            "The weights of VGG16, which the perceptual loss needs, cannot be downloaded.",
            received=error,
            expected=f"{VGG_URL} as {cached}",
            fix="download that file on another machine and put it there, or give its path",
        ) from error
    return tensors, cached


def _load_trunk(trunk: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put torchvision's `features.N.*` into LPIPS's trunk, which has the same layers in five slices."""
    own = trunk.state_dict()
    features = {f"features.{name.partition('.')[2]}": name for name in own}
    check_shapes(
        {feature: tuple(own[name].shape) for feature, name in features.items()},
        list_shapes(tensors),
        source=str(path),
        known_extras=[r"^classifier\."],
        fix=f"take {VGG_URL}",
    )
    trunk.load_state_dict({name: tensors[feature] for feature, name in features.items()})
