"""Every example runs with the demo weights and writes the files whose names it prints."""

import runpy
from pathlib import Path

import pytest
from easyanimate_core.video import read_image, read_video

ROOT = Path(__file__).parents[1]


@pytest.mark.usefixtures("demo_folder")
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert written
    for path in written:
        assert path.stem.startswith(example.stem)
        frames = read_image(path)[None] if path.suffix == ".png" else read_video(path).frames
        assert frames.std() > 1
