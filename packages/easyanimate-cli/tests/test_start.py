"""Ctrl-C at any moment, and standard streams that nobody reads: one line, the right exit code, what is made stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty")  # Windows has none

FAKE = Path(__file__).parents[2] / "easyanimate-core" / "tests" / "fake"
RUN = ("run", "-m", "fake", "a circle")
CODE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from easyanimate_cli.start import main
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these streams and signals are of POSIX")


def start(*args, code=CODE + "main()", **options):
    """Start `ea` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(FAKE), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, env=environment, text=True, **options)  # noqa: S603


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "module", ["typer", "easyanimate_core.registry", "easyanimate_fake", "easyanimate_cli.run", "rich.progress"]
)
def test_ctrl_c_while_something_is_imported(module):
    """The signal comes within the import of a module, and the import hides it as some libraries do."""
    code = f"""{CODE}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as error:
                raise ImportError("numpy.core failed to import") from error
sys.meta_path.insert(0, Finder())
main()
"""
    returncode, out, err = finish(start(*RUN, "-o", "new/x.mp4", code=code, stdout=-1, stderr=-1))
    assert (returncode, out, err) == (130, "", "Stopped. No unfinished file is left behind.\n")
    assert not list(Path().iterdir())


def test_ctrl_c_in_a_callback_is_not_lost():
    code = f"""{CODE}
import easyanimate_fake
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
original = easyanimate_fake.make_video
def make(request):
    Last()
    return original(request)
easyanimate_fake.make_video = make
main()
"""
    arguments = ("run", "-m", "fake", "slow", "--steps", 500, "-o", "x.mp4")
    returncode, out, err = finish(start(*arguments, code=code, stdout=-1, stderr=-1))
    assert (returncode, out) == (130, "")
    assert err.endswith("Stopped. No unfinished file is left behind.\n")
    assert "Exception ignored" not in err
    assert not list(Path().iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("args", [(*RUN, "-o", "x.mp4"), ("models",), ("--help",)])
def test_output_that_cannot_be_written(args):
    with Path("/dev/full").open("w") as full:
        returncode, _, err = finish(start(*args, stdout=full, stderr=-1))
    assert returncode == 2
    assert err.endswith("Error: Standard output cannot be written: No space left on device.\n")
    assert "Bug" not in err
    assert Path("x.mp4").exists() == (args[0] == "run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize(("args", "code"), [(("-o", "x.mp4"), 0), (("--sampler", "none"), 2)])
def test_errors_that_cannot_be_written(args, code):
    with Path("/dev/full").open("w") as full:
        returncode, out, _ = finish(start(*RUN, *args, stdout=-1, stderr=full))
    assert (returncode, out) == (code, "" if code else "x.mp4\n")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stream_that_is_closed(number):
    again = [sys.executable, "-c", CODE + "main()"]
    code = f"import os, sys; os.close({number}); os.execv({sys.executable!r}, {again!r} + sys.argv[1:])"
    returncode, out, err = finish(start(*RUN, "-o", "x.mp4", code=code, stdout=-1, stderr=-1))
    assert returncode == 0, err
    assert out == ("" if number == 1 else "x.mp4\n")
    assert bool(err) == (number != 2)
    assert [path.name for path in Path().iterdir()] == ["x.mp4"]


def test_a_reader_that_leaves_keeps_every_clip():
    with start(*RUN, "--num-videos", 3, "-o", "x.mp4", stdout=-1, stderr=-1) as process:
        assert process.stdout.readline() == "x-1.mp4\n"
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert sorted(path.name for path in Path().iterdir()) == ["x-1.mp4", "x-2.mp4", "x-3.mp4"]


@pytest.mark.skipif(sys.platform == "darwin", reason="names are always UTF-8 there")
def test_names_that_are_not_utf8():
    name = os.fsdecode(b"\xff\xfe.mp4")
    with start(*RUN, "-o", name, stdout=-1, stderr=-1) as process:
        out, err = process.stdout.buffer.read(), process.stderr.read()
    assert process.returncode == 0, err
    assert out == b"\xff\xfe.mp4\n"
    assert Path(name).is_file()
    assert finish(start("info", name, stdout=-1, stderr=-1))[0] == 0


def read_terminal(*args):
    """What `ea` shows on a terminal of 40 columns."""
    main, other = pty.openpty()
    process = start(*args, stdin=other, stdout=other, stderr=other)
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        shown += part
    assert process.wait(timeout=120) == 0, shown
    return shown.decode("utf-8", "replace").replace("\r\n", "\n")


def test_the_path_is_one_line_on_a_terminal():
    name = f"{'long' * 30}/{'name' * 30}.mp4"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read_terminal(*RUN, "-o", name)).replace("\r", "\n")
    assert f"\n{name}\n" in shown


def test_a_name_cannot_steer_a_terminal():
    shown = read_terminal(*RUN, "-o", "a\x1b]0;title\x07b.mp4")
    assert "\x1b]0;" not in shown
    assert "a\\x1b]0;title\\x07b.mp4" in shown


def test_a_pipe_beside_a_terminal_gets_the_path():
    main, other = pty.openpty()
    with start(*RUN, "-o", "x.mp4", stdout=-1, stderr=other) as process:
        os.close(other)
        assert process.stdout.read() == "x.mp4\n"
    assert process.returncode == 0
    os.close(main)


def test_two_runs_at_once_make_two_files():
    first, second = (
        start("run", "-m", "fake", "slow", "--seed", seed, "-o", "x.mp4", stdout=-1, stderr=-1) for seed in (1, 2)
    )
    results = [finish(process) for process in (first, second)]
    assert [returncode for returncode, _, _ in results] == [0, 0], results
    assert sorted(out for _, out, _ in results) == ["x-2.mp4\n", "x.mp4\n"]
    assert sorted(path.name for path in Path().iterdir()) == ["x-2.mp4", "x.mp4"]


def test_a_killed_run_leaves_its_name():
    process = start("run", "-m", "fake", "slow", "--steps", 500, "-o", "x.mp4", stdout=-1, stderr=-1)
    assert any(line.startswith("load 1/1") for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.communicate()
    assert finish(start(*RUN, "-o", "x.mp4", stdout=-1, stderr=-1))[1] == "x.mp4\n"
    assert [path.name for path in Path().iterdir()] == ["x.mp4"]
