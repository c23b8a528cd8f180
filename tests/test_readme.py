"""The README and ARCHITECTURE.md: all packages and files are there, the first command works."""

import re
import shlex

import pytest
from easyanimate_cli.app import main
from easyanimate_core.video import read_video
from file_tree import insert_tree
from house import PACKAGES, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_file_tree_is_up_to_date():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert insert_tree(page) == page, "run: uv run just fmt"


def test_every_package_is_in_the_table():
    table = README.split("## Packages")[1].split("\n## ")[0]
    named = re.findall(r"\]\((?:packages|plugins)/([\w-]+)\)", table)
    assert sorted(named) == sorted(package.name for package in PACKAGES)


def test_the_first_command_makes_a_video(demo_folder, capsys):
    line = re.search(r"^uv run (ea run .*?)\s+#", README, flags=re.MULTILINE)[1]
    with pytest.raises(SystemExit) as leaving:
        main(shlex.split(line)[1:])
    assert not leaving.value.code
    path = demo_folder / capsys.readouterr().out.strip()
    assert path.suffix == ".mp4"
    assert read_video(path).frames.std() > 1
