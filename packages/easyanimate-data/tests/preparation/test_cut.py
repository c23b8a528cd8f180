"""Clips hold exactly the frames of their scenes, whatever the container, the codec and the rate.

Every frame of a source carries its number, so that a clip is compared with its source frame by frame.
"""

import subprocess
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from easyanimate_core import StageContext
from easyanimate_core.video import read_video
from easyanimate_data.preparation.scene import SplitSettings
from easyanimate_data.preparation.split import Split
from imageio_ffmpeg import get_ffmpeg_exe

BLOCK, ROWS, COLUMNS = 16, 3, 4
BITS = ROWS * COLUMNS - 2
SCENES = (1.6, 0.9, 1.7)
SETTINGS = SplitSettings(min_pixels=0, min_seconds=0.4, max_seconds=1.0, min_scene_frames=5)

FILM, NTSC, DOUBLE = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)
RATES = (Fraction(25), FILM, NTSC, DOUBLE, Fraction(12), Fraction(24), Fraction(50), Fraction(60))
MPEG_RATES = (Fraction(25), FILM, NTSC, DOUBLE, Fraction(24), Fraction(50), Fraction(60))  # all that MPEG-1 and 2 know

X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "12", "-crf", "12"]
OPEN_X264 = [*X264, "-x264-params", "open-gop=1:scenecut=0"]
X265 = ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params"]
X265 = [*X265, "log-level=error:bframes=3:keyint=12:open-gop=1"]
MPEG1 = ["-c:v", "mpeg1video", "-bf", "2", "-g", "12", "-q:v", "2", "-maxrate", "9M", "-bufsize", "1M"]
MPEG2 = ["-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-q:v", "2", "-maxrate", "9M", "-bufsize", "1M"]
MPEG4 = ["-c:v", "mpeg4", "-bf", "2", "-g", "12", "-q:v", "2"]
XVID = ["-c:v", "libxvid", "-bf", "2", "-g", "12", "-q:v", "2"]
VP8 = ["-c:v", "libvpx", "-g", "30", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "2M"]
VP9 = ["-c:v", "libvpx-vp9", "-g", "30", "-crf", "12", "-b:v", "0", "-cpu-used", "8"]
AV1 = ["-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-g", "30"]
MJPEG = ["-c:v", "mjpeg", "-q:v", "2"]

FORMATS = {
    "x264.mp4": X264,
    "open.mp4": OPEN_X264,
    "fragments.mp4": [*X264, "-movflags", "frag_keyframe+empty_moov"],
    "x265.mp4": X265,
    "mpeg4.mp4": MPEG4,
    "vp9.mp4": VP9,
    "av1.mp4": AV1,
    "x264.mov": X264,
    "prores.mov": ["-c:v", "prores_ks"],
    "mjpeg.mov": MJPEG,
    "x264.3gp": X264,
    "x264.m4v": [*X264, "-f", "mp4"],
    "x264.mkv": X264,
    "x265.mkv": X265,
    "mpeg2.mkv": MPEG2,
    "mpeg4.mkv": MPEG4,
    "ffv1.mkv": ["-c:v", "ffv1"],
    "vp8.webm": VP8,
    "vp9.webm": VP9,
    "av1.webm": AV1,
    "x264.ts": X264,
    "open.ts": OPEN_X264,
    "x265.ts": X265,
    "mpeg2.ts": MPEG2,
    "x264.m2ts": [*X264, "-mpegts_m2ts_mode", "1"],
    "mpeg1.mpg": MPEG1,
    "mpeg2.mpg": [*MPEG2, "-f", "vob"],
    "mpeg2.vob": MPEG2,
    "x264.flv": X264,
    "flv1.flv": ["-c:v", "flv", "-q:v", "2"],
    "x264.avi": X264,
    "mpeg4.avi": MPEG4,
    "xvid.avi": XVID,
    "divx.avi": ["-c:v", "msmpeg4", "-q:v", "2"],
    "mjpeg.avi": MJPEG,
    "huffyuv.avi": ["-c:v", "huffyuv"],
    "ffv1.avi": ["-c:v", "ffv1"],
    "raw.avi": ["-c:v", "rawvideo", "-pix_fmt", "bgr24"],
    "wmv2.wmv": ["-c:v", "wmv2", "-q:v", "2"],
    "x264.asf": X264,
    "theora.ogv": ["-c:v", "libtheora", "-q:v", "10"],
    "mpeg2.mxf": MPEG2,
    "mpeg4.nut": MPEG4,
}
MPEG = ("mpeg1", "mpeg2")


