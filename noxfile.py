"""Every check of the project, each in an environment of its own: `nox --list` shows them.

`nox` runs what you want before a commit, and `nox -t full` runs the rest of what CI runs.
With `TRIO_WSCLIENT_PURE=1` in the environment, each session goes without the accelerator.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

# If it is set, each process of a test compiles everything that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests", "types", "lint"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PINNED = ("--constraint", "pins.txt")  # the head of that file says how to bring it up to date

# What old dependencies and frames in Python can change; all else is the same with them.
ROOMS = {
    "oldest": ["tests/http", "tests/net", "tests/connect", "tests/connection", "tests/client"],
    "pure": ["tests/protocol", "tests/connection", "tests/client", "tests/fuzz"],
}
SANITIZED = ("accelerator", "frames", "keys", "reader", "against_wsproto")  # tests of frames

FLAKE8_ASYNC = [
    "--select=ASYNC1,ASYNC2,ASYNC3,ASYNC4",  # 9 are opinions
    "--extend-ignore=ASYNC109",  # a timeout that is a parameter is part of what it is about
    "--startable-in-context-manager=_serve,run_websocket_client",
    # What the tests raise and cancel is looked at, and their clock is not real.
    "--per-file-ignores=tests/*:ASYNC102,ASYNC103,ASYNC104,ASYNC116,ASYNC124 docs/*:ASYNC124",
]

# What `nox -s soak -- NAME …` runs: the dependency groups it needs, and the command.
LONG_RUNS = {
    "load": (["test"], ["python", "tests/soak/soak_load.py", "--minutes=1"]),
    "cycles": (["test"], ["python", "tests/soak/soak_cycles.py"]),
    "cancels": (["test"], ["python", "tests/soak/soak_cancels.py"]),
    "wsproto": (["test"], ["python", "tests/protocol/test_against_wsproto.py"]),
    "fuzz": (["fuzz"], ["python", "tests/fuzz/run.py"]),
    "mutate": (["test", "mutate"], ["mutmut", "run"]),
    "peers": (["test", "peers"], ["python", "-P", "-m", "peers.run"]),
    "bench": (["bench"], ["python", "benchmarks/compare_clients.py"]),
}


def install(session: nox.Session, *groups: str, env: dict[str, str] | None = None) -> None:
    """Install the package as a user gets it, with these dependency groups, at pinned versions."""
    # What compares this library with others has its own pins.
    pinned = () if {"interop", "peers", "bench"} & {*groups} else PINNED
    session.install(".", *nox.project.dependency_groups(PYPROJECT, *groups), *pinned, env=env)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests on the interpreter that runs nox; on 3.11 with 100 % branch coverage."""
    install(session, "test")
    # Measuring doubles the time, and the code is the same on other interpreters.
    coverage = ["--cov", "--cov-fail-under=100"] if sys.version_info[:2] == (3, 11) else []
    env = {"COVERAGE_FILE": f"{session.cache_dir.absolute()}/coverage"}
    both = [["-m", "not slow", *coverage], ["-m", "slow", "-n", "auto"]]
    for arguments in [session.posargs] if session.posargs else both:
        session.run("pytest", *arguments, env=env)


