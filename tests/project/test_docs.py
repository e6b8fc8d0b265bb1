"""The pages of docs/, as far as it shows without building them; ``nox -s docs`` builds them and runs their code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [path for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")] if path.relative_to(DOCS).parts[0] != "_build"]
#: Words that one reads in one sitting. The reference is for looking up.
MOST = 1500
#: What a page may say of how it is run: see docs/conftest.py.
OPTIONS = {"in", "hubs", "file", "only", "fails", "env", "tests", "output", "checkout", "grows"}


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(DOCS).as_posix() for path in paths]


@pytest.mark.parametrize("page", names([page for page in PAGES if "reference" not in page.parts]))
def test_a_page_is_short(page):
    """No page has more than 1,500 words, code apart."""
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(text.split()) <= MOST


@pytest.mark.parametrize("page", names(PAGES))
def test_every_page_is_reached(page):
    """Each page stands in the contents of one other."""
    stem = page.rpartition(".")[0]
    entries = []
    for path in PAGES:
        for contents in re.findall(r"```{toctree}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            folder = path.parent.relative_to(DOCS)
            lines = [line for line in contents.splitlines() if line and not line.startswith(":")]
            entries += [(folder / line).as_posix() for line in lines]
    assert entries.count(stem) == (stem != "index"), entries


@pytest.mark.parametrize("page", names([page for page in PAGES if page.suffix == ".md"]))
def test_every_link_leads_somewhere(page):
    """Each link within, to a page or a file of the repository, leads to what is there."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", (DOCS / page).read_text(encoding="utf-8"))
    assert [link for link in links if not ((DOCS / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", names([page for page in PAGES if page.suffix == ".md"]))
def test_comments_are_understood(page):
    """What a comment says of a block is known to what runs it, and stands right above the block."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for comment, after in re.findall(r"<!-- run:(.*?)-->\n(.*)\n", text):
        assert {each.strip().partition("=")[0] for each in comment.split(";")} <= OPTIONS
        assert after.startswith("```")


def test_every_known_hub_has_a_page():
    """A hub that comes with greenzmq has a page of its own, and a line in the table of runtimes."""
    from greenzmq.hubs import known_hubs

    table = (DOCS / "choose.md").read_text(encoding="utf-8").partition("\n\n**")[0]
    for hub in known_hubs():
        assert (DOCS / "hubs" / f"{hub.name}.md").exists()
        assert f"hubs/{hub.name}.md" in table


def test_every_difference_is_held_by_a_test():
    """Each line of the table of differences names files of tests that are there."""
    page = (DOCS / "differences.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(lines) >= 10
    for line in lines:
        named = re.findall(r"`(test_\w+\.py)`", line.split("|")[-2])
        assert named, line
        assert all([*DOCS.with_name("tests").rglob(name)] for name in named), line


def test_the_contract_is_as_small_as_it_says():
    """The pages count the methods that a backend has to have."""
    from greenzmq.hubs.base import Hub

    word = {8: "eight", 9: "nine"}[len(Hub.__abstractmethods__)]
    for page in ("writing-a-hub.md", "design.md"):
        assert re.findall(r"(\w+) methods", (DOCS / page).read_text(encoding="utf-8"))[0] == word


def test_files_that_the_pages_name_are_there():
    """A file of the checkout that a page names by its path exists."""
    kinds = r"(?:greenzmq|tests|benchmarks|examples|docs)/[\w/]+\.(?:py|md|json)"
    named = {
        (page, path) for page in names(PAGES) for path in re.findall(kinds, (DOCS / page).read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert sorted((page, path) for page, path in named if not (DOCS.parent / path).exists()) == []


def test_every_environment_variable_is_listed():
    """Those that the package reads, and no others."""
    import greenzmq

    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    read = {
        name
        for path in Path(greenzmq.__file__).parent.rglob("*.py")
        for name in re.findall(r"GREENZMQ_[A-Z]+(?:_[A-Z]+)*", path.read_text(encoding="utf-8"))
    }
    assert {*re.findall(r"^\| `(GREENZMQ_\w+)` \|", page, re.MULTILINE)} == read


@pytest.mark.parametrize(
    ("package", "page", "text"),
    [
        ("pyzmq", "README.md", "pyzmq, from {} on"),
        ("gevent", "docs/hubs/gevent.md", "from {} on"),
        ("eventlet", "docs/hubs/eventlet.md", "from {} on"),
    ],
)
def test_the_oldest_releases_are_those_of_the_metadata(package, page, text):
    """Where a page says from which release on, it says what pip goes by."""
    declared = re.findall(rf'"{package}>=([0-9.]+)"', (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert len(declared) == 1
    assert text.format(declared[0].removesuffix(".0")) in (DOCS.parent / page).read_text(encoding="utf-8")
