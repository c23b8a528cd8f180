"""Clips hold exactly the frames of their scenes, whatever the container, the codec and the rate.

Every frame of a source carries its number, so that a clip is compared with its source frame by frame.
"""

import subprocess
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from easyanimate_core import MediaError, RequestError, StageContext
from easyanimate_core.video import read_video
from easyanimate_data.preparation.scene import SplitSettings
from easyanimate_data.preparation.split import Split
from easyanimate_data.timeline import read_timeline
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
X265 = [*X265, "log-level=error:bframes=3:keyint=12:open-gop=1:crf=8"]
MPEG1 = ["-c:v", "mpeg1video", "-bf", "2", "-g", "12", "-q:v", "2", "-maxrate", "9M", "-bufsize", "1M"]
MPEG2 = ["-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-q:v", "2", "-maxrate", "9M", "-bufsize", "1M"]
MPEG4 = ["-c:v", "mpeg4", "-bf", "2", "-g", "12", "-q:v", "2"]
XVID = ["-c:v", "libxvid", "-bf", "2", "-g", "12", "-q:v", "2"]
VP8 = ["-c:v", "libvpx", "-g", "30", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "2M"]
VP9 = ["-c:v", "libvpx-vp9", "-g", "30", "-crf", "12", "-b:v", "0", "-cpu-used", "8"]
AV1 = ["-c:v", "libsvtav1", "-preset", "10", "-crf", "5", "-g", "30", "-svtav1-params", "enable-tf=0:lp=1"]
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


