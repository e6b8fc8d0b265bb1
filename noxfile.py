"""What is run against greenzmq, each in an environment of its own. ``nox --list`` shows the sessions.

Whatever runs greenzmq runs the wheel that users get: built from the sdist, once for each interpreter in a run of nox,
and installed. It never runs in the checkout's own folder, where Python would find the sources first.

The wheel has the compiled fast path where there is a compiler. What tests sockets runs both ways: with it, and without.

Arguments after ``--`` go to pytest, to the demo or to the benchmarks: ``nox -s tests -- -k multipart --hub gevent``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
DIST = tempfile.TemporaryDirectory(prefix="greenzmq-dist-")
#: The hashes of what `release` has built in this run of nox, by name: on each interpreter the sdist has to be the same.
RELEASED: dict[str, str] = {}

#: Runs greenzmq, or builds its wheel, without the compiled fast path.
WITHOUT_C = {"GREENZMQ_PURE": "1", "GREENZMQ_TEST_FAST_PATH": "pure Python"}
SOCKET_TESTS = ("sockets", "threads")
HUB_TESTS = ("hubs", "waiting", "sockets", "polling")
#: What shows in a few seconds that an installed greenzmq works.
RELEASE_TESTS = ("project/test_packaging.py", "sockets/test_messages.py", "sockets/test_timeouts.py")
CHECKS = "-fsanitize=address,undefined -fno-omit-frame-pointer -O1 -g"

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = True

# Whoever has pyenv has its interpreters, but on PATH only those that are switched on; nox looks no further.
if PYENV := os.environ.get("PYENV_ROOT"):
    OTHERS = map(str, Path(PYENV).glob("versions/3.*/bin"))
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *OTHERS])


# --- sessions ---------------------------------------------------------------------------------------------------------


@nox.session
def demo(session: nox.Session) -> None:
    """The demo on every runtime."""
    install(session, "all")
    leave_checkout(session)
    session.run("python", "-m", "greenzmq", "demo", *map(absolute, session.posargs))


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks on every runtime, with tables and plots: into ``benchmarks/``, unless arguments say otherwise."""
    install(session, "all")
    session.install(*nox.project.dependency_groups(PYPROJECT, "bench"))
    report = ROOT / "benchmarks"
    files = ("--json", report / "results.json", "--markdown", report / "README.md", "--plots", report / "plots")
    arguments = [absolute(argument) for argument in session.posargs] or ["--floors", *map(str, files)]
    leave_checkout(session)
    session.run("python", str(report), *arguments)


