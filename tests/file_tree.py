"""Writes the file tree of ARCHITECTURE.md from what the files say of themselves: the first sentence of each.

Usage: python tests/file_tree.py; `just fmt` does it, and a test fails when the tree is out of date.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from house import PACKAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 100
"""Longest description; longer sentences end at a clause."""

BEGIN, END = "<!-- tree: written by tests/file_tree.py -->\n", "<!-- end of tree -->"

ROOT_ENTRIES = {
    "README.md": "what it is, how to begin",
    "ARCHITECTURE.md": "this page",
    "CONTRIBUTING.md": "the first change in ten minutes; how to add a model version",
    "pyproject.toml": "the workspace, and the configuration of every tool",
    "justfile": "the verbs: init fmt lint types test golden bench docs wheels",
    "mkdocs.yml": "the documentation website",
    "conftest.py": "the test option `--run-slow`",
    ".ci/run": "everything that must hold, from a clean clone",
    ".pre-commit-config.yaml": "what is checked before each commit",
}

FOLDERS = {
    "docs": "pages for users and plugin authors; their code runs in the tests",
    "examples": "one task per file",
    "templates/plugin": "starting point for a plugin of your own",
    "templates/network": "starting point for a transformer and a VAE of your own",
    "benchmarks": "scripts that measure, and dated results",
    "tests": "what spans packages",
    "tests/golden": "compares with numbers recorded from the original: `just golden`",
}


def first_sentence(path: Path) -> str:
    """What a Python, YAML or Markdown file says of itself, on one line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    paragraph = " ".join(text.lstrip("# ").split("\n\n")[0].split())
    sentence = re.split(r"\.(?:\s|$)", paragraph, maxsplit=1)[0]
    while len(sentence) > WIDTH and (cut := max(sentence.rfind(mark, 0, WIDTH) for mark in (": ", "; ", ", "))) > 0:
        sentence = sentence[:cut]
    return sentence


def list_folder(folder: Path, depth: int) -> list[tuple[str, str]]:
    """A row per Python file and recipe below a folder: indented name, description."""
    rows: list[tuple[str, str]] = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.suffix in {".py", ".yaml", ".md"} and path.name != "__init__.py":
            rows.append(("  " * depth + path.name, first_sentence(path)))
        elif path.is_dir() and (any(path.glob("*.py")) or path.name in {"recipes", "hooks"}) and path.name != "tests":
            init = path / "__init__.py"
            rows.append(("  " * depth + f"{path.name}/", first_sentence(init) if init.exists() else ""))
            rows += list_folder(path, depth + 1)
    return rows


def make_tree() -> str:
    """The whole tree as a code block."""
    rows = list(ROOT_ENTRIES.items())
    for package in PACKAGES:
        about = package.project["project"]["description"].rstrip(".")
        rows += [(f"{package.folder.relative_to(ROOT).as_posix()}/", about)]
        rows += list_folder(package.source, 1)
        if (package.source / "weights").is_dir():
            rows += [("  weights/", "the demo weights, in the original's folder layout")]
    for name, about in FOLDERS.items():
        rows += [(f"{name}/", about)]
        if not name.startswith("templates"):
            children = list_folder(ROOT / name, 1)
            nested = [child for child in children if child[0].strip() == "golden/"]
            rows += children[: children.index(nested[0])] if nested else children
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(["```text", *(f"{name.ljust(width)}{about}".rstrip() for name, about in rows), "```", ""])


def insert_tree(page: str) -> str:
    """The page with its tree made anew."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + make_tree() + END + rest.split(END)[1]


if __name__ == "__main__":
    page = ROOT / "ARCHITECTURE.md"
    page.write_text(insert_tree(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
