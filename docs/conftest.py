"""Runs every code block of the pages, by Sybil. How a block is run stands in a comment above it, for example::

    <!-- run: in=pair; hubs=gevent,selector -->

- A ``python`` block is a program, run in a process of its own. It has to end by itself, with status 0 and nothing on
  standard error. What it prints has to be the ``text`` block that follows it, or else the comments behind its
  ``print`` calls.
- A ``console`` block is run by bash, line by line. Where output stands below a command, the command has to print that.
- A ``toml`` block has to be one, a ``diff`` block shows a change and is not run.
- All others are errors. ``…`` stands for any text, in every output.

What a comment may say:

``in=NAME``        the block is a part of a program: it takes the place of ``# here`` in ``_run/NAME.py``
``hubs=A,B``       run it once on each, which then stands in the place of ``greenzmq.gevent`` and ``"gevent"``
``file=NAME``      save it, in a folder that all blocks of a page share; with ``only`` it is not run by itself
``fails=ERROR``    it ends with this exception, whose message the last line of the ``text`` block has
``env=A=B``        an environment variable; several are separated by spaces
``tests``          pytest runs it, and all tests pass
``output=stderr``  what is compared is what it writes to standard error
``checkout``       the commands are run in a copy of the checkout, not in the page's folder
``grows=NAME``     each command but the first waits until this file has grown: another process writes it
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = 120
#: Hubs, and the namespace in which each is found.
NAMESPACES = {"uvloop": "asyncio"}
HIDDEN = re.compile(r"GREENZMQ_|PYTEST_|COV_")

#: What eventlet says of itself when it is imported.
DEPRECATED = re.compile(
    r"^[^\n]*EventletDeprecationWarning:.*?migration\.html\n\s*\n[^\n]*\n", re.DOTALL | re.MULTILINE
)

COMMENT = re.compile(r"<!-- run: ([^>]*?) -->\n\Z")
EXPECTED = re.compile(r"\A\n+(?:<!--.*?-->\n)?```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


GROWS = """
for _ in $(seq 600); do [ "$(stat -c %s {name})" -gt "$before" ] && break; sleep 0.1; done
sleep 0.5
before=$(stat -c %s {name})
"""


# --- finding the blocks -----------------------------------------------------------------------------------------------

_fences = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))


def find(document: Document) -> Iterable[Region]:
    """Each fenced block that is no directive of Sphinx's, and no expected output, with what is said of it."""
    for region in _fences(document):
        language = region.lexemes["language"].strip()
        if language.startswith("{"):
            continue
        if language == "text" and _expected_by_another(document.text[: region.start]):
            continue
        comment = COMMENT.search(document.text[: region.start])
        options = dict(_option(each) for each in comment[1].split(";")) if comment else {}
        after = EXPECTED.match(document.text[region.end :])
        parsed = {
            "language": language,
            "source": str(region.lexemes["source"]),
            "options": options,
            "expected": after[1] if after else None,
        }
        yield Region(region.start, region.end, parsed, run)


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition("=")
    return name, value


def _expected_by_another(before: str) -> bool:
    return re.search(r"^```\n+\Z", before, re.MULTILINE) is not None


# --- running them -----------------------------------------------------------------------------------------------------


def run(example: Example) -> str | None:
    """Run a block; what is wrong is returned, which Sybil shows without a traceback of this file."""
    block = example.parsed
    kinds = {
        "python": run_python,
        "console": run_console,
        "toml": lambda block, folder: tomllib.loads(block["source"]),
        "diff": lambda block, folder: None,
    }
    if block["language"] not in kinds:
        return f"a block is python, console, toml or diff, not {block['language']!r}"
    folder = example.namespace.setdefault("folder", None) or Path(tempfile.mkdtemp(prefix="greenzmq-docs-"))
    example.namespace["folder"] = folder
    try:
        kinds[block["language"]](block, folder)
    except AssertionError as error:
        return str(error)
    return None


def remove_folder(namespace: dict[str, Any]) -> None:
    if namespace.get("folder"):
        shutil.rmtree(namespace["folder"], ignore_errors=True)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not HIDDEN.match(name)}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "COLUMNS": "100", "PYTHONWARNINGS": "default", **more}


def run_python(block: dict[str, Any], folder: Path) -> None:
    options = block["options"]
    source = block["source"]
    if name := options.get("file"):
        (folder / name).write_text(source, encoding="utf-8")
    if "only" in options:
        compile(source, name, "exec")
        return
    if template := options.get("in"):
        source = fill(template, source)
    said = dict(pair.split("=", 1) for pair in options.get("env", "").split())
    for hub in options.get("hubs", "").split(","):
        program = on_hub(source, hub) if hub else source
        run_program(program, folder, block, {**said, **({"GREENZMQ_HUB": hub} if hub else {})}, hub)


