"""Every check of the project, each in an environment of its own: `nox --list` tells."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

# Where it is set, each process of a test would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = [
    *("tests", "oldest", "pure", "types", "lint", "sanitize", "conformance", "interop"),
    *("soak", "docs"),
]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PINS = "pins.txt"  # the versions that all sessions have, but `oldest` and those that compare
PINNED = ("--constraint", PINS)
TEST = nox.project.dependency_groups(PYPROJECT, "test")
PYTEST = ("pytest", "-n", "auto")  # by as many processes as there are processors

SMOKE_TESTS = ["client/test_open.py", "protocol/test_frames.py", "cli/test_main_as_process.py"]
# They call the accelerator directly, or by a reader that is given bytes in pieces.
SANITIZED_TESTS = [
    f"tests/protocol/test_{name}.py"
    for name in ("accelerator", "frames", "keys", "reader", "against_wsproto")
]
ALL_CASES = "1-7,9,10,12,13"  # of the Autobahn suite

# Tests look at what is raised, stand in for others' functions, and their clock is not real.
OF_TESTS = ["ASYNC102", "ASYNC103", "ASYNC104", "ASYNC116", "ASYNC124", "ASYNC401"]
# On the command line, for flake8 takes codes of that length in no file.
FLAKE8_ASYNC = [
    "--select=ASYNC1,ASYNC2,ASYNC3,ASYNC4",  # 9 is left out: opinions that are off by default
    "--extend-ignore=ASYNC109",  # a timeout that is a parameter is part of what it is about
    "--startable-in-context-manager=_serve,run_websocket_client",
    f"--per-file-ignores=tests/*:{','.join(OF_TESTS)} docs/*:ASYNC124",
]

# Those that have to be there where CI is set, and the next one where it is found. Elsewhere nox
# skips the sessions of interpreters that are missing.
PYTHONS = ["3.11", "3.12", "3.13"]
if shutil.which("python3.14"):
    PYTHONS.append("3.14")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests; on the oldest interpreter with 100 % branch coverage of the package."""
    session.install(".", *TEST, *PINNED)
    # Measuring doubles the time, and the code is the same on the others.
    if session.python != PYTHONS[0] or session.posargs:
        session.run(*PYTEST, *session.posargs)
        return
    env = {"COVERAGE_FILE": f"{session.create_tmp()}/coverage"}
    session.run(*PYTEST, "--cov", "--cov-fail-under=100", env=env)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The tests with the oldest dependencies that pyproject.toml allows."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve to the lowest versions")
    session.install("--resolution=lowest-direct", ".", *TEST)
    session.run(*PYTEST, *session.posargs)


@nox.session(python="3.13")
def pure(session: nox.Session) -> None:
    """The tests without the accelerator."""
    env = install(session, "python", *TEST)
    session.run(*PYTEST, *session.posargs, env=env)


def install(session: nox.Session, frames: str, *dependencies: str) -> dict[str, str]:
    """Install with frames by the accelerator, or without it; return the variables to run with."""
    env = {"TRIO_WSCLIENT_PURE": "1"} if frames == "python" else {}
    session.install(".", *dependencies, *PINNED, env=env)
    session.run("trio-wsclient", "--version", env=env)
    return env


@nox.session(python="3.13", default=False)
@nox.parametrize("frames", ["c", "python"])
def variants(session: nox.Session, frames: str) -> None:
    """All that takes long, with the accelerator and without: some 50 minutes; not part of CI."""
    env = install(session, frames, *TEST, "pip")
    session.run(*PYTEST, env=env)
    session.run("python", "tests/soak/soak_cycles.py", env=env)
    session.run("python", "tests/protocol/test_against_wsproto.py", "200000", env=env)
    run_conformance(session, ALL_CASES, env)