@nox.session
def types(session: nox.Session) -> None:
    """The types: ours inside, and what a user's type checker sees."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "trio_wsclient", "--ignoreexternal")
    session.run("pyright", "tests/typing")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and what ruff, flake8-async and codespell know to be wrong."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"), *PINNED)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("flake8", *FLAKE8_ASYNC, "trio_wsclient", "docs", "tests/support", "noxfile.py")
    session.run("codespell")
    workflows = sorted(map(str, Path(".github/workflows").iterdir()))
    session.run("check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows)
    session.run("zizmor", "--offline", "--no-progress", "--quiet", *workflows)


@nox.session(tags=["full"])
@nox.parametrize(
    ("python", "variant"),
    [("3.12", "later"), ("3.13", "later"), ("3.11", "oldest"), ("3.13", "pure")],
    ids=["3.12", "3.13", "oldest", "pure"],
)
def matrix(session: nox.Session, variant: str) -> None:
    """The tests on later interpreters, with the oldest dependencies, and without C."""
    env = {"TRIO_WSCLIENT_PURE": "1"} if variant == "pure" else {}
    if variant == "oldest":  # which pip has no option for: this needs uv
        test = nox.project.dependency_groups(PYPROJECT, "test")
        session.install("--resolution=lowest-direct", ".", *test)
    else:
        install(session, "test", env=env)
    what = session.posargs or ["-m", "not slow", *ROOMS.get(variant, [])]
    session.run("pytest", *what, env=env)


@nox.session(python="3.13", tags=["full"])
def sanitize(session: nox.Session) -> None:
    """The accelerator under gcc's sanitizers, with a fuzz; `-- 600` for ten minutes of that."""
    if shutil.which("gcc") is None:
        session.skip("gcc is not here")
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all"
    install(session, "test", env={"CC": "gcc", "CFLAGS": f"{flags} -g", "LDFLAGS": flags})
    paths = [f"-print-file-name={name}" for name in ("libasan.so", "libubsan.so")]
    libraries = [str(session.run("gcc", path, external=True, silent=True)) for path in paths]
    env = {
        "LD_PRELOAD": " ".join(map(str.strip, libraries)),
        "PYTHONMALLOC": "malloc",  # so that the sanitizer sees each object by itself
        "ASAN_OPTIONS": "detect_leaks=0",  # The interpreter leaks; a test of ours looks for leaks.
    }
    session.run("pytest", *(f"tests/protocol/test_{name}.py" for name in SANITIZED), env=env)
    session.run("python", "tests/fuzz/fuzz_frames.py", *session.posargs, env=env)


@nox.session(tags=["full"])
def conformance(session: nox.Session) -> None:
    """The Autobahn suite without most long cases; `-- --cases 1-13` for all 517."""
    session.install("pip", ".", *PINNED)  # pip for kosoku, where there is no Python 2.7
    # 12 and 13 are of compression: these are all sizes of messages, with and without takeover.
    cases = session.posargs or ["--cases=1-7,9,10,12.1.*,13.1.1,13.1.8,13.4.1,13.4.8"]
    session.run("python", "tests/conformance/run.py", f"--cache={session.cache_dir}/suite", *cases)


@nox.session(tags=["full"])
def interop(session: nox.Session) -> None:
    """The client with servers and proxies that others wrote, plain and over TLS."""
    install(session, "test", "interop")
    session.run("pytest", "tests/interop", *session.posargs)


@nox.session(tags=["full"])
def soak(session: nox.Session) -> None:
    """2,000 connections with mixed traffic; `-- NAME …` for another of the long runs."""
    name, *arguments = session.posargs or ["load"]
    groups, command = LONG_RUNS[name]
    install(session, *groups)
    path = os.pathsep.join(str(Path("tests", folder).absolute()) for folder in ("", "support"))
    session.run(*command, *arguments, env={"PYTHONPATH": path})
    if name == "mutate":
        session.run("mutmut", "results")


@nox.session(tags=["full"])
def docs(session: nox.Session) -> None:
    """The pages, without a network and without a warning, and that no link inside is broken."""
    install(session, "docs")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "-q", "docs", "build/html")
    session.run("python", "docs/links.py", "build/html")


@nox.session(python="3.13")
def build(session: nox.Session) -> None:
    """An sdist and its wheels in `dist`, each tried; `-- frozen` tries one by PyInstaller."""
    if session.posargs[:1] == ["frozen"]:
        install(session, "frozen")
        for dist in session.posargs[1:]:
            wheel = ("--no-deps", "--no-index", f"--find-links={dist}", "trio-wsclient")
            session.install("--force-reinstall", *wheel)
        session.run("python", "tests/freeze.py")
        return
    install(session, "build")
    session.run("python", "tests/packages.py", "dist", *session.posargs)
