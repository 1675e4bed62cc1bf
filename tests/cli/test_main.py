"""The command line as a whole: help, errors, output, and the imports that it guards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumorboard import NOTICE, __version__
from tumorboard.cli.main import main
from tumorboard.errors import StorageError, TumorboardError, UsageError

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
QUIET_IMPORT = """
import os, sys
from tumorboard.cli import main

sys.path.insert(0, sys.argv[1])
main.guard_imports({"noisy": main._stderr_closed})
import noisy
os.write(2, b"afterwards")
print(noisy.answer)
"""
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


WRONG_PATHS = {
    "report NONE": 6,
    "compare NONE NONE2": 6,
    "evaluate NONE": 6,
    "evaluate NONE --data NONE2": 6,
    "evaluate --predictions NONE": 3,
    "audit NONE": 3,
    "split NONE --out OUT.csv": 3,
    "train NONE --out OUT": 3,
    "train NONE --out OUT --folds 2": 3,
    "predict NONE NONE2": 6,
    "explain NONE NONE2 --out OUT": 6,
    "export NONE --format onnx": 6,
    "combine NONE.keras NONE2.keras --out OUT.keras": 5,
    "serve NONE": 6,
    "ui NONE": 3,
}


def test_a_wrong_path_is_answered_before_anything_that_takes_seconds_is_imported(tmp_path: Path) -> None:
    slow = ("keras", "tensorflow", "sklearn", "scipy.stats", "scipy.sparse", "matplotlib", "onnxruntime")
    script = f"""
import sys
from tumorboard.cli.main import main
for command in sys.argv[1:]:
    print(command, main(command.split()), *(name for name in {slow} if name in sys.modules), sep=":")
"""
    ran = subprocess.run([sys.executable, "-c", script, *WRONG_PATHS], cwd=tmp_path, capture_output=True)
    answers = [f"{command}:{code}" for command, code in WRONG_PATHS.items()]
    assert ran.stdout.decode().splitlines() == answers, ran.stderr


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


def import_noisy(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    (folder / "noisy.py").write_text(module, "utf-8")
    command = [sys.executable, "-c", QUIET_IMPORT, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_a_module_writes_while_it_is_imported_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    done = import_noisy(tmp_path, 'import os; os.write(2, b"a note"); answer = 42')
    assert (done.stdout, done.stderr) == ("42\n", "afterwards")


def test_notes_of_matplotlib_are_not_shown(tmp_path: Path) -> None:
    """It has several for a home folder that it cannot write to."""
    script = "from tumorboard.cli import main; main.guard_imports({'matplotlib': main._own_folder})"
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; import matplotlib; matplotlib.get_configdir(); print(1)"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path / "file" / "below"), "TMPDIR": str(tmp_path)},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_failed_import_is_reported(tmp_path: Path) -> None:
    done = import_noisy(tmp_path, 'import os; os.write(2, b"NOTE".lower()); raise ValueError("the reason")')
    assert done.returncode == 1
    assert "ValueError: the reason" in done.stderr
    assert "note" not in done.stderr


EVALUATE = """
import sys
from tumorboard.cli import main, run_commands
from tumorboard.cli.options import write

def evaluate(options):
    write("results of \\u80ba\\udcff\\n" * 2000)

run_commands._evaluate = evaluate
sys.exit(main.main(["evaluate"]))
"""


PROGRESS = EVALUATE.replace(
    "def evaluate(options):",
    """
from tumorboard.progress import Console

def evaluate(options):
    Console().print("progress")
""",
)
NOTE = EVALUATE.replace(
    "def evaluate(options):",
    """
import os

def evaluate(options):
    with open("file", "w") as file:
        os.write(2, b"a note of a library")
""",
)


def shell(
    redirection: str, script: str = EVALUATE, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (">&-", "found it closed"),
        ("> /dev/full", "No space left on device"),
        ("| true; exit ${PIPESTATUS[0]}", "Broken pipe"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(redirection: str, reason: str) -> None:
    ran = shell(redirection)
    assert ran.returncode == StorageError.exit_code
    assert ran.stderr.startswith("tumorboard: ")
    assert reason in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "redirection",
    [
        "2>&-",
        "2>&- <&-",
        "2> /dev/full",
        "2> >(true)",  # a pipe whose reader has ended
    ],
)
def test_a_standard_error_that_cannot_be_written_changes_nothing(redirection: str) -> None:
    ran = shell(redirection, PROGRESS)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("results of") == 2000


def test_what_a_library_writes_to_a_closed_stream_goes_into_no_file(tmp_path: Path) -> None:
    assert shell("2>&- <&-", NOTE, cwd=tmp_path).returncode == 0
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_characters_that_the_encoding_lacks_are_escaped(encoding: str) -> None:
    ran = shell("", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ("\\u80ba" in ran.stdout) == (encoding != "utf-8")
    assert "\\udcff" in ran.stdout


@pytest.mark.parametrize("backend", ["nonsense", "jax"])
def test_a_backend_that_cannot_be_imported_is_one_line_even_twice(tmp_path: Path, backend: str) -> None:
    (tmp_path / "keras.py").write_text('raise ImportError("No such\\nbackend")')
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from tumorboard.cli import main, run_commands

def evaluate(options):
    try:
        import keras
    except main.UsageError:
        import keras

run_commands._evaluate = evaluate
sys.exit(main.main(["evaluate"]))
"""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert ran.returncode == UsageError.exit_code
    assert f"found KERAS_BACKEND={backend}: No such backend" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "flags",
    [
        *("--frames 3", "--class-map a=b", "--merge a=b", "--skip-bad", "--group-column x"),
        *("--group-by-folder", "--group-by-name x", "--groups-across-classes"),
    ],
)
@pytest.mark.parametrize("command", ["combine a.keras b.keras --out c.keras", "evaluate run"])
def test_flags_of_data_without_data_end_with_2(capsys: Capture, command: str, flags: str) -> None:
    assert main([*command.split(), *flags.split()]) == 2
    assert f"expected --data with {flags.split()[0]}, found none" in capsys.readouterr().err
