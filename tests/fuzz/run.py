"""Fuzzes all that reads a peer's bytes, by atheris: ``run.py [--seconds 60] [TARGET ...]``.

Each target runs in a process of its own, for that many seconds. It ends with status 1, and shows
the input, if a target raises, takes more than 20 s for an input, or 2 GiB of memory. ``--keep``
adds the shortest inputs that have covered more than the inputs before to the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

_MAX_KEPT = 150  # inputs of a target
_LIMITS = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1"]


def fuzz(target: str, arguments: list[str]) -> None:
    """Be the process of a target; it does not return."""
    import atheris  # noqa: PLC0415 not for Windows, nor needed by what starts this

    with atheris.instrument_imports(include=["trio_wsclient", "wsproto", "h11"]):
        import targets  # noqa: PLC0415 as they are to be instrumented

    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[target])
    atheris.Fuzz()


def run(target: str, seconds: int, *, keep: bool) -> bool:
    """Fuzz a target; return whether nothing was found."""
    import seeds  # noqa: PLC0415 which imports what is to be instrumented

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        seeds.write(target, corpus)
        command = [sys.executable, __file__, "--in-process", target, *_LIMITS]
        artifacts = f"-artifact_prefix={folder}/found-"
        done = subprocess.run(
            [*command, f"-max_total_time={seconds}", artifacts, str(corpus)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            for file in folder.glob("found-*"):
                print(f"{target}: {file.name}: {file.read_bytes().hex()}")
            return False
        runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{target}: {runs[0].split()[-1]} inputs in {seconds} s, nothing found", flush=True)
        if keep:
            seeds.keep(target, corpus, _MAX_KEPT)
        return True


def main() -> int:
    tests = Path(__file__).parents[1]
    sys.path += [str(tests / "support"), str(tests / "protocol")]
    if sys.argv[1:2] == ["--in-process"]:
        fuzz(sys.argv[2], sys.argv[3:])
    import targets  # noqa: PLC0415 see `fuzz`

    from trio_wsclient import IMPLEMENTATION  # noqa: PLC0415

    parser = argparse.ArgumentParser(description="Fuzz all that reads a peer's bytes.")
    parser.add_argument("targets", nargs="*", default=[*targets.TARGETS], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    arguments = parser.parse_args()
    print(f"frames by {IMPLEMENTATION}", flush=True)
    outcomes = [run(target, arguments.seconds, keep=arguments.keep) for target in arguments.targets]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
