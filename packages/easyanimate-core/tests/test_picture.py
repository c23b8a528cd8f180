"""Frames that are not to be shown as they are stored."""

from fractions import Fraction

import av
import numpy as np
import pytest
from easyanimate_core import MediaError
from easyanimate_core.picture import Turn
from easyanimate_core.tone import PLAIN, Tone, to_screen
from easyanimate_core.video import read_video
from PIL import Image, ImageOps


def write(path, frames, *, codec="ffv1", pix_fmt="yuv444p", size=None, options=None, **settings):
    """Frames [T, H, W, 3 or 4] with settings of the codec context."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size or frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for index, pixels in enumerate(frames):
            frame = pixels
            if isinstance(pixels, np.ndarray):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.shape[-1] == 3 else "rgba")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("aspect", "width"), [("64/45", 128), ("1/2", 45), ("1/1", 90), ("1/400", 90)])
def test_pixels_become_square(tmp_path, aspect, width):
    frames = np.zeros((2, 72, 90, 3), np.uint8)
    frames[:, :, 45:] = 255
    aspect = {"sample_aspect_ratio": Fraction(aspect)}
    path = write(tmp_path / "dvd.mp4", frames, codec="libx264", pix_fmt="yuv420p", **aspect)
    read = read_video(path).frames
    assert read.shape == (2, 72, width, 3)
    assert np.abs(np.flatnonzero(read[0, 36, :, 0] > 128)[0] - width / 2) <= 1


def comb(frames):
    """How much more neighbouring lines differ than lines two apart."""
    grey = frames[..., 1].astype(float)
    return np.abs(grey[:, 1:] - grey[:, :-1]).mean() / max(np.abs(grey[:, 2:] - grey[:, :-2]).mean(), 0.05)


def write_interlaced(path, num_frames=12):
    """A bar that moves 4 pixels from field to field."""
    fields = np.full((num_frames * 2, 64, 128, 3), 90, np.uint8)
    for index, field in enumerate(fields):
        field[12:52, 4 + 4 * index : 28 + 4 * index] = 235
    frames = fields[::2].copy()
    frames[:, 1::2] = fields[1::2, 1::2]
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "5"}
    return write(path, frames, codec="libx264", pix_fmt="yuv420p", options=options)


def test_interlaced_frames_have_no_combs(tmp_path):
    read = read_video(write_interlaced(tmp_path / "tv.mp4")).frames
    assert read.shape == (12, 64, 128, 3)
    assert comb(read[2:-2, 14:50]) < 1.5
    lefts = [int(np.flatnonzero(frame[32, :, 1] > 160)[0]) for frame in read[2:-2]]
    assert np.abs(np.diff(lefts) - 8).max() <= 1, "each frame shows the time of its first field"


EXIF_TURNS = range(1, 9)


@pytest.mark.parametrize("orientation", EXIF_TURNS)
def test_turns_are_those_of_pillow(orientation):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(Turn.from_exif(orientation).apply(pixels), np.asarray(ImageOps.exif_transpose(image)))


MATRICES = {
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
    "turned by 180": ((-1, 0, 0, -1), lambda frames: frames[:, ::-1, ::-1]),
    "rows and columns exchanged": ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2)),
    "exchanged and turned": ((0, -1, -1, 0), lambda frames: frames[:, ::-1, ::-1].swapaxes(1, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_whole_display_matrix_is_applied(tmp_path, name):
    (a, b, c, d), turn = MATRICES[name]
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[:, :16, :32] = 255
    path = write(tmp_path / "phone.mp4", frames, codec="libx264", pix_fmt="yuv420p")
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    values = (a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
    content[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)
    read = read_video(path).frames
    expected = turn(frames)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 4


def test_transparent_parts_are_black(tmp_path):
    frames = np.full((2, 32, 48, 4), 200, np.uint8)
    frames[:, :, :16, 3], frames[:, :, 16:32, 3], frames[:, :, 32:, 3] = 0, 128, 255
    read = read_video(write(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgra")).frames
    assert [int(read[0, 5, column, 0]) for column in (8, 24, 40)] == [0, 100, 200]


def test_sizes_that_change_in_mid_stream_are_told(tmp_path):
    parts = []
    for size in (64, 96):
        frames = np.full((5, size, size, 3), 90, np.uint8)
        path = write(tmp_path / f"{size}.ts", frames, codec="mpeg2video", pix_fmt="yuv420p")
        parts.append(path.read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match="changes within the video"):
        read_video(tmp_path / "both.ts")


@pytest.mark.parametrize("name", ["a.h264", "a.m2v"])
def test_streams_without_times(tmp_path, name):
    frames = np.zeros((12, 64, 96, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 6 * index : 6 * index + 8] = 255
    codec = "libx264" if name == "a.h264" else "mpeg2video"
    read = read_video(write(tmp_path / name, frames, codec=codec, pix_fmt="yuv420p", options={"bf": "2"})).frames
    lefts = [int(np.flatnonzero(frame[32, :, 0] > 128)[0]) for frame in read]
    assert lefts == pytest.approx([6 * index for index in range(12)], abs=1)


GREYS = np.linspace(0, 1, 9)

# ITU-R BT.2408, table 1: signal of 100 and 203 cd/m2 in PQ, of 203 cd/m2 in HLG on a screen of 1,000 cd/m2.
WHITES = [("pq", 0.508, 1.0), ("pq", 0.581, 2.03), ("hlg", 0.75, 1.0)]


@pytest.mark.parametrize(("transfer", "signal", "light"), WHITES)
def test_reference_levels_of_hdr(transfer, signal, light):
    (shown, *_) = to_screen(np.full((1, 3), signal), Tone(transfer, "bt2020"))[0]
    expected = 1 - 0.1 * np.exp(-(light ** (1 / 2.4) - 0.9) / 0.1)
    assert shown == pytest.approx(expected, abs=0.002)


def test_greys_below_the_shoulder_are_as_bright_as_meant():
    # ITU-R BT.2100: 26 cd/m2 (18 % grey of a scene with white at 203) is 38 % in HLG and PQ.
    for transfer, white in (("hlg", 203), ("pq", 100)):
        (shown, *_) = to_screen(np.full((1, 3), 0.38), Tone(transfer, "bt2020"))[0]
        assert shown == pytest.approx((26 / white) ** (1 / 2.4), abs=0.015)


@pytest.mark.parametrize("gamut", ["bt2020", "p3"])
def test_white_of_a_wide_gamut_stays_white(gamut):
    np.testing.assert_allclose(to_screen(np.ones((1, 3)), Tone("sdr", gamut)), 1, atol=1e-3)
    assert PLAIN.plain
    assert not Tone("sdr", gamut).plain


@pytest.mark.parametrize(("transfer", "code"), [("pq", 16), ("hlg", 18)])
def test_hdr_videos_are_tone_mapped(tmp_path, transfer, code):
    """Grey steps in BT.2020, 10 bits: what is read is what the formula gives."""
    levels = np.array([0.1, 0.25, 0.38, 0.5, 0.6, 0.75])
    luma = np.repeat(np.round(64 + 876 * levels), 16).astype(np.uint16)[None].repeat(32, axis=0)
    planes = np.stack([luma, np.full_like(luma, 512), np.full_like(luma, 512)])
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], "yuv444p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        row = np.zeros((luma.shape[0], plane.line_size // 2), np.uint16)
        row[:, : luma.shape[1]] = values
        plane.update(row.tobytes())
    settings = {"color_primaries": 9, "color_trc": code, "colorspace": 9, "color_range": 1}
    path = write(tmp_path / "hdr.mkv", [frame], pix_fmt="yuv444p10le", size=luma.shape, **settings)
    read = read_video(path).frames[0, 16, 8::16]
    expected = 255 * to_screen(levels[:, None].repeat(3, axis=1), Tone(transfer, "bt2020"))
    assert np.abs(read - expected).max() <= 2
