"""One run at a time in a folder, and no trace of those that were refused."""

import pytest
from easyanimate_core.errors import MediaError
from easyanimate_core.folder_lock import lock_folder


def test_a_second_run_is_refused_and_leaves_the_first_alone(tmp_path):
    with lock_folder(tmp_path / "run"):
        (tmp_path / "run" / "own").write_text("first")
        with pytest.raises(MediaError, match="Another run is at work"), lock_folder(tmp_path / "run"):
            pytest.fail("the second run began")
        with pytest.raises(MediaError, match="Another run is at work"), lock_folder(tmp_path / "run"):
            pytest.fail("the refused run took the lock with it")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["own"]
    with lock_folder(tmp_path / "run"):
        pass


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path, failure):
    with pytest.raises(failure), lock_folder(tmp_path / "a" / "b"):
        raise failure
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(failure), lock_folder(tmp_path / "mine"):
        raise failure
    assert list((tmp_path / "mine").iterdir()) == []


def test_what_cannot_be_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    for name, message in (
        ("file", "a file, not a folder"),
        ("file/below", "cannot be written"),
        ("n" * 300, "cannot be written"),
    ):
        with pytest.raises(MediaError, match=message), lock_folder(tmp_path / name):
            pytest.fail("it began")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
