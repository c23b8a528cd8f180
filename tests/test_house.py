"""The rules of the house that no linter knows: names, sizes, what a package holds and declares."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
from house import PACKAGES, ROOT, find_imports, parse

MODULES = [path for package in PACKAGES for path in package.modules()]
BANNED = {"utils", "util", "helpers", "helper", "common", "misc"}
PRIVATE_ADAPTER = "diffusers_private.py"
NOT_IMPORTED = {
    "sentencepiece": "transformers' tokenizers read their files with it",
    "protobuf": "transformers' tokenizers read their files with it",
    "ftfy": "diffusers cleans prompts with it",
    "beautifulsoup4": "diffusers cleans prompts with it",
}
"""Dependencies that other libraries import."""
DISTRIBUTIONS = packages_distributions()
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def where(path):
    return path.relative_to(ROOT).as_posix()


def test_there_are_modules_to_look_at():
    assert len(PACKAGES) >= 8
    assert len(MODULES) > 80


def test_no_module_has_a_name_that_says_nothing():
    assert not [where(path) for path in MODULES if BANNED & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_files_stay_short():
    """Lengths at which a reader has lost the thread; below them, what reads best decides."""
    lengths = {where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > 500}


def test_functions_stay_short():
    def length(node):
        """Lines of the body; the original's argument lists, options of commands and docstrings may be long."""
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return body[-1].end_lineno - body[0].lineno + 1 if body else 0

    found = [(path, node) for path in MODULES for node in ast.walk(parse(path)) if isinstance(node, FUNCTIONS)]
    assert not [f"{where(path)}: {node.name} {length(node)}" for path, node in found if length(node) > 80]


def test_only_the_adapter_imports_what_diffusers_keeps_private():
    found = [
        f"{where(path)}: {module}.{name}"
        for path in MODULES
        if path.name != PRIVATE_ADAPTER
        for module, name in find_imports(parse(path))
        if module.split(".")[0] == "diffusers" and any(part.startswith("_") for part in (*module.split("."), name))
    ]
    assert not found
    assert len([path for path in MODULES if path.name == PRIVATE_ADAPTER]) == 1


def test_nothing_is_evaluated_or_unpickled():
    calls = [
        (path, node)
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec", "torch.load", "pickle.load"}
    ]
    unsafe = [f"{where(path)}:{node.lineno}" for path, node in calls if "weights_only=True" not in ast.unparse(node)]
    assert not unsafe


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
class TestPackage:
    def test_has_what_every_package_has(self, package):
        for name in ("README.md", "CHANGELOG.md", "pyproject.toml"):
            assert (package.folder / name).is_file(), name
        assert (package.source / "__init__.py").is_file()
        assert (package.source / "py.typed").is_file()
        assert list((package.folder / "tests").glob("test_*.py"))

    def test_its_changelog_knows_its_version(self, package):
        version = package.project["project"]["version"]
        assert f"## {version}" in (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")

    def test_is_built_by_uv_and_configures_no_tool(self, package):
        assert package.project["build-system"]["build-backend"] == "uv_build"
        assert "tool" not in package.project

    def test_bounds_its_siblings_on_both_sides(self, package):
        versions = {one.name: one.project["project"]["version"] for one in PACKAGES}
        for requirement in declared(package):
            name, bounds = re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?(.*)", requirement).groups()
            if name in versions:
                major, minor, _ = map(int, versions[name].split("."))
                assert bounds == f">={major}.{minor},<{major}.{minor + 1}", requirement

    def test_declares_what_it_imports(self, package):
        names = {name_of(requirement) for requirement in declared(package)}
        missing = {}
        for path in package.modules():
            for module, _ in find_imports(parse(path)):
                top = module.split(".")[0]
                if top in sys.stdlib_module_names or top == package.source.name:
                    continue
                if not names & distributions_of(top):
                    missing[top] = where(path)
        assert not missing

    def test_imports_what_it_declares(self, package):
        """By a statement, or by the name of a target, such as "transformers:T5Tokenizer"."""
        if package.name == "easyanimate":
            pytest.skip("installs its dependencies, no more")
        used = set(NOT_IMPORTED)
        for path in package.modules():
            tree = parse(path)
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            targets = [text for text in texts if isinstance(text, str) and re.fullmatch(r"[\w.]+:\w+", text)]
            for module in [*targets, *(module for module, _ in find_imports(tree))]:
                used |= distributions_of(re.split(r"[.:]", module)[0])
        assert not {name_of(requirement) for requirement in package.project["project"]["dependencies"]} - used


def name_of(requirement):
    return re.split(r"[\[<>=~! ;]", requirement)[0].lower()


def distributions_of(module):
    return {name.lower().replace("_", "-") for name in DISTRIBUTIONS.get(module, [module])}


def declared(package):
    project = package.project["project"]
    extras = project.get("optional-dependencies", {}).values()
    return [*project.get("dependencies", []), *(requirement for extra in extras for requirement in extra)]
