import subprocess
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
from easyanimate_core import FrameChoice, MediaError
from easyanimate_core.video import read_video
from easyanimate_data.frames import choose_indices, read_frames
from easyanimate_data.timeline import read_opening, read_timeline

NUM_FRAMES, HEIGHT, WIDTH, BITS = 60, 48, 96, 6

X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "3", "-crf", "18"]
X265 = ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
LATER = ["-vf", "setpts='if(lt(N,30),N,30+(N-30)*2)/25/TB'", "-fps_mode", "vfr"]

CLIPS = {
    "short_gop.mp4": [*X264, "-g", "12"],
    "long_gop.mp4": [*X264, "-g", "250"],
    "no_b_frames.mov": [*X264, "-g", "12", "-bf", "0"],
    "open_gop.mp4": [*X264, "-g", "12", "-x264-params", "open-gop=1"],
    "intra_refresh.mp4": [*X264, "-g", "250", "-x264-params", "intra-refresh=1:keyint=20"],
    "fragments.mp4": [*X264, "-g", "12", "-movflags", "frag_keyframe+empty_moov"],
    "open_hevc.mp4": [*X265, "-x265-params", "open-gop=1:keyint=12:bframes=3:log-level=error"],
    "x264.mkv": [*X264, "-g", "12"],
    "x264.flv": [*X264, "-g", "12"],
    "x264.avi": [*X264, "-g", "12"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-bf", "2", "-g", "12", "-q:v", "2"],
    "motion_jpeg.avi": ["-c:v", "mjpeg", "-q:v", "2"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-g", "12", "-crf", "20", "-b:v", "0", "-cpu-used", "8"],
    "vp8.webm": ["-c:v", "libvpx", "-g", "30", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "2M"],
    "x264.ts": [*X264, "-g", "12"],
    "open_gop.ts": [*X264, "-g", "12", "-x264-params", "open-gop=1"],
    "mpeg2.ts": ["-c:v", "mpeg2video", "-bf", "2", "-g", "12", "-q:v", "2"],
    "palette.gif": [],
}


def run_ffmpeg(*arguments, pixels=None):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, input=pixels or b"", check=True)  # noqa: S603 (files of these tests)


def draw_frame(number):
    """A frame that carries its number as six dark or bright columns, and a grey mark at its upper left."""
    frame = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[16:, 16 * bit : 16 * bit + 16] = 230
    frame[:16, :48] = 128
    return frame


def read_size(path):
    look, _ = read_opening(path)
    return look.height, look.width


def read_number(frame):
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert abs(int(frame[8, 24, 0]) - 128) < 25, "upside down"
    assert frame[8, 72, 0] < 80, "mirrored"
    return sum(int(frame[24:40, 16 * bit + 4 : 16 * bit + 12].mean() > 128) << bit for bit in range(BITS))


def read_numbers(path, indices, **options):
    return [read_number(frame) for frame in read_frames(path, indices, **options)]


@pytest.fixture(scope="session")
def encode(tmp_path_factory):
    """Encodes the 60 numbered frames; each name once."""
    folder = tmp_path_factory.mktemp("clips")
    pixels = np.stack([draw_frame(number) for number in range(NUM_FRAMES)]).tobytes()
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-"]

    def make(name, options=None):
        path = folder / name
        if not path.exists():
            run_ffmpeg(*raw, *(CLIPS[name] if options is None else options), path, pixels=pixels)
        return path

    return make


def check_random(path, expected, **options):
    """Any frames in any order, alone, in groups and repeated, are those of reading all in a row."""
    timeline = read_timeline(path)
    assert len(timeline) == len(expected)
    assert read_numbers(path, range(len(timeline)), timeline=timeline, **options) == expected
    rng = np.random.default_rng(0)
    for count in (1, 1, 1, 2, 3, 5, 8):
        indices = rng.integers(len(expected), size=count).tolist()
        indices = [*indices, indices[0], len(expected) - 1]
        assert read_numbers(path, indices, timeline=timeline, **options) == [expected[index] for index in indices]


@pytest.mark.parametrize("name", CLIPS)
def test_every_format_gives_the_frames_that_were_asked_for(encode, name):
    path = encode(name)
    check_random(path, list(range(NUM_FRAMES)))
    timeline = read_timeline(path)
    assert (timeline.height, timeline.width) == (HEIGHT, WIDTH)
    assert timeline.fps == pytest.approx(25)
    assert timeline.seconds == pytest.approx(2.4)
    assert 0 in timeline.keys


@pytest.mark.parametrize("name", ["short_gop.mp4", "long_gop.mp4", "no_b_frames.mov", "x264.mkv", "vp9.webm"])
def test_decord_gives_the_same(encode, name):
    pytest.importorskip("decord")
    check_random(encode(name), list(range(NUM_FRAMES)), reader="decord")


@pytest.mark.parametrize("name", ["x264.ts", "open_hevc.mp4", "open_gop.mp4", "x264.avi", "vp8.webm"])
def test_decord_is_refused_where_it_gives_wrong_frames(encode, name):
    with pytest.raises(MediaError, match="decord gives wrong frames"):
        read_frames(encode(name), [0], reader="decord")


def test_decord_is_refused_for_a_cut_without_encoding(encode, tmp_path):
    with pytest.raises(MediaError, match="decord gives wrong frames"):
        read_frames(cut(encode("short_gop.mp4"), tmp_path / "cut.mp4"), [0], reader="decord")


@pytest.mark.parametrize("name", ["rotated.mp4", "rotated.mov", "rotated.mkv"])
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_is_applied(encode, tmp_path, name, degrees):
    run_ffmpeg("-display_rotation", degrees, "-i", encode("short_gop.mp4"), "-c", "copy", tmp_path / name)
    frames = read_frames(tmp_path / name, [17, 3])
    timeline = read_timeline(tmp_path / name)
    assert frames.shape[1:3] == (timeline.height, timeline.width) == read_size(tmp_path / name)
    assert (timeline.height > timeline.width) == (degrees != 180)
    stored = np.rot90(frames, -degrees // 90, axes=(1, 2))
    assert [read_number(frame) for frame in stored] == [17, 3]


@pytest.mark.parametrize("name", ["irregular.mp4", "irregular.mkv"])
def test_irregular_times_become_a_constant_rate(encode, name):
    path = encode(name, [*X264, "-g", "12", *LATER])
    timeline = read_timeline(path)
    numbers = read_numbers(path, range(len(timeline)))
    check_random(path, numbers)
    assert timeline.seconds == pytest.approx((30 + 30 * 2) / 25, abs=0.15)
    for tick, number in enumerate(numbers):
        second = (tick + 0.5) / timeline.fps
        shown = 25 * second if 25 * second < 30 else 30 + (25 * second - 30) / 2
        assert number == pytest.approx(shown, abs=1.2)


def cut(path, to, *, start="1.3"):
    run_ffmpeg("-ss", start, "-i", path, "-c", "copy", to)
    return to


@pytest.mark.parametrize("source", ["short_gop.mp4", "open_gop.mp4", "open_hevc.mp4", "x264.mkv", "open_gop.ts"])
def test_a_cut_without_encoding(encode, tmp_path, source):
    """It begins at a key frame before the cut; mp4 says that what is in front does not show."""
    path = cut(encode(source), tmp_path / f"cut.{source.split('.')[1]}")
    length = len(read_timeline(path))
    check_random(path, list(range(NUM_FRAMES - length, NUM_FRAMES)))
    assert length <= (28 if source.endswith("mp4") else 40)


def test_a_transport_stream_that_begins_anywhere(encode, tmp_path):
    data = encode("open_gop.ts").read_bytes()
    (tmp_path / "middle.ts").write_bytes(data[len(data) // 188 // 3 * 188 :])
    length = len(read_timeline(tmp_path / "middle.ts"))
    assert 20 < length < 55
    check_random(tmp_path / "middle.ts", list(range(NUM_FRAMES - length, NUM_FRAMES)))


def truncate(path, to):
    data = path.read_bytes()
    to.write_bytes(data[: len(data) * 6 // 10])
    return to


@pytest.mark.parametrize("name", ["short_gop.mp4", "index_first.mp4", "x264.avi"])
def test_a_truncated_file_is_refused(encode, tmp_path, name):
    path = encode(name, [*X264, "-g", "12", "-movflags", "+faststart"] if name == "index_first.mp4" else None)
    with pytest.raises(MediaError, match=r"cut\."):
        read_timeline(truncate(path, tmp_path / f"cut.{name.split('.')[1]}"))


@pytest.mark.parametrize("name", ["x264.mkv", "x264.ts", "x264.flv", "vp9.webm"])
def test_where_a_format_does_not_tell_its_length_what_is_there_is_read(encode, tmp_path, name):
    path = truncate(encode(name), tmp_path / f"cut.{name.split('.')[1]}")
    length = len(read_timeline(path))
    assert 20 < length < 50
    whole = length - 5  # what refers to the last frame, which is half there, is wrong as well
    assert read_numbers(path, range(whole)) == list(range(whole))


def test_a_damaged_middle(encode, tmp_path):
    """It costs the frames that it touches and no others."""
    path = encode("all_keys.mp4", [*X264, "-g", "1", "-bf", "0", "-movflags", "+faststart"])
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 20] = bytes(20)
    (tmp_path / "damaged.mp4").write_bytes(data)
    read = {}
    for index in range(NUM_FRAMES):
        try:
            (read[index],) = read_numbers(tmp_path / "damaged.mp4", [index])
        except (MediaError, AssertionError):
            read[index] = None
    wrong = [index for index, number in read.items() if number != index]
    assert 1 <= len(wrong) <= 2
    assert wrong == list(range(wrong[0], wrong[-1] + 1))


def test_files_without_video(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.m4a")
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=32x32:duration=0.04", "-frames:v", "1", tmp_path / "cover.png")
    cover = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"]
    run_ffmpeg("-i", tmp_path / "sound.m4a", "-i", tmp_path / "cover.png", *cover, tmp_path / "album.m4a")
    for name in ("sound.m4a", "album.m4a"):
        with pytest.raises(MediaError, match="has no video"):
            read_timeline(tmp_path / name)
        with pytest.raises(MediaError, match="has no video"):
            read_size(tmp_path / name)


def test_sound_beside_the_video_does_not_matter(encode, tmp_path):
    sound = ["-f", "lavfi", "-i", "sine=duration=4"]
    run_ffmpeg(*sound, "-i", encode("short_gop.mp4"), "-c:v", "copy", tmp_path / "both.mp4")
    check_random(tmp_path / "both.mp4", list(range(NUM_FRAMES)))


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(4000)])
def test_files_that_are_no_video(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.mp4"):
        read_timeline(tmp_path / "a.mp4")


def test_missing_files(tmp_path):
    for read in (read_timeline, read_size, lambda path: read_frames(path, [0])):
        with pytest.raises(MediaError, match="no such file"):
            read(tmp_path / "gone.mp4")


@pytest.mark.parametrize("indices", [[], [60], [-1], [3, 99]])
def test_frames_that_are_not_there(encode, indices):
    with pytest.raises(MediaError, match="no such frames"):
        read_frames(encode("short_gop.mp4"), indices)


def test_a_timeline_that_promises_too_much_is_found_out(encode):
    path = encode("short_gop.mp4")
    timeline = read_timeline(path)
    longer = replace(timeline, stamps=(*timeline.stamps, timeline.stamps[-1] + 512), order=(*timeline.order, 60))
    with pytest.raises(MediaError, match="frame 60"):
        read_frames(path, [60], timeline=longer)


def test_a_transform_is_applied_to_each_frame(encode):
    path = encode("short_gop.mp4")
    halves = read_frames(path, [5, 2, 5], transform=lambda frame: frame[::2, ::2])
    np.testing.assert_array_equal(halves, read_frames(path, [5, 2, 5])[:, ::2, ::2])


def test_sizes_without_the_timeline(encode):
    assert read_size(encode("short_gop.mp4")) == (HEIGHT, WIDTH)


def test_chosen_frames(encode):
    timeline = read_timeline(encode("short_gop.mp4"))
    assert choose_indices(timeline, FrameChoice("uniform", 4)) == [0, 15, 30, 45]
    assert choose_indices(timeline, FrameChoice("middle")) == [30]
    assert choose_indices(timeline, FrameChoice("rate", 2)) == [0, 12, 24, 36, 48]
    assert choose_indices(timeline, FrameChoice("rate", 100)) == list(range(60))
    assert choose_indices(timeline, FrameChoice("key", 3)) == [0, 12, 24]
    assert choose_indices(timeline, FrameChoice("key", 99))[-1] == 48


SHOWN_OTHERWISE = {
    "interlaced.mp4": [*X264, "-g", "12", "-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme"],
    "interlaced.ts": ["-c:v", "mpeg2video", "-g", "12", "-vf", "tinterlace=interleave_top", "-flags", "+ildct+ilme"],
    "wide_pixels.mp4": [*X264, "-g", "12", "-vf", "setsar=16/11"],
    "hlg.mp4": [*X265, "-pix_fmt", "yuv420p10le", "-color_trc", "arib-std-b67", "-color_primaries", "bt2020"],
}


@pytest.mark.parametrize("name", SHOWN_OTHERWISE)
def test_frames_alone_are_those_of_reading_all(encode, name):
    """Whatever is done to frames to show them as they are meant."""
    path = encode(name, SHOWN_OTHERWISE[name])
    timeline = read_timeline(path)
    whole = read_video(path)
    assert len(timeline) == len(whole.frames)
    assert (timeline.height, timeline.width) == whole.frames.shape[1:3] == read_size(path)
    assert timeline.interlaced == name.startswith("interlaced")
    np.testing.assert_array_equal(read_frames(path, range(len(timeline)), timeline=timeline), whole.frames)
    for indices in ([0], [12], [13, 11], [len(timeline) - 1], [3, 24, 4]):
        np.testing.assert_array_equal(read_frames(path, indices, timeline=timeline), whole.frames[indices])


def test_what_decord_does_not_do_is_refused(encode):
    for name in ("interlaced.mp4", "wide_pixels.mp4"):
        with pytest.raises(MediaError, match="decord gives wrong frames"):
            read_frames(encode(name, SHOWN_OTHERWISE[name]), [0], reader="decord")


@pytest.mark.parametrize("name", ["raw.h264", "raw.m2v"])
def test_streams_without_times(encode, name):
    path = encode(name, [*(X264 if name == "raw.h264" else CLIPS["mpeg2.ts"]), "-g", "12"])
    check_random(path, list(range(NUM_FRAMES)))


def test_a_jump_in_the_times_is_refused(encode):
    """A year between two frames of a small file."""
    later = ["-vf", "setpts='if(lt(N,3),N,N+25*86400*365)/25/TB'", "-fps_mode", "vfr"]
    with pytest.raises(MediaError, match="times of the frames jump"):
        read_timeline(encode("jump.mkv", [*X264, *later]))
