"""Break one guarding line at a time and see whether the tests notice.

    python tools/mutants.py [WORD ...]      only mutants whose file or lines contain one of the words

mutants.toml lists the lines, what each is replaced with, and the tests that must fail then. They run in a
copy of this checkout. Mutants that live are printed; with more than one in twenty, the exit code is 1.
"""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.toml")
SOURCE = Path("src/tumorboard")
LEAST, CAUGHT = 0.95, "caught"
_PATIENCE = 1800  # seconds; a mutant may make the tests wait for ever
_FAILED = 1  # pytest's exit code; another one says that they did not run
_SLOW_IMPORTS = ("keras", "matplotlib.figure", "pydicom", "scipy.stats", "sklearn.ensemble")


@dataclass(frozen=True)
class Mutant:
    """One line that is replaced.

    Attributes:
        file: Below `SOURCE`.
        line: A text that occurs in the file exactly once.
        replacement: What stands there instead.
        tests: Arguments of pytest.
    """

    file: str
    line: str
    replacement: str
    tests: tuple[str, ...]


def read() -> list[Mutant]:
    """Read the list."""
    groups = tomllib.loads(LIST.read_text("utf-8"))["guard"]
    return [
        Mutant(group["file"], line, replacement, tuple(group["tests"]))
        for group in groups
        for line, replacement in group["mutants"]
    ]


def main(words: Sequence[str]) -> int:
    """Run the tests of every mutant; return the exit code."""
    mutants = [m for m in read() if not words or any(word in f"{m.file} {m.line}" for word in words)]
    for name in _SLOW_IMPORTS:  # once, instead of once per mutant
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        copy.mkdir()
        listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
        codes: dict[tuple[str, ...], int] = {}  # of the tests without a mutant
        alive = []
        for number, mutant in enumerate(mutants, start=1):
            if mutant.tests not in codes:
                codes[mutant.tests] = run(copy, mutant.tests)
            outcome = (
                try_out(copy, mutant) if codes[mutant.tests] == 0 else "NOT TRIED, its tests fail anyway"
            )
            print(f"{number}/{len(mutants)} {outcome}: {mutant.file}: {mutant.line[:60]!r}", flush=True)
            if outcome != CAUGHT:
                alive.append(mutant)
    caught = len(mutants) - len(alive)
    print(f"{caught} of {len(mutants)} mutants were caught")
    for mutant in alive:
        print(f"alive: {mutant.file}: {mutant.line!r} -> {mutant.replacement!r}, by {' '.join(mutant.tests)}")
    return int(caught < LEAST * len(mutants))


def try_out(copy: Path, mutant: Mutant) -> str:
    """Run the tests of a mutant; return the outcome."""
    path = copy / SOURCE / mutant.file
    sound = path.read_text("utf-8")
    path.write_text(sound.replace(mutant.line, mutant.replacement), "utf-8")
    try:
        code = run(copy, mutant.tests)
    finally:
        path.write_text(sound, "utf-8")
    return {_FAILED: CAUGHT, 0: "ALIVE"}.get(code, f"NOT TRIED, pytest ended with {code}")


def run(copy: Path, tests: Sequence[str]) -> int:
    """Run tests on the copy; return the exit code of pytest, as of a failed test if they do not end.

    A fork of this process, which has imported what takes seconds, but nothing of the copy.
    """
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silent, stream)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        sys.path[:0] = [str(copy / "src"), str(copy)]
        sys.dont_write_bytecode = True
        os._exit(pytest.main(["-x", "-q", "--no-cov", "-p", "no:cacheprovider", *tests]))
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
