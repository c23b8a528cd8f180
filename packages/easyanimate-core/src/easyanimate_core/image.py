"""Reads and writes images as uint8 arrays, as they are meant: upright, in sRGB, on black.

Axes: H height, W width, 3 red, green, blue.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# Pillow and NumPy leave some of their types open.

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from easyanimate_core.errors import MediaError
from easyanimate_core.media import reading, writing
from easyanimate_core.picture import Turn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    Pixels = npt.NDArray[np.uint8]

MAX_IMAGE_PIXELS = 2**28
"""The most pixels of an image that is read; phones take 200 million."""

KEPT_PIXELS = 89_478_485
"""Larger images are shrunk by a whole factor as they are read, to at most so many pixels (where Pillow warns)."""

MANIFEST_KEY = "easyanimate"
"""Name of the PNG text chunk; an mp4 file has the manifest as its comment, which other tools keep on copying."""

_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_HEIF_BRANDS = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"))
_BRAND_END = 12
_HALF = 128
_SIXTEEN_BITS = 0xFFFF
_SAME = 1
"""Levels by which the colours of a profile may differ from sRGB's and still be sRGB: rounding."""

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""Modes of Pillow by a profile's own word for its colours."""

_pillow_limit = Lock()


class Layers(NamedTuple):
    """An image before it is laid on black.

    Args:
        colour: uint8 [H, W, 3].
        alpha: uint8 [H, W], 255 is opaque; None where all is.
    """

    colour: Pixels
    alpha: Pixels | None

    def on_black(self) -> Pixels:
        """What is seen: uint8 [H, W, 3]."""
        import numpy as np
        from PIL import Image

        if self.alpha is None:
            return self.colour
        layers = Image.fromarray(np.dstack([self.colour, self.alpha]))
        ground = Image.new("RGBA", layers.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(ground, layers).convert("RGB"))


def read_image(path: Path) -> Pixels:
    """Read an image as uint8 [H, W, 3]: upright by its EXIF orientation, in sRGB by its colour profile.

    Transparent parts are black. Of 16 bits the upper 8 are taken; floating point numbers are black at 0 and white at 1.
    Of a picture that moves it is the first frame. One of more than `KEPT_PIXELS` is shrunk by a whole factor.

    Raises:
        MediaError: When the file is missing, is no image or has more than `MAX_IMAGE_PIXELS`.
    """
    return read_layers(path).on_black()


def read_layers(path: Path) -> Layers:
    """Read an image as `read_image` does, but with what is transparent apart."""
    from PIL import UnidentifiedImageError

    with reading(path):
        try:
            with open_image(path) as image:
                return _to_layers(image)
        except UnidentifiedImageError:
            return Layers(_read_by_ffmpeg(path), None)


def read_image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, upright, from the beginning of the file where that is enough.

    Raises:
        MediaError: When the file is missing, or is no image.
    """
    from PIL import UnidentifiedImageError

    with reading(path):
        try:
            with open_image(path) as image:
                turned = find_turn(image).exchange
                return (image.width, image.height) if turned else (image.height, image.width)
        except UnidentifiedImageError:
            return _read_by_ffmpeg(path).shape[:2]


def read_mask_image(path: Path) -> Pixels:
    """Read an image as a mask, uint8 [H, W]: 255 where it is bright (at least half), else 0.

    Where an image has transparent parts, these are 255, too, as painting programs rub out what is to be replaced. But
    if all that is painted on it is bright, the paint is 255 and what is transparent is 0.
    """
    import numpy as np

    layers = read_layers(path)
    bright = layers.on_black().max(axis=-1) >= _HALF
    if layers.alpha is not None:
        solid = layers.alpha >= _HALF
        painted = layers.colour[solid].max(axis=-1) >= _HALF
        if len(painted) and not painted.all():
            bright |= ~solid
    return bright * np.uint8(255)


def write_image(path: Path, frame: Pixels, *, manifest: Mapping[str, Any] | None = None) -> Path:
    """Write uint8 [H, W, 3] as PNG, with the manifest in a text chunk.

    Raises:
        MediaError: When the name does not end in .png or the file cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if path.suffix.lower() != ".png":
        raise MediaError("An image is written as PNG.", received=path.name, expected="a name that ends in .png")
    info = PngInfo()
    if manifest is not None:
        info.add_text(MANIFEST_KEY, json.dumps(manifest))
    with writing(path) as part:
        Image.fromarray(frame).save(part, format="PNG", pnginfo=info)
    return path


@contextmanager
def open_image(path: Path) -> Generator[Image.Image]:
    """Open an image with Pillow, up to this module's limit and with text chunks of any size.

    Raises:
        MediaError: When it is too large.
        OSError, ValueError, SyntaxError: What Pillow raises.
    """
    try:
        image = _open(path)
    except ValueError:
        # Pillow gives up on a PNG whose text is long; others' texts are not needed.
        image = _open(io.BytesIO(_drop_texts(path)))
    with image:
        if image.width * image.height > MAX_IMAGE_PIXELS:
            raise MediaError(
                "The image is too large.",
                received=f"{path}: {image.width}x{image.height}, {image.width * image.height:,} pixels",
                expected=f"at most {MAX_IMAGE_PIXELS:,} pixels",
                fix="make it smaller",
            )
        yield image


