"""What is written works: code runs, commands exist with their options, hooks have pages, named tests exist."""

import inspect
import re
import shlex
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from easyanimate_cli.app import build
from easyanimate_core import StageContext, Video, hookspecs
from easyanimate_core.registry import load_plugins
from easyanimate_core.video import write_video
from easyanimate_data.preparation import score
from easyanimate_data.preparation.settings import FilterSettings
from house import ROOT

HOOKS = {name: hook for name, hook in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("ea_")}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [*sorted(ROOT.glob("*.md")), *PAGES[1:]]


def read(page):
    """A page with the files that it includes."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r'--8<-- "(.+?)"', lambda match: (ROOT / match[1]).read_text(encoding="utf-8"), text)


def blocks(page, language):
    """The code of a page; included files stand in blocks marked {.language}, which the formatter leaves alone."""
    fence = rf"^```(?:{language}|\{{\.{language}\}})\n(.*?)^```$"
    return re.findall(fence, read(page), flags=re.DOTALL | re.MULTILINE)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.usefixtures("demo_folder")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_code_of_a_page_runs(page):
    namespace = {"__name__": f"page_{page.stem}"}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), namespace)  # noqa: S102 (the project's own pages)


COMMANDS = sorted(
    {
        line.split("#")[0].strip().removeprefix("uv run ")
        for page in GUIDES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if re.match(r"(uv run )?ea ", line)
    }
    | {code for page in GUIDES for code in re.findall(r"`(ea [a-z]+(?: [a-z0-9-]+)+.*?)`", read(page))}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_their_options(command):
    words = shlex.split(command)[1:]
    found = build()
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    assert words or "list" in getattr(found, "commands", {"list"}), f"this is only a group: {command}"
    assert not (words and hasattr(found, "commands")), f"there is no such command: {command}"
    if words:  # a bare name in a sentence stands for the command with any options
        found.make_context(command, words)


def test_commands_are_found_on_the_pages():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("hook", HOOKS)
class TestHook:
    def test_has_an_example_in_its_docstring(self, hook):
        (example,) = re.findall(r"`(yield .+?)`", HOOKS[hook].__doc__)
        compile(f"def {hook}():\n    {example}", hook, "exec")

    def test_has_a_test(self, hook):
        tests = [path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/tests/**/*.py")]
        assert any(f"def {hook}(" in text for text in tests)

    def test_has_a_page_with_a_plugin_that_works(self, hook, tmp_path, monkeypatch):
        (code,) = blocks(ROOT / "docs" / "hooks" / f"{hook}.md", "python")
        module = f"page_of_{hook}"
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        plugins = load_plugins([EntryPoint(hook, module, "easyanimate")])
        assert not plugins.broken
        assert plugins.installed[0].provides
        assert f"hooks/{hook}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        assert f"hooks/{hook}.md" in (ROOT / "docs" / "plugin.md").read_text(encoding="utf-8")


def test_the_filter_on_its_page_is_short_and_scores_clips(tmp_path, monkeypatch):
    (code,) = blocks(ROOT / "docs" / "hooks" / "ea_filters.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) < 20
    (tmp_path / "page_filter.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load_plugins([EntryPoint("filter", "page_filter", "easyanimate")])
    monkeypatch.setattr(score, "load_plugins", lambda: plugins)
    write_video(tmp_path / "clip.mp4", Video(np.full((8, 32, 32, 3), 51, np.uint8), 8))
    (row,) = score.Score(FilterSettings(), StageContext(dataset=tmp_path), "light").open()([{"file_path": "clip.mp4"}])
    assert row["light_score"] == pytest.approx(0.2, abs=0.01)


def test_there_is_no_page_of_a_hook_that_is_gone():
    assert {page.stem for page in (ROOT / "docs" / "hooks").glob("*.md")} == set(HOOKS)


def test_every_page_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if page not in contents]


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#.*?)?\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_invariant_names_tests_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rules = re.split(r"^\d+\. ", text.split("## What must stay true")[1].split("\n## ")[0], flags=re.MULTILINE)[1:]
    assert len(rules) > 10
    for rule in rules:
        named = re.findall(r"`((?:tests|packages|plugins)/[\w/.-]*test_\w+\.py)(?:::(\w+))?`", rule)
        assert named, rule
        for file, function in named:
            assert (ROOT / file).is_file(), file
            assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), function
