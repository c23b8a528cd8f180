"""The packages of the workspace as the tests across packages look at them."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Package:
    """A folder below packages/ or plugins/."""

    folder: Path

    @property
    def name(self) -> str:
        """The distribution, such as `easyanimate-core`."""
        return self.folder.name

    @property
    def source(self) -> Path:
        """The import package."""
        return self.folder / "src" / self.name.replace("-", "_")

    @property
    def project(self) -> dict[str, Any]:
        """The whole pyproject.toml."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))

    def modules(self) -> list[Path]:
        """Its Python files, in order."""
        return sorted(self.source.rglob("*.py"))


PACKAGES = [Package(path.parent) for path in sorted(ROOT.glob("p[al][cu]*/*/pyproject.toml"))]


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def find_imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """All imports that run, as (module, name); the name is empty for `import module`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        yield from find_imports(node)