@nox.session(python=PYTHONS)
def smoke(session: nox.Session) -> None:
    """The demo on greenzmq's own few files: does one of the interpreters that the classifiers name run every hub?"""
    install(session, "all")
    sources = str(ROOT / "greenzmq")
    leave_checkout(session)
    session.run("python", "-m", "greenzmq", "info")
    session.run("python", "-m", "greenzmq", "demo", "--dir", sources)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests on this interpreter with every runtime, each on its usual loops."""
    install(session, "all", "test")
    run_tests(session)


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """The tests on every loop, on one of the interpreters that the classifiers name; one not there is an error.

    All of them run with the compiled fast path, and without.
    """
    install(session, "all", "test")
    run_tests(session, "--all-loops")
    run_tests(session, "--all-loops", env=WITHOUT_C)


@nox.session
def pure(session: nox.Session) -> None:
    """The wheel for every platform, without the extension, and the tests of sockets on it."""
    install(session, "all", "test", build=WITHOUT_C)
    run_tests(session, *(() if session.posargs else SOCKET_TESTS))


@nox.session
def sanitize(session: nox.Session) -> None:
    """The tests of sockets with the extension built for checks of addresses and of undefined behaviour, by gcc."""
    install(session, "all", "test", build={"CFLAGS": f"{CHECKS} -fno-sanitize-recover=all", "LDFLAGS": CHECKS})
    libraries = [
        session.run("gcc", f"-print-file-name=lib{name}.so", external=True, silent=True) for name in ("asan", "ubsan")
    ]
    environment = {
        "LD_PRELOAD": " ".join(str(library).strip() for library in libraries),
        # Leaks are counted by `references`: Python itself does not free all at its end.
        # Tests measure the memory that is left, in which ASan would keep much of what was freed.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:quarantine_size_mb=8",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # Python's own allocator would hide what is read beyond an object
    }
    # That one limits the address space, of which ASan takes terabytes.
    without = ("--deselect", "tests/sockets/test_pyobj.py::test_what_the_documentation_says_of_pickle")
    run_tests(session, *without, *(() if session.posargs else SOCKET_TESTS), env=environment)


@nox.session
def references(session: nox.Session) -> None:
    """A million of each operation of the compiled fast path, errors included: no object is kept or freed once more."""
    install(session)
    leave_checkout(session)
    session.run("python", str(ROOT / "tests" / "programs" / "references.py"), *session.posargs)


@nox.session
def tests_bare(session: nox.Session) -> None:
    """The tests where neither gevent nor eventlet is installed."""
    install(session, "cli", "test")
    runtimes = ("gevent", "eventlet", "uvloop")
    session.run(
        "python", "-c", "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))", *runtimes
    )
    run_tests(session, "--skip-missing-hubs")


@nox.session
def torture(session: nox.Session) -> None:
    """The long forms of the tests that have one: many minutes. $GREENZMQ_TORTURE is a factor for their length."""
    install(session, "all", "test")
    factor = os.environ.get("GREENZMQ_TORTURE", "1")
    run_tests(session, "-m", "torture", "-o", "faulthandler_timeout=3600", env={"GREENZMQ_TORTURE": factor})


@nox.session(python="3.11")  # for which the fuzzer has wheels
def fuzz(session: nox.Session) -> None:
    """A coverage-guided fuzzer on the ZAP handler: ten minutes, or $GREENZMQ_TORTURE times as long."""
    install(session)
    session.install(*nox.project.dependency_groups(PYPROJECT, "fuzz"))
    seconds = 600 * float(os.environ.get("GREENZMQ_TORTURE", "1"))
    leave_checkout(session)
    session.run("python", str(ROOT / "tests" / "fuzz" / "zap.py"), f"{seconds:.0f}", *session.posargs)


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """The tests with the oldest releases that pyproject.toml allows, on one of the interpreters of the classifiers."""
    pins = Path(DIST.name) / "lowest.txt"
    pins.write_text("\n".join(lowest_pins()))
    install(session, "all", "test", constraints=pins)
    session.run("python", "-m", "pip", "list")
    run_tests(session)


@nox.session
def clients(session: nox.Session) -> None:
    """Programs of others on greenzmq: all of them, or those that are named; all of them write docs/clients.md."""
    here = ROOT / "tests" / "clients"
    programs = nox.project.load_toml(here / "programs.toml")["programs"]
    wanted = [name for name in session.posargs if name in programs] or [*programs]
    install(session, constraints=here / "constraints.txt")
    needed = sorted({requirement for name in wanted for requirement in programs[name]})
    session.install("--constraint", str(here / "constraints.txt"), *needed)
    results = Path(session.create_tmp()).resolve() / "clients.json"
    leave_checkout(session)
    session.run("python", str(here), *(session.posargs or wanted), "--json", str(results))
    if not session.posargs:
        page = session.run("python", str(here / "table.py"), str(results), silent=True)
        (ROOT / "docs" / "clients.md").write_text(str(page), encoding="utf-8")


@nox.session
def trio_hub(session: nox.Session) -> None:
    """``examples/trio_hub``, a hub of another package: its own tests; greenzmq's of hubs, waits, sockets, pollers."""
    install(session, "all", "test")
    sources = Path(session.create_tmp()).resolve() / "trio_hub"
    # A copy, since setuptools builds among the sources.
    shutil.copytree(ROOT / "examples" / "trio_hub", sources, dirs_exist_ok=True)
    session.install(f"{sources}[test]")
    leave_checkout(session)
    session.run("pytest", "--config-file", str(sources / "pyproject.toml"), str(sources / "tests"))
    run_tests(session, "--hub", "trio", *(() if session.posargs else HUB_TESTS))


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into docs/_build: links within are checked, warnings are errors, and every code block is run."""
    install(session, "all")
    session.install(*nox.project.dependency_groups(PYPROJECT, "docs"))
    pages, site = ROOT / "docs", ROOT / "docs" / "_build"
    arguments = [absolute(argument) for argument in session.posargs] or [str(pages)]
    leave_checkout(session)
    session.run("python", "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", str(pages), str(site))
    # The blocks of a page share a folder, and are run in their order: each page in one process.
    workers = ("-n", str(os.cpu_count() or 1), "--dist", "loadfile")
    session.run("pytest", "-o", "faulthandler_timeout=170", "-p", "no:cacheprovider", *workers, *arguments)


@nox.session(python=PYTHONS)
def release(session: nox.Session) -> None:
    """Sdist, wheels, SBOM of the last commit, into dist/: built twice, installed with a compiler and without, tried."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "release"))
    scratch = Path(session.create_tmp()).resolve()
    shutil.rmtree(scratch)
    scratch.mkdir()
    epoch, archives = build_twice(session, scratch)
    session.run("twine", "check", "--strict", *map(str, archives))
    (sdist,) = (path for path in archives if path.name.endswith(".tar.gz"))
    compiled, pure = sorted((path for path in archives if path.suffix == ".whl"), key=has_c, reverse=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
    sources = scratch / sdist.name.removesuffix(".tar.gz")
    no_compiler = {"CC": str(shutil.which("false"))}
    python = install_alone(session, compiled, no_compiler)
    bill = bill_of_materials(session, python, sources, epoch)
    run_release_tests(session, python, sources, "compiled")
    for path, env, fast_path in (
        (sdist, {}, "compiled"),
        (sdist, no_compiler, "pure Python"),
        (pure, no_compiler, "pure Python"),
    ):
        run_release_tests(session, install_alone(session, path, env), sources, fast_path)
    publish([*archives, bill], ROOT / "dist")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: its rules and its format."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "--Werror", *map(str, Path("greenzmq/sockets").glob("_*.[ch]")))


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on greenzmq itself; mypy and pyright on users' programs against what is installed."""
    install(session, "all")
    session.install("nox", "pytest", *nox.project.dependency_groups(PYPROJECT, "types"))
    config = ("--config-file", str(ROOT / "pyproject.toml"))
    session.run("mypy", *config)
    programs = users_programs(Path(session.create_tmp()).resolve())
    leave_checkout(session)
    session.run("mypy", *config, *programs)
    session.run("pyright", "--pythonpath", str(Path(session.bin).resolve() / "python"), *programs)


# --- what they share --------------------------------------------------------------------------------------------------


def wheel(session: nox.Session, build: dict[str, str]) -> Path:
    """The wheel for the session's interpreter, built with these environment variables when it is first asked for."""
    tag = session.run_install("python", "-c", "import sys; print(sys.implementation.cache_tag)", silent=True)
    folder = Path(DIST.name) / "-".join([str(tag).strip(), *build])
    if not (wheels := list(folder.glob("*.whl"))):
        session.install("build")
        session.run_install("python", "-m", "build", "--outdir", str(folder), str(ROOT), silent=True, env=build)
        wheels = list(folder.glob("*.whl"))
    return wheels[0]


def has_c(path: Path) -> bool:
    """Whether there is an extension in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".so") for name in archive.namelist())


def install(
    session: nox.Session, *extras: str, constraints: Path | None = None, build: dict[str, str] | None = None
) -> None:
    """Install the wheel with `extras`, then it alone once more: pip takes an older build of the same version for it."""
    path = wheel(session, build or {})
    if not has_c(path) and build != WITHOUT_C:
        session.warn(f"{path.name} has no compiled fast path: is there a C compiler?")
    session.env["GREENZMQ_TEST_FAST_PATH"] = "compiled" if has_c(path) else "pure Python"
    options = ["--constraint", str(constraints)] if constraints else []
    wanted = f"greenzmq[{','.join(extras)}]" if extras else "greenzmq"
    session.install(*options, f"{wanted} @ {path.as_uri()}")
    session.install("--force-reinstall", "--no-deps", str(path))


def leave_checkout(session: nox.Session) -> None:
    """Go where `import greenzmq` finds nothing but the installed wheel, in this process and in those it starts."""
    elsewhere = Path(session.virtualenv.location).resolve() / "cwd"
    elsewhere.mkdir(exist_ok=True)
    session.chdir(elsewhere)


def build_twice(session: nox.Session, scratch: Path) -> tuple[str, list[Path]]:
    """The last commit's time, and its sdist and wheels: the same from two folders, of two users with other umasks."""
    git = ("git", "-C", str(ROOT))
    if session.run(*git, "status", "--porcelain", external=True, silent=True):
        session.warn("what is not committed is not in the release")
    epoch = str(session.run(*git, "log", "-1", "--format=%ct", external=True, silent=True)).strip()
    built = []
    for number, umask in enumerate((0o022, 0o077)):
        copy, archives = scratch / ("copy" * (number + 1)), scratch / f"dist-{number}"
        previous = os.umask(umask)
        try:
            session.run("git", "clone", "--quiet", str(ROOT), str(copy), external=True)
            for env in ({"GREENZMQ_PURE": "0"}, WITHOUT_C):
                session.run(
                    *("python", "-m", "build", "--outdir", str(archives), str(copy)),
                    env={"SOURCE_DATE_EPOCH": epoch, **env},
                    silent=True,
                )
        finally:
            os.umask(previous)
        built.append(sorted(archives.iterdir()))
    for path in (*built[0], *built[1]):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if RELEASED.setdefault(path.name, digest) != digest:
            session.error(f"{path} is not what was built before: compare it with the one of the other folder")
    return epoch, built[0]


def install_alone(session: nox.Session, archive: Path, env: dict[str, str]) -> str:
    """Install an sdist or a wheel where nothing else is, not even pip; return the Python there."""
    empty = Path(session.virtualenv.location).resolve() / "empty"
    python = str(empty / "bin" / "python")
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(empty))
    # Without the cache: pip would keep the wheel that it makes of an sdist, and take it for the next of this name.
    session.run(*pip_for(python), "--no-cache-dir", str(archive), env={"GREENZMQ_PURE": "0", **env})
    return python