def ffmpeg(*words, pixels=b""):
    command = [get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, input=pixels, check=True)  # noqa: S603 (own words)


def draw_frame(number, scene):
    """A frame of dark and bright blocks: the bits of its number as a Gray code, grey or red by its scene."""
    code = number ^ number >> 1
    bits = [code >> k & 1 for k in range(BITS)] + [0, 1]
    blocks = np.array(bits, np.uint8).reshape(ROWS, COLUMNS).repeat(BLOCK, 0).repeat(BLOCK, 1)
    frame = np.zeros((*blocks.shape, 3), np.uint8)
    frame[..., : 1 if scene % 2 else 3] = (40 + 190 * blocks)[..., None]
    return frame


def read_number(frame):
    """The number that a frame carries; an error where it is no such frame."""
    values = frame.max(-1).reshape(ROWS, BLOCK, COLUMNS, BLOCK)[:, 4:12, :, 4:12].mean((1, 3)).flatten()
    assert np.all(np.minimum(abs(values - 40), abs(values - 230)) < 60), values.round()
    bits = (values > 135).astype(int).tolist()
    assert bits[BITS:] == [0, 1], bits
    code, number = sum(bit << k for k, bit in enumerate(bits[:BITS])), 0
    while code:
        number ^= code
        code >>= 1
    return number


def list_cuts(rate):
    """The first frame of each scene, and the frame after the last."""
    cuts = [0]
    for seconds in SCENES:
        cuts.append(cuts[-1] + round(seconds * rate))
    return cuts


def expect_clips(cuts, rate):
    """The frames of each clip, in exact arithmetic: pieces of a second, the rest of 0.4 s and more, short ones trimmed."""
    spans = []
    for first, last in pairwise(Fraction(cut) / rate for cut in cuts):
        if last - first <= 1:
            spans.append((first, last - Fraction(1, 2)))
            continue
        start = first
        while last - start >= Fraction(2, 5):
            spans.append((start, min(start + 1, last)))
            start += 1
    return [[n for n in range(cuts[-1]) if start <= n / rate < end] for start, end in spans]


@pytest.fixture
def make_numbered(tmp_path):
    def make(name, options, rate):
        cuts = list_cuts(rate)
        frames = [draw_frame(n, scene) for scene, (a, b) in enumerate(pairwise(cuts)) for n in range(a, b)]
        size = f"{COLUMNS * BLOCK}x{ROWS * BLOCK}"
        (tmp_path / "raw").mkdir(exist_ok=True)
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "-"]
        ffmpeg(*raw, *options, tmp_path / "raw" / name, pixels=np.stack(frames).tobytes())
        return cuts

    return make


def split(folder, name, settings=SETTINGS):
    rows = Split(settings, StageContext(input=folder / "raw", dataset=folder / "out")).split(name)
    assert rows[0]["file_path"], rows
    return rows, [read_video(folder / "out" / row["file_path"]) for row in rows]


def list_cases():
    """Each format once at a rate of its turn; all others of its rates in the slow part."""
    for turn, name in enumerate(FORMATS):
        rates = MPEG_RATES if name.startswith(MPEG) else RATES
        for k, rate in enumerate(rates):
            marks = [] if k == turn % len(rates) else [pytest.mark.slow]  # hundreds of files
            yield pytest.param(name, rate, marks=marks, id=f"{name}-{float(rate):.2f}")


@pytest.mark.parametrize(("name", "rate"), [*list_cases()])
def test_clips_hold_exactly_the_frames_of_their_scenes(make_numbered, tmp_path, name, rate):
    cuts = make_numbered(name, FORMATS[name], rate)
    rows, clips = split(tmp_path, name)
    assert [[read_number(frame) for frame in clip.frames] for clip in clips] == expect_clips(cuts, rate)
    assert [clip.fps for clip in clips] == pytest.approx([float(rate)] * len(clips), rel=1e-3)
    assert [row["num_frames"] for row in rows] == [len(clip.frames) for clip in clips]