def read_numbers(path):
    """The numbers of a source's frames, decoded in a row from its start; an encoder may have lost or blurred some."""
    with av.open(str(path)) as container:
        numbers = [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    right = sum(number == index for index, number in enumerate(numbers))
    assert right > 0.95 * len(numbers), numbers
    return numbers


def list_cuts(rate):
    """The first frame of each scene, and the frame after the last."""
    cuts = [0]
    for seconds in SCENES:
        cuts.append(cuts[-1] + round(seconds * rate))
    return cuts


def expect_clips(cuts, rate):
    """The frames of each clip, in exact arithmetic: pieces of a second, rests of 0.4 s; short scenes are trimmed."""
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
    source = read_numbers(tmp_path / "raw" / name)
    expected = [[source[n] for n in clip if n < len(source)] for clip in expect_clips(cuts, rate)]
    assert [[read_number(frame) for frame in clip.frames] for clip in clips] == expected
    assert [clip.fps for clip in clips] == pytest.approx([float(rate)] * len(clips), rel=1e-3)
    assert [row["num_frames"] for row in rows] == [len(clip.frames) for clip in clips]


UNEVEN = ["-vf", "select='lt(n,40)+gt(mod(n,3),0)'", "-fps_mode", "passthrough"]


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv", "uneven.webm", "uneven.ts"])
def test_frames_at_irregular_times_are_all_kept(make_numbered, tmp_path, name):
    codec = VP9 if name.endswith("webm") else X264
    make_numbered(name, [*UNEVEN, *codec], Fraction(25))
    rows, _ = split(tmp_path, name, SplitSettings(min_pixels=0, min_seconds=0.4, max_seconds=9, threshold=255))
    assert len(rows) == 1
    shown = [n for n in range(list_cuts(Fraction(25))[-1]) if n < 40 or n % 3]
    clip = tmp_path / "out" / rows[0]["file_path"]
    assert read_numbers_alone(clip) == shown
    times = read_timeline(clip).times
    assert times == pytest.approx([n / 25 for n in shown], abs=0.002)


def read_numbers_alone(path):
    """The numbers of the frames of a file, in a row, whatever they are."""
    with av.open(str(path)) as container:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("rate", [Fraction(12), FILM, Fraction(60)])
def test_a_rate_for_all_clips(make_numbered, tmp_path, rate):
    """What moves is as fast in each: after t seconds a clip shows what its source shows then."""
    make_numbered("a.mp4", X264, rate)
    settings = SplitSettings(min_pixels=0, min_seconds=0.4, max_seconds=1.0, min_scene_frames=5, fps=24)
    rows, clips = split(tmp_path, "a.mp4", settings)
    assert [clip.fps for clip in clips] == [24] * len(clips)
    assert [row["fps"] for row in rows] == [24] * len(rows)
    for row, clip in zip(rows, clips, strict=True):
        assert len(clip.frames) == pytest.approx(24 * (row["end"] - row["start"]), abs=1.1)
        shown = [read_number(frame) for frame in clip.frames]
        meant = [(row["start"] + tick / 24) * float(rate) for tick in range(len(shown))]
        assert np.abs(np.array(shown) - meant).max() <= max(1.0, rate / 24) + 0.01


def test_rates_that_are_none():
    for rate in (0.0, -24.0, float("nan"), float("inf"), 1e9):
        with pytest.raises(RequestError, match="fps is out of range"):
            SplitSettings(fps=rate)


def make_sound(tmp_path, name, *words):
    """Four seconds of noise and a tone that begins after two, beside a picture that turns white then."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    picture = ["-f", "lavfi", "-i", "color=c=black:s=64x48:r=25:d=4,drawbox=color=white:t=fill:enable='gte(t,2)'"]
    tone = ["-f", "lavfi", "-i", "sine=200:d=4:r=48000,volume=enable='lt(t,2)':volume=0"]
    ffmpeg(*picture, *tone, "-pix_fmt", "yuv420p", *words, tmp_path / "raw" / name)


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mkv", "a.ts", "a.mpg", "a.avi", "a.flv", "a.webm", "a.wmv", "a.mov", "late.mp4"]
)
def test_sound_stays_with_its_picture(tmp_path, name):
    codecs = {"mpg": ["-c:v", "mpeg2video"], "webm": [*VP9, "-c:a", "libopus"], "wmv": ["-c:v", "wmv2"]}
    words = codecs.get(name.rpartition(".")[2], X264)
    make_sound(tmp_path, name, *words)
    if name == "late.mp4":  # a track that is not there from the start
        source = tmp_path / "raw" / name
        ffmpeg("-i", source, "-ss", "1", "-i", source, "-map", "0:v", "-map", "1:a", "-c", "copy", "-copyts",
               tmp_path / "raw" / "later.mp4")  # fmt: skip
        name = "later.mp4"
    settings = SplitSettings(min_pixels=0, min_seconds=0.4, max_seconds=1.3, threshold=255)
    rows, clips = split(tmp_path, name, settings)
    assert [row["sound"] for row in rows] == ["kept"] * 3
    second = rows[1]
    with av.open(str(tmp_path / "out" / second["file_path"])) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=1000)
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    loud = np.abs(np.convolve(np.concatenate(parts) ** 2, np.ones(20), "same")) > 1e-3
    white = clips[1].frames.mean((1, 2, 3)) > 128
    assert int(np.argmax(loud)) / 1000 == pytest.approx(int(np.argmax(white)) / 25, abs=0.06)
    assert len(loud) / 1000 == pytest.approx(1.3, abs=0.1)


def test_a_sound_track_that_cannot_be_coded_costs_the_sound(tmp_path):
    """Damage becomes silence, more channels than AAC has become stereo; where nothing is left, the picture stays."""
    spread = "[1]pan=16c|" + "|".join(f"c{k}=c0" for k in range(16)) + "[a]"
    words = ["-filter_complex", spread, "-map", "0:v", "-map", "[a]", *X264, "-c:a", "pcm_s16le"]
    make_sound(tmp_path, "many.mov", *words)
    for name, every in (("damaged.mp4", 3), ("gone.mp4", 1)):
        make_sound(tmp_path, name, *X264)
        path = tmp_path / "raw" / name
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            for packet in [*container.demux(audio=0)][::every]:
                begin = packet.pos or 0
                data[begin : begin + packet.size] = b"\xff" * packet.size
        path.write_bytes(data)
    settings = SplitSettings(min_pixels=0, min_seconds=0.4, threshold=255)
    said = {}
    for name in ("many.mov", "damaged.mp4", "gone.mp4"):
        ((row,), (clip,)) = split(tmp_path, name, settings)
        said[name] = row["sound"]
        assert len(clip.frames) == 100
    assert said == {"many.mov": "kept", "damaged.mp4": "kept", "gone.mp4": "lost: No sound could be decoded."}


def test_interlaced_frames_become_whole_and_the_table_says_so(tmp_path):
    (tmp_path / "raw").mkdir()
    edge = "color=gray:s=192x128:r=50:d=2[a];color=white:s=30x80:r=50:d=2[b];[a][b]overlay=x='mod(n*3,150)':y=20"
    woven = ["-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme", "-x264-params", "tff=1"]
    ffmpeg("-f", "lavfi", "-i", edge, *woven, *X264[:6], "-crf", "12", tmp_path / "raw" / "tv.mp4")
    ffmpeg("-f", "lavfi", "-i", edge, "-r", "25", *X264, tmp_path / "raw" / "film.mp4")
    settings = SplitSettings(min_pixels=0, min_seconds=0.4)
    for name, interlaced in (("tv.mp4", True), ("film.mp4", False)):
        ((row,), (clip,)) = split(tmp_path, name, settings)
        assert row["deinterlaced"] is interlaced
        source = read_video(tmp_path / "raw" / name).frames.astype(float)
        assert np.abs(clip.frames - source).mean() < 1.5
        rows = clip.frames[5:, 24:96, :, 1].astype(float)
        comb = np.abs(rows[:, 2:-2:2] - (rows[:, 1:-3:2] + rows[:, 3:-1:2]) / 2).mean()
        assert comb < 1, "lines of two moments lie side by side"


def test_pixels_become_square(tmp_path):
    (tmp_path / "raw").mkdir()
    circle = "color=black:s=256x144:r=25:d=1,format=gray,geq=lum='if(lte(hypot(X-128,Y-72),40),235,16)'"
    ffmpeg("-f", "lavfi", "-i", circle, "-vf", "scale=180:144,setsar=64/45", *X264, tmp_path / "raw" / "dvd.mp4")
    ((row,), (clip,)) = split(tmp_path, "dvd.mp4", SplitSettings(min_pixels=0, min_seconds=0.4))
    assert (row["height"], row["width"]) == clip.frames.shape[1:3] == (144, 256)
    ys, xs = np.nonzero(clip.frames[3, ..., 0] > 128)
    assert np.ptp(xs) == pytest.approx(np.ptp(ys), abs=2)


def test_high_dynamic_range_is_toned_down(tmp_path):
    (tmp_path / "raw").mkdir()
    tone = "scale=out_color_matrix=bt709,format=yuv444p,zscale=tin=bt709:min=bt709:pin=bt709:rin=tv"
    tone += ":t=arib-std-b67:p=2020:m=2020_ncl:r=tv:npl=203,format=yuv420p10le"
    tags = ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"]
    path = tmp_path / "raw" / "phone.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=24:d=1", "-vf", tone, *X265[:4], *X265[6:], *tags, path)
    (_, (clip,)) = split(tmp_path, "phone.mp4", SplitSettings(min_pixels=0, min_seconds=0.4))
    source = read_video(path).frames.astype(float)
    assert np.abs(clip.frames - source).mean() < 9  # noise of x264 in a picture of 96 pixels
    with av.open(str(tmp_path / "out" / "clips" / "phone.mp4" / "phone_0.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.format.name, context.color_primaries, context.color_trc) == ("yuv420p", 1, 1)


def test_a_size_that_changes_in_mid_stream_is_an_error(tmp_path):
    (tmp_path / "raw").mkdir()
    parts = [tmp_path / f"{k}.ts" for k in range(2)]
    for part, size in zip(parts, ("96x64", "64x48"), strict=True):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=1", *X264, part)
    (tmp_path / "raw" / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaError, match=r"size of the frames changes[\s\S]*96x64, then 64x48"):
        split(tmp_path, "a.ts", SplitSettings(min_pixels=0, min_seconds=0.4))
    assert not list((tmp_path / "out").rglob("*.mp4"))


@pytest.mark.parametrize("name", ["raw.h264", "raw.m2v"])
def test_streams_without_times(make_numbered, tmp_path, name):
    make_numbered(name, X264 if name.endswith("h264") else MPEG2, Fraction(25))
    _, clips = split(tmp_path, name)
    assert [[read_number(frame) for frame in clip.frames] for clip in clips] == expect_clips(
        list_cuts(Fraction(25)), Fraction(25)
    )


def test_names_near_the_limit_of_file_systems(make_numbered, tmp_path):
    names = ["n" * 251 + ".mp4", "n" * 250 + "o.mp4", "视" * 83 + "ab.mp4"]
    make_numbered(names[0], X264, Fraction(25))
    for name in names[1:]:
        (tmp_path / "raw" / name).write_bytes((tmp_path / "raw" / names[0]).read_bytes())
    files = [row["file_path"].rpartition("/")[2] for name in names for row in split(tmp_path, name)[0]]
    assert len(set(files)) == len(files) == 3 * 5
    assert max(len(file.encode()) for file in files) <= 255
    assert files[:5] == [row["file_path"].rpartition("/")[2] for row in split(tmp_path, names[0])[0]]