def pip_for(python: str) -> tuple[str, ...]:
    """The session's own pip, which installs for another Python."""
    return "python", "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"


def bill_of_materials(session: nox.Session, python: str, sources: Path, epoch: str) -> Path:
    """The SBOM, in CycloneDX: greenzmq, and what was installed with it."""
    project, bill = sources.with_name("sbom.toml"), Path(f"{sources}.cdx.json")
    version = sources.name.partition("-")[2]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # The tool does not ask setuptools for what is dynamic.
    project.write_text(text.replace('dynamic = ["version"]', f'version = "{version}"'), encoding="utf-8")
    session.run(
        *("cyclonedx-py", "environment", "--output-reproducible", "--mc-type", "library"),
        *("--pyproject", str(project), "--output-file", str(bill), python),
        env={"SOURCE_DATE_EPOCH": epoch},
    )
    return bill


def run_release_tests(session: nox.Session, python: str, sources: Path, fast_path: str) -> None:
    """A few of the sdist's own tests, on the hubs that need nothing else installed."""
    session.run(*pip_for(python), "pytest", "pytest-xdist")
    session.chdir(sources / "tests")
    session.run(
        *(python, "-m", "pytest", "-q", "-r", "fE", "-p", "no:cacheprovider", "-n", str(os.cpu_count() or 1)),
        *("--skip-missing-hubs", *(session.posargs or RELEASE_TESTS)),
        env={"GREENZMQ_TEST_INSTALLED": "1", "GREENZMQ_TEST_FAST_PATH": fast_path},
        external=True,
    )