def read_text(path: Path) -> str | None:
    """The text that `write_image` embedded, or None."""
    with reading(path), open_image(path) as image:
        text: object = image.info.get(MANIFEST_KEY)
    return text if isinstance(text, str) else None


def find_turn(image: Image.Image) -> Turn:
    """How an image becomes upright; what is no EXIF says nothing."""
    import struct

    try:
        return Turn.from_exif(image.getexif().get(_ORIENTATION, 1))
    except (ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return Turn()


def _open(file: Path | io.BytesIO) -> Image.Image:
    """`Image.open`, whose limit is lifted meanwhile: only the header is read."""
    from PIL import Image

    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _drop_texts(path: Path) -> bytes:
    """A PNG without its texts, but for the one of `write_image`.

    Raises:
        ValueError: When it is no PNG.
    """
    data = path.read_bytes()
    if not data.startswith(_PNG):
        raise ValueError("the image is damaged")
    return _PNG + b"".join(
        chunk
        for kind, chunk in _list_chunks(data)
        if kind not in _TEXT_CHUNKS or chunk[8:].startswith(MANIFEST_KEY.encode() + b"\0")
    )


def _list_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole bytes of each chunk of a PNG."""
    at = len(_PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def _to_layers(image: Image.Image) -> Layers:
    import numpy as np

    turn = find_turn(image)
    profile = image.info.get("icc_profile")
    image = _shrink(image)
    alpha = None
    if image.mode == "F":
        colour = _spread(_from_floats(np.asarray(image)))
    elif image.mode.startswith("I"):
        colour = _spread(_from_integers(np.asarray(image)))
    elif image.has_transparency_data:
        layers = image.convert("RGBA")
        alpha = np.array(layers.getchannel("A"))
        colour = np.array(_to_srgb(layers.convert("RGB"), profile))
    else:
        colour = np.array(_to_srgb(image, profile))
    return Layers(
        np.ascontiguousarray(turn.apply(colour)), None if alpha is None else np.ascontiguousarray(turn.apply(alpha))
    )


def _shrink(image: Image.Image) -> Image.Image:
    """An image of at most `KEPT_PIXELS`."""
    factor = 1
    while image.width * image.height // factor**2 > KEPT_PIXELS:
        factor += 1
    if factor == 1:
        return image
    wanted = image.width // factor, image.height // factor
    image.draft(None, wanted)  # a JPEG is decoded at a smaller size
    rest = max(image.width // wanted[0], 1)
    return image.reduce(rest) if rest > 1 else image


def _from_integers(values: Any) -> Pixels:
    """16-bit grey; Pillow would cut everything above 255 off. What goes beyond 16 bits has 32."""
    import numpy as np

    values = values.astype(np.int64)
    bits = 8 if values.max(initial=0) <= _SIXTEEN_BITS else 24
    return np.clip(values >> bits, 0, 255).astype(np.uint8)


def _from_floats(values: Any) -> Pixels:
    import numpy as np

    if not np.isfinite(values).all() or np.median(values) > 1:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        raise MediaError(
            "An image of floating point numbers has others than from black 0 to white 1.",
            received=f"{low:g} to {high:g}",
            expected="0 to 1",
            fix="scale it, or save it with 8 or 16 bits",
        )
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def _spread(grey: Pixels) -> Pixels:
    import numpy as np

    return np.repeat(grey[..., None], 3, axis=-1)


def _to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """RGB in sRGB; a profile that is broken or for other colours than the image has counts for nothing."""
    from PIL import ImageCms

    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif not profile:
        return image.convert("RGB")
    else:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        except (OSError, ImageCms.PyCMSError, TypeError):
            return image.convert("RGB")
    mode = "LAB" if image.mode == "LAB" else _PROFILE_MODES.get(cast("Any", source.profile).xcolor_space.strip())
    if mode == "RGB" and image.mode != "CMYK":
        image = image.convert("RGB")
    if mode is None or image.mode != mode:
        return image.convert("RGB")
    try:
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if mode == "RGB" and _is_identity(transform):
            return image
        shown = ImageCms.applyTransform(image, transform)
    except ImageCms.PyCMSError:
        return image.convert("RGB")
    return image.convert("RGB") if shown is None else shown


def _is_identity(transform: Any) -> bool:
    """Whether a transform leaves colours as they are."""
    import numpy as np
    from PIL import Image, ImageCms

    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    shown = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return shown is not None and bool(np.abs(np.asarray(shown).astype(int) - colours).max() <= _SAME)


def _read_by_ffmpeg(path: Path) -> Pixels:
    """What Pillow does not know, such as HEIC.

    Raises:
        MediaError: When it is a video.
    """
    from easyanimate_core.stream import open_video, read_first_frame

    with path.open("rb") as file:
        brand = file.read(_BRAND_END)
    with open_video(path) as container:
        still = container.format.name.endswith(("_pipe", "image2")) or brand[4:] in _HEIF_BRANDS
        tiles = len(container.streams.video)
    if not still:
        raise MediaError("The file is no image.", received=path, expected="an image, such as PNG, JPEG or HEIC")
    if tiles > 1:
        raise MediaError(
            "The HEIC picture is stored in tiles, which cannot be put together here.",
            received=f"{path}: {tiles} tiles",
            expected="PNG, JPEG, WebP, AVIF, TIFF, or HEIC of one piece",
            fix="export it as JPEG or PNG",
        )
    return read_first_frame(path)
