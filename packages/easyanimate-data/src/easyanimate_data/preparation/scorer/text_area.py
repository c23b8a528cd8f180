"""Scores how much of a frame is text: the area of the boxes that EasyOCR's detector (CRAFT) finds.

Axes: T frames, H height, W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyanimate_data.preparation.network import loading, needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from easyanimate_data.frames import Frames

_DETECTOR_FILE = "craft_mlt_25k.pth"


def load(
    *, model_dir: str | Path | None = None, device: str | None = None, compat: bool = False
) -> Callable[[Frames], float]:
    """Share of the frame that is text, from 0; overlapping boxes count twice, so that it may exceed 1.

    Args:
        model_dir: Folder with craft_mlt_25k.pth, which is fetched when missing; None takes EasyOCR's own folder.
        device: Name of the device; None takes the best there is.
        compat: As the original: slanted boxes count nothing.

    Returns:
        A function from frames, uint8 [T, H, W, 3], to the mean over them.
    """
    reader = _load_detector(Path(model_dir) if model_dir else None, device)

    def score(frames: Frames) -> float:
        shares = [_share(reader, frame, slanted=not compat) for frame in frames]
        return round(sum(shares) / len(shares), 5)

    return score


def box_area(upright: Iterable[Sequence[float]], slanted: Iterable[Sequence[Sequence[float]]] = ()) -> float:
    """Area of text boxes in pixels.

    Args:
        upright: Boxes as EasyOCR gives them: left, right, top, bottom; inside out ones count nothing.
        slanted: Corners (x, y) of further boxes, in their order around the box.
    """
    area = sum(max(right - left, 0) * max(bottom - top, 0) for left, right, top, bottom in upright)
    return float(area) + sum(map(_polygon_area, slanted))


def _polygon_area(corners: Sequence[Sequence[float]]) -> float:
    """By the shoelace formula."""
    following = [*corners[1:], corners[0]]
    doubled = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(corners, following, strict=True))
    return abs(float(doubled)) / 2


def _share(reader: Any, frame: Frames, *, slanted: bool) -> float:
    upright_boxes, slanted_boxes = reader.detect(frame)
    return box_area(upright_boxes[0], slanted_boxes[0] if slanted else ()) / (frame.shape[0] * frame.shape[1])


def _load_detector(folder: Path | None, device: str | None) -> Any:
    """EasyOCR's reader with its detector alone; the weights are read without running code that they may hold."""
    with needs_extra("score"):
        import easyocr
        import torch
        from easyanimate_torch.checkpoint import read_weights
        from easyanimate_torch.device import choose_device
        from easyocr.craft import CRAFT
        from easyocr.detection import get_textbox
        from easyocr.easyocr import MODULE_PATH

    target = choose_device(device)
    folder = folder or Path(MODULE_PATH) / "model"
    path = folder / _DETECTOR_FILE
    with loading(path, expected=f"a folder with EasyOCR's detector {_DETECTOR_FILE}", extra="score"):
        reader: Any = easyocr.Reader(
            ["en", "ch_sim"],
            gpu=str(target),  # pyright: ignore[reportArgumentType] (EasyOCR takes a device as well)
            model_storage_directory=str(folder),
            user_network_directory=str(folder),
            detector=False,
            recognizer=False,
            verbose=False,
        )
        if not path.is_file():
            _fetch(reader, folder)
        with torch.device("meta"):  # its random weights would take seconds
            network = CRAFT()
        weights = {name.removeprefix("module."): value for name, value in read_weights(path).items()}
        network.load_state_dict(weights, assign=True)
    reader.detector = network.to(target).eval().requires_grad_(requires_grad=False)
    reader.get_textbox = get_textbox
    return reader


def _fetch(reader: Any, folder: Path) -> None:
    """Let EasyOCR download its detector and check it; one process at a time, for all use one temporary file."""
    from filelock import FileLock

    with FileLock(folder / f"{_DETECTOR_FILE}.lock"):
        try:
            reader.getDetectorPath("craft")
        except AssertionError as error:  # its check of the sum
            raise ValueError(error) from error
