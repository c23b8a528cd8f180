"""Cuts a piece out of a video and encodes it anew with the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import errno
import subprocess
from typing import TYPE_CHECKING

from easyanimate_core.errors import MediaError, PluginError

if TYPE_CHECKING:
    from pathlib import Path

SHOWN_CHARACTERS = 300


def cut_clip(source: Path, out: Path, *, start: float, seconds: float) -> None:
    """Write seconds of a video as H.264 (veryfast, crf 22) and AAC; subtitles are left out, a rotation tag is applied.

    The same input gives the same file: one thread, no dates. (x264's macroblock tree is off because it depends on what
    lay in memory, see `easyanimate_core.video`.)

    Raises:
        MediaError: With what ffmpeg said.
        OSError: When the disk is full.
    """
    # What comes before -i seeks: to the very frame, because the pictures are encoded anew.
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-threads", "1", "-ss", f"{start:.6f}", "-i", str(source)]
    command += ["-t", f"{seconds:.6f}", "-map", "0:v:0", "-map", "0:a:0?", "-sn", "-dn", "-map_chapters", "-1"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "22", "-pix_fmt", "yuv420p", "-threads", "1"]
    # yuv420p has even sizes only: an odd last row or column goes.
    command += ["-x264-params", "mbtree=0", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-filter_threads", "1"]
    command += ["-c:a", "aac", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    command += ["-flags:a", "+bitexact", "-movflags", "+faststart", "-y", str(out)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603 (no shell)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.decode(errors="replace").split())
    if "No space left on device" in said or "Disk quota exceeded" in said:
        raise OSError(errno.ENOSPC, "No space left on device", str(out))
    raise MediaError(
        "ffmpeg could not cut the video.",
        received=f"{source}: {said[-SHOWN_CHARACTERS:] or f'exit code {done.returncode}'}",
        expected="a video that ffmpeg can decode",
    )


def find_ffmpeg() -> str:
    """The ffmpeg binary: that of imageio-ffmpeg, or the one that IMAGEIO_FFMPEG_EXE names.

    Raises:
        PluginError: When there is none.
    """
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise PluginError(
            "There is no ffmpeg.",
            received=str(error),
            expected="the binary in the package imageio-ffmpeg, or one named by IMAGEIO_FFMPEG_EXE",
            fix="pip install --force-reinstall imageio-ffmpeg, or install ffmpeg",
        ) from error