def publish(files: list[Path], folder: Path) -> None:
    """Put files where a release is taken from, with their hashes beside them."""
    folder.mkdir(exist_ok=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)
        RELEASED[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    sums = (f"{digest}  {name}\n" for name, digest in sorted(RELEASED.items()))
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def users_programs(folder: Path) -> list[str]:
    """The programs of ``tests/typing``, in `folder`: the one on a namespace once for each of them."""
    programs = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "typing").glob("*.py")}
    on_gevent = programs.pop("namespace.py")
    for hub in PYPROJECT["project"]["entry-points"]["greenzmq.hubs"]:
        programs[f"namespace_{hub}.py"] = on_gevent.replace("greenzmq.gevent", f"greenzmq.{hub}")
    for name, program in programs.items():
        (folder / name).write_text(program, encoding="utf-8")
    return [str(folder / name) for name in programs]


def absolute(argument: str) -> str:
    """An argument that names a file of the checkout, as one that names it from elsewhere too."""
    path, *test = argument.partition("::")
    return "".join((str((ROOT / path).resolve()), *test)) if path and (ROOT / path).exists() else argument


def run_tests(session: nox.Session, *options: str, env: dict[str, str] | None = None) -> None:
    """Run pytest outside the checkout's own folder; fail if it ran no test, be it that all were skipped."""
    report = Path(session.virtualenv.location).resolve() / "tests.xml"
    report.unlink(missing_ok=True)
    arguments = [absolute(argument) for argument in session.posargs]
    session.chdir(ROOT / "tests")
    # The tests' own modules are compiled once, and not in each of some thousand processes.
    environment = {"GREENZMQ_TEST_INSTALLED": "1", "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
    # Tests wait about as long as they compute: with two processes for each core, and one more, few cores ever idle. The
    # slow ones stand together; the process that has got them is relieved of the rest of its share.
    workers = ("-n", str(2 * (os.cpu_count() or 1) + 1), "--dist", "worksteal")
    if session.run("pytest", f"--junit-xml={report}", *workers, *options, *arguments, env=environment) is None:
        return  # nox --install-only
    suite = ET.parse(report).getroot()[0].attrib
    if int(suite["tests"]) <= int(suite["skipped"]):
        session.error("no test was run")


def lowest_pins() -> list[str]:
    """The lower bound of each requirement as a pin, read where the bounds are declared."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    pins = []
    for line in (*project["dependencies"], *(line for extra in extras for line in extra)):
        requirement = Requirement(line)
        bounds = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
        if len(bounds) == 1:
            pins.append(f"{requirement.name}=={bounds[0]}")
        elif requirement.name != project["name"]:
            raise ValueError(f"pyproject.toml: {line!r} needs one lower bound, such as {requirement.name}>=1.0")
    return pins
