"""Files as they come, good and bad, in one folder: each gives the row that docs/data.md says, none stops the run."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from easyanimate_data.preparation.table import read_table
from imageio_ffmpeg import get_ffmpeg_exe as find_ffmpeg

PAGE = Path(__file__).parents[4] / "docs" / "data.md"

pytestmark = pytest.mark.slow  # one of the files is huge


def ffmpeg(*words):
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", *map(str, words)], check=True)  # noqa: S603 (own words)


@pytest.fixture
def zoo(make_video, tmp_path):
    folder = tmp_path / "raw"
    good = make_video(folder / "good.mp4", [4])
    whole = good.read_bytes()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video, whatever its name says")
    (folder / "cut off.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "damaged.mp4").write_bytes(whole[:3000] + bytes(len(whole) - 6000) + whole[-3000:])
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=4", folder / "sound alone.mp4")
    ffmpeg("-i", good, "-f", "lavfi", "-i", "sine=440:d=4", "-c:v", "copy", folder / "with sound.mp4")
    ffmpeg("-display_rotation", "90", "-i", good, "-c", "copy", folder / "rotated.mp4")
    choose = "select='lt(t,2)+not(mod(n,2))'"
    ffmpeg("-i", good, "-vf", choose, "-fps_mode", "vfr", folder / "uneven rate.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=4096x2304:r=2:d=4", "-preset", "ultrafast", folder / "huge.mp4")
    ffmpeg("-i", good, "-vf", "crop=95:63", "-c:v", "ffv1", folder / "odd size.mkv")
    (folder / 'it\'s "quoted" 视频 %d.mp4').write_bytes(whole)
    (folder / "-i.mp4").write_bytes(whole)
    if os.name != "nt":
        (folder / "link.mp4").symlink_to(good)
        (folder / "link to nothing.mp4").symlink_to(folder / "gone")
    return folder


def test_every_file_gives_the_row_that_the_page_says(run_ea, zoo, tmp_path):
    out = tmp_path / "out"
    words = ["--set", "split.min_pixels=0", "--stages", "split,motion", "--min", "motion=0"]
    run_ea("prepare", zoo, "--out", out, *words)
    rows = {row["source"]: row for row in read_table(out / "clips.parquet")}
    assert set(rows) == {path.name for path in zoo.iterdir()}
    lines = re.findall(r"^\| `(.+?)` \| .+? \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: said for name, said in lines if name in rows}
    assert set(listed) == set(rows)
    for name, row in rows.items():
        if row["error"]:
            assert listed[name].strip("`") in row["error"], name
        else:
            assert listed[name] == f"a clip of {row['height']}x{row['width']}, {row['duration']:.1f} s", name