def on_hub(source: str, hub: str) -> str:
    namespace = NAMESPACES.get(hub, hub)
    return source.replace("greenzmq.gevent", f"greenzmq.{namespace}").replace('"gevent"', f'"{namespace}"')


def run_command(
    command: list[str], folder: Path, environment: dict[str, str], stderr: int
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. When it is over, or its time is, nothing that it has started goes on."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # bash then ends its jobs, which are in groups of their own
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5)
            raise AssertionError(f"it has not ended within {SECONDS} seconds: {command[-1]}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def copy_checkout(folder: Path) -> Path:
    """A copy of the sources in the page's folder, so that commands may leave there what they like."""
    left_out = shutil.ignore_patterns(".*", "_build", "build", "dist", "*.egg-info", "*.so", "__pycache__")
    return Path(shutil.copytree(ROOT, folder / "checkout", ignore=left_out, dirs_exist_ok=True))


def fill(template: str, source: str) -> str:
    """The program of ``_run`` with the block in its place."""
    lines = []
    for line in (HERE / "_run" / f"{template}.py").read_text(encoding="utf-8").splitlines():
        if line.strip() == "# here":
            lines.append(textwrap.indent(source, line[: len(line) - len(line.lstrip())]))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def run_program(source: str, folder: Path, block: dict[str, Any], said: dict[str, str], hub: str) -> None:
    options = block["options"]
    is_test = "tests" in options
    path = folder / options.get("file", "test_it.py" if is_test else "program.py")
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, *(["-m", "pytest", "-q", "-p", "no:cacheprovider"] if is_test else []), str(path.name)]
    done = run_command(command, folder, environment(**said), stderr=subprocess.PIPE)
    done.stderr = DEPRECATED.sub("", done.stderr)
    told = f"on {hub or 'no hub in particular'}:\n{source}\n--- out\n{done.stdout}\n--- err\n{done.stderr}"
    if is_test:
        assert done.returncode == 0, told
        assert " passed" in done.stdout, told
    elif error := options.get("fails"):
        assert done.returncode, told
        last = done.stderr.strip().splitlines()[-1]
        assert error in last.partition(":")[0], told
        wanted = (block["expected"] or "").strip().splitlines()[-1:] or ["…"]
        assert same(wanted[0], last.replace(f"{folder}/", "")), told
    else:
        assert done.returncode == 0, told
        got = done.stderr if options.get("output") == "stderr" else done.stdout
        if options.get("output") != "stderr":
            assert done.stderr == "", told
        wanted = block["expected"] if block["expected"] is not None else commented(block["source"])
        is_same = same(wanted.strip(), got.replace(f"{folder}/", "").strip())
        assert is_same, f"{told}\n--- wanted\n{wanted}"


def commented(source: str) -> str:
    """What the comments behind the calls of `print` say is printed."""
    return "\n".join(re.findall(r"\bprint\(.*\)  # (.*)$", source, re.MULTILINE))


def same(wanted: str, got: str) -> bool:
    """Whether this is what was wanted, where ``…`` is any text."""
    pattern = r"(?s:.*?)".join(re.escape(part) for part in wanted.split("…"))
    return re.fullmatch(pattern, got) is not None


def run_console(block: dict[str, Any], folder: Path) -> None:
    """Run the commands of a block in one shell, and compare what each prints with what stands below it."""
    steps: list[tuple[str, list[str]]] = []
    for line in block["source"].splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps:
            steps[-1][1].append(line)
    assert steps, "no line begins with '$ '"
    mark = "--- the next command ---"
    script = ["set -m", "trap 'kill $(jobs -p) 2>/dev/null' EXIT", "before=0"]
    for command, _ in steps:
        if (name := block["options"].get("grows")) and command != steps[0][0] and not command.startswith("kill %"):
            script += [GROWS.format(name=name)]
        script += [command, f"echo; echo '{mark}'"]
    said = dict(pair.split("=", 1) for pair in block["options"].get("env", "").split())
    where = copy_checkout(folder) if "checkout" in block["options"] else folder
    done = run_command(["bash", "-c", "\n".join(script)], where, environment(**said), stderr=subprocess.STDOUT)
    outputs = DEPRECATED.sub("", done.stdout).split(mark)
    for (command, wanted), got in zip(steps, outputs, strict=False):
        text = "\n".join(line.rstrip() for line in got.strip("\n").splitlines()).strip()
        text = text.replace(f"{folder}/", "")
        if wanted:
            expected = "\n".join(line.rstrip() for line in wanted).strip()
            assert same(expected, text), f"$ {command}\n--- printed\n{text}\n--- wanted\n{expected}"
        else:
            assert not re.search("Traceback|command not found", text), f"$ {command}\n{text}"


pytest_collect_file = Sybil(
    parsers=[find], pattern="*.md", excludes=["_build/*", "_run/*"], teardown=remove_folder
).pytest()
