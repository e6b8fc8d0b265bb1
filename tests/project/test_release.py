"""What a release needs besides the code: one version, a workflow of nox's sessions, texts whose links lead somewhere.

``nox -s release`` holds that the archives come out the same twice.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import greenzmq

ROOT = Path(__file__).parents[2]
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
#: The names of nox's sessions, and of those that run on each Python.
SESSIONS = {*re.findall(r"^@nox\.session.*\ndef (\w+)\(session", NOXFILE, re.MULTILINE)}
ON_EACH = {*re.findall(r"^@nox\.session\(python=PYTHONS\)\ndef (\w+)\(session", NOXFILE, re.MULTILINE)}
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEXTS = sorted([*ROOT.glob("*.md"), *GITHUB.rglob("*.md"), *GITHUB.rglob("*.yml")])


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


# --- the version ------------------------------------------------------------------------------------------------------


def test_the_version_stands_in_one_place():
    """In the package, and in nothing else that is built, or that builds."""
    version = re.compile(rf"(?<![\d.]){re.escape(greenzmq.__version__)}(?![\d.])")
    files = [*(ROOT / "greenzmq").rglob("*.py"), *ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "docs" / "conf.py"]
    files += [*ROOT.glob("*.md"), *WORKFLOWS]
    found = {
        path.relative_to(ROOT).as_posix(): len(version.findall(path.read_text(encoding="utf-8")))
        for path in files
        if path.name != "CHANGELOG.md"
    }
    assert {path: count for path, count in found.items() if count} == {"greenzmq/__init__.py": 1}


def test_the_changelog_ends_where_the_version_is():
    """Its newest part is of what is not released yet, or of this version; the parts below are of older ones."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *older = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert newest in {"Unreleased", greenzmq.__version__}

    def numbers(version: str) -> list[int]:
        return [int(number) for number in version.split(".")]

    versions = [numbers(version) for version in [greenzmq.__version__, *older]]
    assert versions == sorted(versions, reverse=True)


# --- the workflow -----------------------------------------------------------------------------------------------------


def jobs(path: Path) -> list[str]:
    """The text of each job."""
    _, _, text = path.read_text(encoding="utf-8").partition("\njobs:\n")
    return re.split(r"^  (?=\w)", text, flags=re.MULTILINE)[1:]


def listed(job: str, key: str) -> list[str]:
    """The values of a line such as ``key: [a, b]``."""
    found = re.search(rf"^ +{key}: \[(.*)\]$", job, re.MULTILINE)
    return re.findall(r"[\w.]+", found[1]) if found else []


JOBS = [job for path in WORKFLOWS for job in jobs(path)]


def test_the_workflow_calls_nox_alone():
    """Each job installs nox, and then runs one session: what is red there can be run anywhere."""
    assert len(JOBS) >= 3
    for job in JOBS:
        install, run = re.findall(r"^ +- run: (.*)$", job, re.MULTILINE)
        assert install == "python -m pip install nox"
        assert run.startswith("python -m nox -s ")


def test_the_workflow_calls_sessions_that_there_are():
    """And it leaves out none but those that take hours, or only measure."""
    called = set()
    for job in JOBS:
        (run,) = re.findall(r"nox -s (.*)$", job, re.MULTILINE)
        called |= {*listed(job, "session")} if "matrix.session" in run else {run}
        if "matrix.python" in run:
            assert {*listed(job, "session")} <= ON_EACH
            assert listed(job, "python") == PYTHONS
    assert called - SESSIONS == set()
    assert SESSIONS - called == {"bench", "fuzz", "smoke", "torture"}


@pytest.mark.parametrize("path", names(WORKFLOWS))
def test_actions_are_pinned_by_hash(path):
    """And the comment behind it says which release that is; one action has one hash."""
    text = (ROOT / path).read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
    assert len({*uses}) == len({use.partition("@")[0] for use in uses})


@pytest.mark.parametrize("path", names(WORKFLOWS))
def test_a_workflow_may_read_only(path):
    """It has no rights but to read the sources, and leaves no token in the checkout."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.findall(r"permissions:\n((?: +.*\n)+)", text) == ["  contents: read\n"]
    assert text.count("persist-credentials: false") == text.count("uses: actions/checkout@")


# --- the texts --------------------------------------------------------------------------------------------------------


def test_what_a_project_should_have_is_there():
    """Where people, package indexes and hosting services look for it."""
    files = ["CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"]
    files += [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml", "docs/stability.md"]
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("text", names(TEXTS))
def test_links_and_files_that_a_text_names_are_there(text):
    """Each link within the checkout, and each file of the checkout that stands in backquotes or in a sentence."""
    path = ROOT / text
    words = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", words)
    assert [link for link in links if not (path.parent / link).exists()] == []
    if text == "CHANGELOG.md":
        return  # of what was there
    files = re.findall(r"(?<![\w/])(?:(?:greenzmq|tests|docs|examples|\.github)/[\w/.-]+\.\w+|[A-Z_]+\.md)\b", words)
    assert [file for file in files if not (ROOT / file).exists()] == []
