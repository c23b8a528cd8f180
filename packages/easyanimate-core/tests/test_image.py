"""Images that are not to be shown as they are stored."""

import base64
import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from easyanimate_core import MediaError, Video, picture
from easyanimate_core import image as module
from easyanimate_core.image import read_image, read_image_size, read_mask_image, write_image
from easyanimate_core.video import is_moving, read_embedded, read_mask, read_video, write_video
from PIL import Image, ImageCms, PngImagePlugin


def make_profile(primaries):
    """The sRGB profile with other primaries, XYZ at D50."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", data[128:132])[0]):
        tag, offset, _ = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        if tag in primaries:
            data[offset + 8 : offset + 20] = struct.pack(">3i", *(round(value * 65536) for value in primaries[tag]))
    return bytes(data)


P3 = make_profile(
    {b"rXYZ": (0.51512, 0.24120, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189), b"bXYZ": (0.15710, 0.06657, 0.78407)}
)


def test_colours_of_a_profile_become_srgb(tmp_path):
    true = np.zeros((8, 8, 3), np.uint8)
    true[:4], true[4:] = (200, 60, 50), (30, 160, 70)
    target = ImageCms.ImageCmsProfile(io.BytesIO(P3))
    image = ImageCms.profileToProfile(Image.fromarray(true), ImageCms.createProfile("sRGB"), target)
    assert image is not None
    assert np.abs(np.asarray(image).astype(int) - true).max() > 10
    image.save(tmp_path / "p3.png", icc_profile=P3)
    assert np.abs(read_image(tmp_path / "p3.png").astype(int) - true).max() <= 2
    clear = image.convert("RGBA")
    clear.putpixel((0, 0), (200, 60, 50, 0))
    clear.save(tmp_path / "clear.png", icc_profile=P3)
    read = read_image(tmp_path / "clear.png")
    assert read[0, 0].tolist() == [0, 0, 0]
    assert np.abs(read[5].astype(int) - true[5]).max() <= 2


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"no profile"])
def test_srgb_and_broken_profiles_change_nothing(tmp_path, profile):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_floating_point(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5], [1.0, 1.5]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[..., 0].tolist() == [[0, 128], [255, 255]]
    for wrong in (np.full((2, 2), 200.0), np.array([[0.0, np.nan]])):
        Image.fromarray(wrong.astype(np.float32)).save(tmp_path / "b.tif")
        with pytest.raises(MediaError, match="floating point"):
            read_image(tmp_path / "b.tif")


HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
    "bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACBt"
    "ZGF0AAAAFCgBrxOA5shoU//7mH+UYaByghOA"
)
"""A picture of 96 by 64 pixels in one piece."""


def test_heic(tmp_path):
    (tmp_path / "photo.heic").write_bytes(HEIC)
    assert read_image(tmp_path / "photo.heic").shape == (64, 96, 3)
    assert read_image_size(tmp_path / "photo.heic") == (64, 96)


def test_large_pictures_are_shrunk_and_larger_ones_refused(tmp_path, monkeypatch):
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 45:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(module, "KEPT_PIXELS", 30 * 45)
    for name in ("a.jpg", "a.png"):
        read = read_image(tmp_path / name)
        assert read.shape == (30, 45, 3)
        assert read[15, [5, 40], 0] == pytest.approx([0, 255], abs=10)
        assert read_image_size(tmp_path / name) == (60, 90)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(module, "MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(MediaError, match=r"90x60.*5,400"):
        read_image(tmp_path / "a.png")


def test_a_header_that_claims_too_much_is_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 2**17, 2**17, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    with pytest.raises(MediaError, match="too large"):
        read_image(tmp_path / "a.png")


def test_long_texts_do_not_matter(tmp_path):
    pixels = np.full((8, 8, 3), 77, np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 5_000_000, zip=True)
    info.add_text("easyanimate", '{"seed": 3}')
    Image.fromarray(pixels).save(tmp_path / "a.png", pnginfo=info)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    assert read_embedded(tmp_path / "a.png") == {"seed": 3}


def write_rgba(path, colour, alpha):
    Image.fromarray(np.dstack([np.broadcast_to(np.uint8(colour), (4, 4, 3)), alpha])).save(path)
    return path


HOLE = np.full((4, 4), 255, np.uint8)
HOLE[1:3, 1:3] = 0


def test_masks_in_transparency(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    photo[0, 0] = 10
    bright = photo.max(axis=-1) >= 128
    rubbed = read_mask_image(write_rgba(tmp_path / "photo.png", photo, HOLE))
    np.testing.assert_array_equal(rubbed == 255, bright & (HOLE > 0) | (HOLE == 0))
    # Black all over: the mask is in the transparency alone. White paint on nothing: the paint is the mask.
    np.testing.assert_array_equal(read_mask_image(write_rgba(tmp_path / "black.png", 0, HOLE)), 255 - HOLE)
    np.testing.assert_array_equal(read_mask_image(write_rgba(tmp_path / "white.png", 255, 255 - HOLE)), 255 - HOLE)
    np.testing.assert_array_equal(read_mask_image(write_rgba(tmp_path / "full.png", 255, HOLE | 255)), HOLE | 255)


def test_animated_webp_is_a_video(tmp_path, monkeypatch):
    pictures = [Image.fromarray(np.full((32, 48, 3), level, np.uint8)) for level in (10, 120, 240)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=125, lossless=True)
    assert is_moving(tmp_path / "a.webp")
    video = read_video(tmp_path / "a.webp")
    assert video.fps == pytest.approx(8)
    assert video.frames[:, 5, 5, 0].tolist() == [10, 120, 240]
    assert read_mask(tmp_path / "a.webp", max_frames=2)[:, 5, 5].tolist() == [0, 0]
    monkeypatch.setattr(picture, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(MediaError, match="48x32"):
        read_video(tmp_path / "a.webp")
    pictures[1].save(tmp_path / "b.webp")
    assert not is_moving(tmp_path / "b.webp")
    write_image(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
    assert not is_moving(tmp_path / "c.png")


def test_a_video_is_no_image(tmp_path):
    with pytest.raises(MediaError, match="no image"):
        read_image(write_video(tmp_path / "a.mp4", Video(np.zeros((2, 32, 32, 3), np.uint8), 8)))


@pytest.mark.filterwarnings("ignore::UserWarning")  # what Pillow mends, it tells
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.avif", "a.gif", "a.tif", "a.bmp"])
def test_damaged_images_give_one_kind_of_error(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(25):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 300), 6):
            data[place] = int(rng.integers(256))
        (tmp_path / name).write_bytes(data)
        for read in (read_image, read_image_size, read_mask, read_embedded):
            with suppress(MediaError):
                read(tmp_path / name)
