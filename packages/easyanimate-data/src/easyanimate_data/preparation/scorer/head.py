"""Loads the small networks that turn an image's vector into an aesthetic score, and fetches the published ones.

Both are chains of linear layers D-1024-128-64-16-1 with nothing between them but dropout, which does not act in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from easyanimate_core.errors import WeightsError

from easyanimate_data.preparation.network import loading

if TYPE_CHECKING:
    import torch

_WIDTHS = (1024, 128, 64, 16, 1)


@dataclass(frozen=True)
class PublishedHead:
    """A head that its authors offer for download.

    Args:
        name: Of the project, for error texts.
        url: Of the file, at a fixed revision.
        layers: Names of the linear layers in it, first to last.
        sha256: Of the file; empty where it is not known.
    """

    name: str
    url: str
    layers: tuple[str, ...]
    sha256: str = ""


SIGLIP_HEAD = PublishedHead(
    name="aesthetic-predictor-v2-5",
    url=(
        "https://github.com/discus0434/aesthetic-predictor-v2-5/raw/3125a9e1f275092432ffc336f2908eda812c373c"
        "/models/aesthetic_predictor_v2_5.pth"
    ),
    layers=tuple(f"scoring_head.{index}" for index in (0, 2, 4, 6, 8)),
)
LAION_HEAD = PublishedHead(
    name="improved-aesthetic-predictor",
    url=(
        "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw"
        "/6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth"
    ),
    layers=tuple(f"layers.{index}" for index in (0, 2, 4, 6, 7)),
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)


def load_head(published: PublishedHead, path: str | Path | None, width: int) -> torch.nn.Sequential:
    """Load a head: float32 [T, D] to [T, 1].

    Args:
        published: Which one; its download is kept in PyTorch's cache.
        path: A copy of it on this machine; None fetches it.
        width: D, features of the model whose vectors it takes.

    Raises:
        WeightsError: When it cannot be fetched or read, or is not that head.
    """
    with loading(path or published.url, expected=f"a file with the head of {published.name}", extra="score"):
        import torch
        from easyanimate_torch.checkpoint import read_weights

        file = Path(path) if path else _fetch(published)
        weights = read_weights(file)
    sizes = list(zip((width, *_WIDTHS), _WIDTHS, strict=False))
    expected = {
        f"{layer}.{part}": shape
        for layer, (before, after) in zip(published.layers, sizes, strict=True)
        for part, shape in (("weight", (after, before)), ("bias", (after,)))
    }
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise WeightsError(
            f"This is not the head of {published.name} for vectors of {width} numbers.",
            received=f"{file}: {', '.join(f'{name} {list(shape)}' for name, shape in found.items()) or 'nothing'}",
            expected=", ".join(f"{name} {list(shape)}" for name, shape in expected.items()),
            fix=f"see {wrong[0][0]}; the published file is at {published.url}",
        )
    head = torch.nn.Sequential(*(torch.nn.Linear(before, after) for before, after in sizes))
    for layer, name in zip(head, published.layers, strict=True):
        layer.load_state_dict({part: weights[f"{name}.{part}"] for part in ("weight", "bias")})
    return head.float().eval().requires_grad_(requires_grad=False)


def _fetch(published: PublishedHead) -> Path:
    """Download the head unless PyTorch's cache has it."""
    from urllib.parse import unquote

    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / unquote(published.url.rpartition("/")[2])
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published.url, str(target), published.sha256 or None)
    return target
