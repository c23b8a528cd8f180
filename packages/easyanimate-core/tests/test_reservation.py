"""Two runs never take one name, nothing is replaced, nothing is left behind."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from easyanimate_core import RequestError
from easyanimate_core.reservation import check_name, reserve


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_free_names_are_given_and_nothing_stays(tmp_path):
    wanted = [tmp_path / "new" / "deep" / "a.mp4", tmp_path / "b.png"]
    with reserve(wanted) as paths:
        assert paths == wanted
        assert (tmp_path / "new" / "deep").is_dir()
    assert not list(tmp_path.iterdir())


def test_what_was_written_stays(tmp_path):
    with suppress(KeyboardInterrupt), reserve([tmp_path / "x" / "a.mp4", tmp_path / "y" / "b.mp4"]) as paths:
        paths[0].write_text("made")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["a.mp4"]


def test_files_are_not_replaced_unless_asked(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("precious")
    (tmp_path / "a-2.mp4").symlink_to("nowhere")
    with reserve([path, path]) as paths:
        assert [one.name for one in paths] == ["a-3.mp4", "a-4.mp4"]
    with reserve([path, path], overwrite=True) as paths:
        assert [one.name for one in paths] == ["a.mp4", "a-3.mp4"]
    assert names(tmp_path) == ["a-2.mp4", "a.mp4"]


def test_two_at_once_get_two_names(tmp_path):
    path = tmp_path / "a.mp4"
    for overwrite in (False, True):
        with reserve([path]) as first, reserve([tmp_path / "A.mp4", path], overwrite=overwrite) as second:
            assert first == [path]
            assert [one.name for one in second] == ["A-2.mp4", "a-3.mp4"]
    assert not list(tmp_path.iterdir())


def test_another_process_is_seen_and_a_killed_one_is_not(tmp_path):
    code = (
        "import sys; from pathlib import Path; from easyanimate_core.reservation import reserve\n"
        "with reserve([Path(sys.argv[1])]) as paths: print(paths[0].name, flush=True); sys.stdin.read()"
    )
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:  # noqa: S603
        assert process.stdout.readline() == "a.mp4\n"
        with reserve([path]) as paths:
            assert paths[0].name == "a-2.mp4"
        process.kill()
    with reserve([path]) as paths:
        assert paths[0].name == "a.mp4"
    assert not list(tmp_path.iterdir())


def test_a_number_shortens_a_long_name(tmp_path):
    path = tmp_path / ("名" * 83 + "x.mp4")
    path.write_text("there")
    with reserve([path]) as paths:
        assert paths[0].name == "名" * 83 + "-2.mp4"
        paths[0].write_text("fits")


def make_places(folder):
    (folder / "file").write_text("x")
    (folder / "loop").symlink_to("loop")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 252 + ".mp4", "too long"),
        ("名" * 84 + ".mp4", "256 bytes"),
        ("x" * 256 + "/a.mp4", "too long"),
        ("a\0.mp4", "without NUL"),
        ("file/a.mp4", "Not a directory|file is where a folder"),
        ("file/new/a.mp4", "Not a directory|file is where a folder"),
        ("loop/a.mp4", "symbolic links"),
        ("x/" * 2200 + "a.mp4", "too long"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there, and paths have other limits")
def test_names_that_cannot_be(tmp_path, monkeypatch, name, words):
    make_places(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=words):
        check_name(Path(name))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such devices")
def test_devices_are_no_files():
    with pytest.raises(RequestError, match="a device"):
        check_name(Path("/dev/null"))


def test_names_that_can_be(tmp_path):
    for name in ("a.mp4", "new/deep/a.mp4", "名" * 83 + ".mp4", "x" * 251 + ".mp4"):
        check_name(tmp_path / name)
    check_name(tmp_path)