@nox.session(python="3.13")
def sanitize(session: nox.Session) -> None:
    """The accelerator under gcc's AddressSanitizer and UndefinedBehaviorSanitizer, with a fuzz."""
    if shutil.which("gcc") is None:
        session.skip("gcc is not here")
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all"
    build = {"CC": "gcc", "CFLAGS": f"{flags} -g", "LDFLAGS": flags}
    session.install(".", *TEST, *PINNED, env=build)
    libraries = [
        str(session.run("gcc", f"-print-file-name={name}", external=True, silent=True)).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    env = {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",  # so that it sees each object by itself
        "ASAN_OPTIONS": "detect_leaks=0",  # The interpreter leaks; a test of ours looks for leaks.
    }
    session.run("pytest", *SANITIZED_TESTS, env=env)
    session.run("python", "tests/fuzz/fuzz_frames.py", *session.posargs, env=env)


@nox.session
def types(session: nox.Session) -> None:
    """The types: ours inside, and what a user's type checker sees."""
    session.install(".", *nox.project.dependency_groups(PYPROJECT, "types"), *PINNED)
    session.run("mypy")
    session.run("pyright", "--verifytypes", "trio_wsclient", "--ignoreexternal")
    session.run("pyright", "tests/typing")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and what ruff, flake8-async and codespell know to be wrong."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"), *PINNED)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", *FLAKE8_ASYNC, "trio_wsclient", "tests", "docs", "noxfile.py")
    session.run("codespell")
    workflows = [str(path) for path in sorted(Path(".github/workflows").glob("*.yml"))]
    schema = "--builtin-schema=vendor.github-workflows"
    session.run("check-jsonschema", schema, *workflows)
    session.run("zizmor", "--offline", "--no-progress", "--quiet", *workflows)


@nox.session
def conformance(session: nox.Session) -> None:
    """The Autobahn suite, but for most of what takes long; `-- --cases 9` for other cases."""
    # 12 and 13 are of compression: these are short and long messages, with and without takeover.
    session.install("pip", ".", *PINNED)  # pip for kosoku, where there is no Python 2.7
    run_conformance(session, "1-7,9,10,12.1.*,13.1.*,13.4.*")


@nox.session(name="conformance-full", default=False)
def conformance_full(session: nox.Session) -> None:
    """All 517 cases of the Autobahn suite: 10 to 25 minutes; not part of CI."""
    session.install("pip", ".", *PINNED)
    run_conformance(session, ALL_CASES)


def run_conformance(session: nox.Session, cases: str, env: dict[str, str] | None = None) -> None:
    cache = str(session.cache_dir / "conformance")
    runner = "tests/conformance/run.py"
    session.run("python", runner, "--cache", cache, "--cases", cases, *session.posargs, env=env)


@nox.session
def interop(session: nox.Session) -> None:
    """The client against servers and proxies that others wrote, plain and over TLS."""
    session.install(".", *nox.project.dependency_groups(PYPROJECT, "test", "interop"))
    session.run("pytest", "tests/interop", *session.posargs)


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """The situations of the E tests, for this library and for the other two; not part of CI."""
    groups = nox.project.dependency_groups(PYPROJECT, "test", "peers")
    session.install(".", *groups)
    with session.chdir("tests"):
        session.run("python", "-m", "peers.run", *session.posargs, env={"PYTHONPATH": "support"})


@nox.session(python="3.13", default=False)
@nox.parametrize("frames", ["c", "python"])
def fuzz(session: nox.Session, frames: str) -> None:
    """All that reads a peer's bytes, by atheris; `-- --seconds 600` for longer, for each target."""
    env = install(session, frames, *nox.project.dependency_groups(PYPROJECT, "fuzz"))
    session.run("python", "tests/fuzz/run.py", *(session.posargs or ["--seconds=6"]), env=env)


@nox.session
def soak(session: nox.Session) -> None:
    """2,000 connections with mixed traffic, cancels and restarts: `-- 30` for as many minutes."""
    session.install(".", *TEST, *PINNED)
    minutes = session.posargs[0] if session.posargs else "2"
    session.run("python", "tests/soak/soak_load.py", f"--minutes={minutes}")


@nox.session(python="3.13")
def docs(session: nox.Session) -> None:
    """The pages, without a network and without a warning, and that no link inside is broken."""
    session.install(".", *nox.project.dependency_groups(PYPROJECT, "docs"), *PINNED)
    html = "build/html"
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "-q", "docs", html)
    session.run("python", "docs/links.py", html)


