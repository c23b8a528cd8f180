import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from easyanimate_core import MediaError, Video, media, picture
from easyanimate_core.metric import compute_psnr
from easyanimate_core.rate import constant_rate
from easyanimate_core.video import (
    read_embedded,
    read_image,
    read_mask,
    read_video,
    write_image,
    write_video,
)
from PIL import Image

COLOURS = np.array([[250, 20, 20], [20, 240, 30], [30, 60, 245], [240, 240, 240], [10, 10, 10]], np.uint8)


def make_clip(num_frames=6, height=64, width=96, fps=8.0):
    """A bright bar that moves one column of 16 pixels per frame on a coloured ground."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for index in range(num_frames):
        frames[index] = COLOURS[index % 3] // 4
        frames[index, :, 16 * (index % 5) : 16 * (index % 5) + 16] = (255, 255, 255)
    return Video(frames, fps)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if "part" in path.name]


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_round_trip(tmp_path, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    clip = make_clip()
    path = write_video(tmp_path / "deep" / "clip.mp4", clip)
    read = read_video(path, reader=reader)
    assert read.fps == pytest.approx(8)
    assert read.frames.shape == clip.frames.shape
    assert compute_psnr(clip.frames, read.frames).min() > 30
    assert leftovers(path.parent) == []


def test_the_same_frames_give_the_same_file(tmp_path):
    noise = np.random.default_rng(1)
    rows, columns = np.mgrid[:96, :96]
    discs = [np.hypot(rows - 48, columns - 10 - 2 * index) < 14 for index in range(16)]
    frames = np.stack(discs)[..., None] * 200.0 + noise.normal(20, 3, (16, 96, 96, 3))
    video = Video(frames.clip(0, 255).astype(np.uint8), 8)
    files: set[bytes] = set()
    for _ in range(6):
        # What lies in free memory differs each time, and must not matter.
        litter = [noise.integers(0, 255, size, np.uint8) for size in noise.integers(1, 60_000, 200)]
        del litter
        files.add(write_video(tmp_path / "clip.mp4", video).read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_colours_survive(tmp_path, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    frames = np.repeat(np.repeat(COLOURS, 32, axis=0)[None], 2, axis=0)[:, :, None].repeat(64, axis=2)
    read = read_video(write_video(tmp_path / "colours.mp4", Video(frames, 8)), reader=reader)
    assert np.abs(read.frames[:, 16::32].astype(int) - frames[:, 16::32]).max() <= 4


def test_file_plays_everywhere(tmp_path):
    path = write_video(tmp_path / "clip.mp4", make_clip())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index stands first, so that it plays while loading"


def test_odd_sizes_grow_by_one(tmp_path):
    clip = make_clip(height=33, width=65)
    read = read_video(write_video(tmp_path / "odd.mp4", clip))
    assert read.frames.shape == (6, 34, 66, 3)
    assert compute_psnr(clip.frames, read.frames[:, :33, :65]).min() > 30


@pytest.mark.parametrize("fps", [1, 8, 23.976, 30000 / 1001, 60])
def test_one_frame_and_many_rates(tmp_path, fps):
    read = read_video(write_video(tmp_path / "one.mp4", make_clip(num_frames=1, fps=fps)))
    assert read.frames.shape[0] == 1
    assert read.fps == pytest.approx(fps, rel=1e-4)


def test_max_frames(tmp_path):
    path = write_video(tmp_path / "clip.mp4", make_clip(num_frames=6))
    assert read_video(path, max_frames=4).frames.shape[0] == 4
    assert read_video(path, max_frames=100).frames.shape[0] == 6
    with pytest.raises(MediaError):
        read_video(path, max_frames=0)


def write_with(path, frames, *, codec="libx264", pts=None, rotation=None):
    """A file as other programs write it: any codec, any times, a rotation tag."""
    tick = Fraction(1, 8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = tick
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index if pts is None else pts[index], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if rotation is not None:
        set_rotation(path, rotation)
    return path


def set_rotation(path, degrees):
    """Write the display matrix of the track header; PyAV itself cannot."""
    matrices = {
        90: ((0, 1), (-1, 0)),
        180: ((-1, 0), (0, -1)),
        270: ((0, -1), (1, 0)),
    }
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    (a, b), (c, d) = matrices[degrees]
    values = (a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
    content[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)


@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (180, 2), (270, 1)])
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_rotation_tag_is_applied(tmp_path, degrees, quarters, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[:, :16, :16] = 255  # a mark in the upper left corner
    path = write_with(tmp_path / "phone.mp4", frames, rotation=degrees)
    expected = np.rot90(frames, quarters, axes=(1, 2))
    read = read_video(path, reader=reader).frames
    assert read.shape == expected.shape
    assert compute_psnr(expected, read).min() > 30


def test_irregular_times_become_a_constant_rate(tmp_path):
    frames = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 32 * 32 * 3).reshape(5, 32, 32, 3)
    # Ticks of 1/8 s: the third frame stays for four ticks.
    path = write_with(tmp_path / "vfr.mkv", frames, pts=[0, 1, 2, 6, 7])
    video = read_video(path)
    levels = [round(frame.mean() / 50) for frame in video.frames]
    seconds = (7 + 1) / 8
    assert len(levels) == pytest.approx(seconds * video.fps, abs=1)
    assert levels == sorted(levels)
    assert levels.count(2) > max(levels.count(level) for level in (0, 1, 3, 4))


def test_every_frame_of_h264_in_avi_is_read_in_its_order(tmp_path):
    clip = make_clip(num_frames=40)
    copy = tmp_path / "copy.avi"
    with av.open(str(write_with(tmp_path / "clip.mp4", clip.frames))) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        converter = BitStreamFilterContext("h264_mp4toannexb", source.streams.video[0], stream)
        for packet in source.demux(video=0):
            for converted in converter.filter(packet if packet.dts is not None else None):
                converted.stream = stream
                target.mux(converted)
    again = read_video(copy).frames
    assert len(again) == 40
    assert compute_psnr(clip.frames, again).min() > 20


def test_constant_rate():
    assert list(constant_rate([0.0], 8)) == [0]
    assert list(constant_rate([5.0, 5.04, 5.08, 5.12], 25)) == [0, 1, 2, 3]
    assert list(constant_rate([0, 0.033, 0.067, 0.1], 30)) == [0, 1, 2, 3]
    assert list(constant_rate([0, 1, 2, 6, 7], 1)) == [0, 1, 2, 2, 2, 2, 3, 4]
    assert list(constant_rate([0, 0.09, 0.2, 1.0], 5)) == [1, 2, 2, 2, 2, 3]


def test_missing_decord_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    path = write_video(tmp_path / "clip.mp4", make_clip())
    with pytest.raises(MediaError, match="pip install decord"):
        read_video(path, reader="decord")


def test_decord_is_refused_where_it_is_wrong(tmp_path):
    path = write_with(tmp_path / "clip.mkv", make_clip().frames, codec="mpeg4")
    with pytest.raises(MediaError, match="pyav"):
        read_video(path, reader="decord")
    assert read_video(path).frames.shape[0] == 6


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
@pytest.mark.parametrize("name", ["bad.mp4", "bad.png"])
def test_unreadable_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=name):
        (read_video if name.endswith("mp4") else read_image)(path)
    with pytest.raises(MediaError, match=name):
        read_embedded(path)


def test_missing_file(tmp_path):
    for read in (read_video, read_image, read_embedded):
        with pytest.raises(MediaError, match="no such file"):
            read(tmp_path / "none.mp4")


def test_a_cut_video(tmp_path):
    path = write_video(tmp_path / "clip.mp4", make_clip(num_frames=20))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(MediaError):
        read_video(path)


def test_a_file_without_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video"):
        read_video(path)


def test_manifest_of_a_video(tmp_path):
    manifest = {"prompt": '一个红色的圆形 "quoted" \\', "hashes": {f"file{index}": "a" * 64 for index in range(500)}}
    path = write_video(tmp_path / "clip.mp4", make_clip(), manifest=manifest)
    assert read_embedded(path) == manifest
    assert read_embedded(write_video(tmp_path / "plain.mp4", make_clip())) is None


def test_manifest_of_an_image(tmp_path):
    manifest = {"prompt": "一个红色的圆形", "seed": 3}
    frame = make_clip().frames[0]
    path = write_image(tmp_path / "image.png", frame, manifest=manifest)
    assert read_embedded(path) == manifest
    assert (read_image(path) == frame).all()
    assert read_embedded(write_image(tmp_path / "plain.png", frame)) is None


def test_a_foreign_comment_is_no_manifest(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = "holiday"
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert read_embedded(path) is None


def test_names_must_fit(tmp_path):
    with pytest.raises(MediaError, match=r"\.mp4"):
        write_video(tmp_path / "clip.avi", make_clip())
    with pytest.raises(MediaError, match=r"\.png"):
        write_image(tmp_path / "image.jpg", make_clip().frames[0])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MediaError, match="cannot be written"):
        write_video(tmp_path / "file" / "clip.mp4", make_clip())
    with pytest.raises(MediaError, match="cannot be written"):
        write_image(tmp_path / "file" / "image.png", make_clip().frames[0])


@pytest.mark.skipif(sys.platform == "win32", reason="the limit on file sizes is POSIX")
def test_a_full_disk_leaves_nothing(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from easyanimate_core import MediaError, Video
        from easyanimate_core.video import write_image, write_video
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        noise = np.random.default_rng(0).integers(0, 255, (8, 128, 128, 3), np.uint8)
        for write, name, content in ((write_video, "a.mp4", Video(noise, 8)), (write_image, "a.png", noise[0])):
            try:
                write(Path(sys.argv[1], name), content)
            except MediaError as error:
                print(error.message)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.count("cannot be written") == 2
    assert list(tmp_path.iterdir()) == []


def test_images_are_upright_and_rgb(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:2, :2] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png") == np.rot90(pixels, -1)).all()

    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == pixels[..., :1]).all()

    Image.fromarray((pixels[..., 0].astype(np.uint16) << 8) + 3).save(tmp_path / "grey16.png")
    assert (read_image(tmp_path / "grey16.png") == pixels[..., :1]).all()

    alpha = np.full((8, 16, 1), 255, np.uint8)
    alpha[0] = 0
    Image.fromarray(np.concatenate([pixels, alpha], axis=-1)).save(tmp_path / "clear.png")
    read = read_image(tmp_path / "clear.png")
    assert (read[0] == 0).all()
    assert (read[1:] == pixels[1:]).all()


def test_masks(tmp_path):
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[:, 16:] = 255
    assert (read_mask(write_image(tmp_path / "mask.png", frame)) == frame[None, ..., 0]).all()
    clip = Video(np.stack([frame, frame[:, ::-1]]), 8)
    mask = read_mask(write_video(tmp_path / "mask.mp4", clip))
    assert mask.dtype == np.uint8
    assert (mask == clip.frames[..., 0]).all()


def write_numbered(path, num_frames=60, fps=24.0):
    """Frames of a brightness of their own."""
    frames = np.empty((num_frames, 32, 48, 3), np.uint8)
    frames[:] = (10 + 4 * np.arange(num_frames, dtype=np.uint8))[:, None, None, None]
    return write_video(path, Video(frames, fps), crf=0)


def read_numbers(path, **options):
    return [round((frame.mean() - 10) / 4) for frame in read_video(path, **options).frames]


def test_a_part_of_a_video_at_another_rate(tmp_path):
    path = write_numbered(tmp_path / "a.mp4")
    assert read_numbers(path, start=0.5, max_frames=4) == [12, 13, 14, 15]
    assert read_numbers(path, fps=12) == list(range(0, 60, 2))
    assert read_numbers(path, fps=12, start=1, max_frames=3) == [24, 26, 28]
    assert read_numbers(path, fps=48, max_frames=6) == [0, 0, 1, 1, 2, 2]
    assert read_video(path, fps=12).fps == 12
    assert len(read_mask(path, start=1, max_frames=3)) == 3
    with pytest.raises(MediaError, match="has ended"):
        read_video(path, start=2.6)
    for wrong in ({"start": -1}, {"start": float("nan")}, {"fps": 0}, {"fps": float("inf")}):
        with pytest.raises(MediaError):
            read_video(path, **wrong)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_start_far_on_is_sought(tmp_path, suffix):
    path = write_numbered(tmp_path / "a.mp4", fps=4.0)
    if suffix == "ts":
        with av.open(str(path)) as source, av.open(str(tmp_path / "a.ts"), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "a.ts"
    assert read_numbers(path, start=10, max_frames=3) == [40, 41, 42]


def test_a_frame_that_stays_long_shows_at_a_start_within(tmp_path):
    frames = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 32 * 32 * 3).reshape(5, 32, 32, 3)
    path = write_with(tmp_path / "vfr.mkv", frames, pts=[0, 1, 20, 60, 61])
    whole = read_video(path)
    for start in (1.0, 4.0, 7.0):
        part = read_video(path, start=start, max_frames=2)
        first = round(start * whole.fps)
        assert (part.frames == whole.frames[first : first + 2]).all()


def test_a_transform_is_applied_as_frames_are_read(tmp_path):
    path = write_numbered(tmp_path / "a.mp4")
    assert read_video(path, max_frames=3, transform=lambda frame: frame[::2, ::2]).frames.shape == (3, 16, 24, 3)


def test_a_jump_in_the_times_is_bounded(tmp_path):
    """A year between two frames of a small file."""
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    path = write_with(tmp_path / "jump.mkv", frames, pts=[0, 1, 2, 8 * 86400 * 365])
    assert read_video(path, max_frames=10).frames.shape[0] == 10
    assert len(read_mask(path, max_frames=10)) == 10
    with pytest.raises(MediaError, match=r"jump\.mkv.*8,760 hours"):
        read_video(path)


def test_limits_of_memory_and_time(tmp_path, monkeypatch):
    path = write_numbered(tmp_path / "a.mp4")
    monkeypatch.setattr(media, "MAX_CLIP_BYTES", 10 * 32 * 48 * 3)
    assert len(read_video(path, max_frames=10).frames) == 10
    with pytest.raises(MediaError, match="too large"):
        read_video(path, max_frames=11)
    monkeypatch.setattr(picture, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(MediaError, match="48x32"):
        read_video(path)
    deadline = media.Deadline(path, seconds=-1)
    with pytest.raises(MediaError, match="too long"):
        deadline.check()


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    cases = {tmp_path: "a folder", Path("a\0b.mp4"): "no such file|null"}
    if sys.platform != "win32":
        loop = tmp_path / "loop.mp4"
        loop.symlink_to(loop)
        cases |= {loop: "no such file"}
        os.mkfifo(tmp_path / "pipe.mp4")
        cases |= {Path("/dev/zero"): "a device", tmp_path / "pipe.mp4": "a pipe"}
    for path, said in cases.items():
        for read in (read_video, read_image, read_mask, read_embedded):
            with pytest.raises(MediaError, match=said):
                read(path)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_lists_of_other_files_are_not_followed(tmp_path, text):
    other = write_video(tmp_path / "other.mp4", make_clip())
    (tmp_path / "a.mp4").write_text(text.format(other.name))
    with pytest.raises(MediaError, match="list of other files"):
        read_video(tmp_path / "a.mp4")


def test_names_that_look_like_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", make_clip()).rename(tmp_path / "http_a.mp4")
    path = tmp_path / ("http_a.mp4" if sys.platform == "win32" else "http:a%03d.mp4")
    (tmp_path / "http_a.mp4").rename(path)
    assert len(read_video(Path(path.name)).frames) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers of PyTorch are forked where that is possible")
def test_a_process_that_has_read_can_be_forked(tmp_path):
    path = write_video(tmp_path / "clip.mp4", make_clip())
    code = """
        import gc, os, sys
        from pathlib import Path
        from easyanimate_core.video import read_video
        for _ in range(3):
            read_video(Path(sys.argv[1]))
        child = os.fork()
        gc.collect()
        read_video(Path(sys.argv[1]))
        if child == 0:
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=True, timeout=60)  # noqa: S603
