from pathlib import Path

import pytest
from easyanimate_core.atomic import atomic_folder, atomic_path, part_folder


def test_the_file_appears_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_path(path) as part:
        part.write_text("whole")
        assert part.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write():
        with atomic_path(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def list_names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fill(path, text, error=None):
    with atomic_folder(path) as part:
        assert part == part_folder(path)
        (part / "file.txt").write_text(text)
        if error is not None:
            raise error


def test_the_folder_appears_whole_and_replaces_an_older_one(tmp_path):
    path = tmp_path / "deep" / "folder"
    with atomic_folder(path) as part:
        (part / "other.txt").write_text("first")
        assert not path.exists()
    assert list_names(tmp_path / "deep") == ["folder", "folder/other.txt"]
    fill(path, "second")
    assert list_names(tmp_path / "deep") == ["folder", "folder/file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_folder_is_there(tmp_path, error):
    path = tmp_path / "folder"
    fill(path, "old")
    with pytest.raises(error):
        fill(path, "half", error)
    assert (path / "file.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    fill(path, "old")
    rename = Path.rename

    def refuse(self, target):
        if self.name.endswith(".part"):
            raise PermissionError("somebody looks at it")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        fill(path, "new")
    assert (path / "file.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_away(tmp_path):
    path, old = tmp_path / "folder", tmp_path / ".folder.old"
    fill(path, "old")
    path.rename(old)  # killed between the two renames
    part_folder(path).mkdir()
    (part_folder(path) / "half.txt").touch()
    with pytest.raises(ValueError, match="again"):
        fill(path, "half", ValueError("again"))
    assert (path / "file.txt").read_text() == "old"
    fill(path, "new")
    assert list_names(tmp_path) == ["folder", "folder/file.txt"]


@pytest.mark.parametrize("stem", ["x" * 251, "名" * 83])
def test_names_as_long_as_they_may_be(tmp_path, stem):
    path = tmp_path / f"{stem}.txt"
    with atomic_path(path) as part, atomic_path(path.with_name(f"{stem[:-1]}.txt")) as other:
        assert part != other
        part.write_text("whole")
        other.write_text("other")
    assert path.read_text() == "whole"