@nox.session(python="3.13", default=False)
def build(session: nox.Session) -> None:
    """An sdist and its wheels, checked, installed and tried; `-- all` runs all tests on each."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "build"), *PINNED)
    out = Path("dist").absolute()
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", f"--outdir={out}")
    (sdist,) = out.glob("*.tar.gz")
    for env in ({}, {"TRIO_WSCLIENT_PURE": "1"}):
        session.run("pip", "-q", "wheel", "--no-deps", f"--wheel-dir={out}", str(sdist), env=env)
    built = sorted(out.glob("*.whl"))
    session.run("twine", "check", "--strict", str(sdist), *map(str, built))
    session.run("check-wheel-contents", *map(str, built))
    for wheel in built:
        try_out(session, str(wheel), "python" if "none-any" in wheel.name else "c")
    # Without a compiler, the sdist installs all the same.
    try_out(session, str(sdist), "python", env={"CC": "false"})


def try_out(
    session: nox.Session, package: str, frames: str, env: dict[str, str] | None = None
) -> None:
    """Install into an empty environment, and run tests there, all of them if asked."""
    home = Path(session.create_tmp(), "empty").absolute()
    folder = home / ("Scripts" if os.name == "nt" else "bin")
    python = str(folder / "python")
    if session.venv_backend == "uv":
        session.run("uv", "-q", "venv", "--clear", str(home), external=True)
        install = ["uv", "-q", "pip", "install", f"--python={python}"]
    else:
        session.run("python", "-m", "venv", "--clear", str(home))
        install = [python, "-m", "pip", "-q", "install"]
    session.run(*install, package, env=env, external=True)
    code = "import trio_wsclient as t; print(t.IMPLEMENTATION, t.__file__)"
    told = str(session.run(python, "-P", "-c", code, external=True, silent=True))
    if not told.startswith(f"{frames} {home}"):
        session.error(f"{package}: {told}")
    session.run(str(folder / "trio-wsclient"), "demo", external=True)
    session.run(*install, *TEST, *PINNED, external=True)
    tests = ["."] if "all" in session.posargs else SMOKE_TESTS
    # Without the variable, the tests in CI fail if there is no accelerator.
    pure = {"TRIO_WSCLIENT_PURE": "1"} if frames == "python" else None
    with session.chdir("tests"):  # where `python -m trio_wsclient` does not find the source
        left_out = ("--ignore=interop", "--ignore=conformance")
        command = (str(folder / "pytest"), "-q", "-n", "auto", *left_out, *tests)
        session.run(*command, env=pure, external=True)


@nox.session(python="3.13", default=False)
def frozen(session: nox.Session) -> None:
    """A program frozen by PyInstaller has the accelerator; `-- dist` takes the wheel from there."""
    group = nox.project.dependency_groups(PYPROJECT, "frozen")
    session.install(*PYPROJECT["project"]["dependencies"], *group, *PINNED)
    if session.posargs:
        (folder,) = session.posargs
        # The environment may have an earlier wheel of the same version.
        options = ("--force-reinstall", "--no-deps", "--no-index", f"--find-links={folder}")
        session.install(*options, "trio-wsclient")
    else:
        session.install(".")
    session.run("python", "tests/freeze.py")


@nox.session(default=False)
def pins(session: nox.Session) -> None:
    """Bring the pinned dependencies of all sessions but `oldest` up to date."""
    names = ("test", "types", "lint", "docs", "build", "mutate", "frozen")
    groups = [f"--group={name}" for name in names]
    command = ["uv", "pip", "compile", "--universal", "--python-version=3.11", "--upgrade"]
    command += ["--no-header", "--no-annotate", "pyproject.toml", *groups, "-o", str(PINS)]
    session.run(*command, external=True)


@nox.session(default=False)
def cycles(session: nox.Session) -> None:
    """10,000 times open, echo and close: nothing may be left of it."""
    session.install(".", *TEST, *PINNED)
    session.run("python", "tests/soak/soak_cycles.py", *session.posargs)


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """2,000 rounds of numbered messages and cancelled calls: no message may be lost or doubled."""
    session.install(".", *TEST, *PINNED)
    session.run("python", "tests/soak/soak_cancels.py", *session.posargs)


@nox.session(python="3.13", default=False)
def mutate(session: nox.Session) -> None:
    """What the tests of the layers without I/O would not notice, by mutmut: some 20 minutes."""
    env = {"TRIO_WSCLIENT_PURE": "1"}
    session.install(
        ".", *TEST, *nox.project.dependency_groups(PYPROJECT, "mutate"), *PINNED, env=env
    )
    session.run("mutmut", "run", *session.posargs, env=env)
    session.run("mutmut", "results", env=env)


@nox.session(python="3.13", default=False)
def bench(session: nox.Session) -> None:
    """This library's speed and memory next to those of others: some 20 minutes; not part of CI."""
    session.install(".", *nox.project.dependency_groups(PYPROJECT, "bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)
