import os
import subprocess
import sys

import pytest

from tumorboard import NOTICE, __version__
from tumorboard.cli.main import main
from tumorboard.errors import TumorboardError

HEAVY = (
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "sklearn",
    "scipy",
    "matplotlib",
    "numpy",
    "PIL",
    "rich",
    "pydantic",
)
COMMANDS = ("train", "tune", "demo", "combine", "predict", "explain", "export", "fetch")
Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example_and_the_notice(capsys: Capture, command: str) -> None:
    text = printed(capsys, command, "--help")
    assert f"  tumorboard {command} " in text.split("example:\n")[1]
    assert NOTICE in text
    for flag in ("--quiet", "--json", "--out"):
        assert flag in text


def test_help_names_every_command_and_every_exit_code(capsys: Capture) -> None:
    text = printed(capsys, "--help")
    assert NOTICE in text
    assert all(command in text for command in COMMANDS)
    codes = text.split("exit codes:")[1]
    kinds = [TumorboardError, *TumorboardError.__subclasses__()]
    assert all(f"{kind.exit_code}" in codes for kind in kinds)
    assert "143" in codes


def test_version(capsys: Capture) -> None:
    assert printed(capsys, "--version") == f"tumorboard {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import sys
from tumorboard.cli.main import main
try:
    main({arguments})
except SystemExit:
    pass
sys.stderr.write(",".join(name for name in {HEAVY} if name in sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert "usage: tumorboard" in ran.stdout
    assert ran.stderr == ""


def test_it_runs_as_a_command_where_terminals_are_narrow() -> None:
    script = "import sys; from tumorboard.cli.main import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", script, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert ran.returncode == 0
    assert NOTICE in ran.stdout
