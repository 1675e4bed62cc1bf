import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import PATHS
from tumorboard import run_folder, storage
from tumorboard.errors import ModelError, RunFolderError, StorageError
from tumorboard.run_folder import FolderInUse, RunFolder

CONTENDERS = 20

# Children are forked before the barrier opens, so that all try within microseconds. The winner holds the
# folder until every other one has written down what it was told.
CONTEST = """
import os, sys, time
from multiprocessing import get_context
from pathlib import Path
from tumorboard.errors import RunFolderError
from tumorboard.run_folder import locked
from tumorboard.run_folder import RunFolder

COUNT, root, answers = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
fork = get_context("fork")
barrier = fork.Barrier(COUNT)

def start(number):
    barrier.wait()
    try:
        with locked(RunFolder(root)):
            answers.joinpath(f"{number}.won").write_text(str(os.getpid()))
            while len(list(answers.iterdir())) < COUNT:
                time.sleep(0.01)
    except RunFolderError as error:
        answers.joinpath(f"{number}.lost").write_text(str(error))

children = [fork.Process(target=start, args=(number,)) for number in range(COUNT)]
for child in children: child.start()
for child in children: child.join(60)
"""

HOLDER = """
import sys, time
from pathlib import Path
from tumorboard.run_folder import locked
from tumorboard.run_folder import RunFolder

with locked(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(root: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "held\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_of_twenty_starts_at_once_one_wins_and_the_others_name_it(tmp_path: Path) -> None:
    kill(hold(tmp_path / "run"))  # whose note is still there, and must not be believed
    (tmp_path / "answers").mkdir()
    command = [
        sys.executable,
        "-c",
        CONTEST,
        str(CONTENDERS),
        str(tmp_path / "run"),
        str(tmp_path / "answers"),
    ]
    subprocess.run(command, check=True, timeout=120)
    answers = {path.name: path.read_text() for path in (tmp_path / "answers").iterdir()}
    won = [text for name, text in answers.items() if name.endswith(".won")]
    lost = [text for name, text in answers.items() if name.endswith(".lost")]
    assert (len(won), len(lost)) == (1, CONTENDERS - 1)
    told = f"is in use by process {won[0]} on {socket.gethostname()}; wait for it to end, or choose another"
    assert all(told in text for text in lost)


def test_lock_is_gone_after_kill(tmp_path: Path) -> None:
    child = hold(tmp_path)
    with (
        pytest.raises(RunFolderError, match=f"process {child.pid} on"),
        run_folder.locked(RunFolder(tmp_path)),
    ):
        pass
    kill(child)
    with run_folder.locked(RunFolder(tmp_path)):
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()


def test_lock_is_gone_after_an_error_and_after_the_end(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_folder.locked(RunFolder(tmp_path)):
        raise ZeroDivisionError
    with run_folder.locked(RunFolder(tmp_path)):
        pass
    assert not (tmp_path / ".holder.json").exists()


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("", "another process"),
        ("[]", "another process"),
        ('{"pid": 4, "host": "elsewhere"}', "process 4 on elsewhere"),
    ],
)
def test_a_holder_that_is_not_known_here_is_still_a_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str, said: str
) -> None:
    monkeypatch.setattr(run_folder.time, "sleep", lambda seconds: None)
    child = hold(tmp_path)
    (tmp_path / ".holder.json").write_text(note)
    with pytest.raises(RunFolderError, match=said), run_folder.locked(RunFolder(tmp_path)):
        pass
    kill(child)


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run_folder.locked(run):
        pass
    kept = [run.model("hand.writing"), run.root / "notes.writing.txt"]
    gone = [run.model("custom").with_name(".writing-custom.json"), run.cache / "x" / ".writing-view0-0.npy"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some")
    with run_folder.locked(run):
        assert [path.exists() for path in (*kept, *gone)] == [True, True, False, False]


def test_a_folder_of_other_files_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mine.writing").write_text("mine")
    with pytest.raises(RunFolderError, match="found other files there; choose another --out"):
        run_folder.locked(RunFolder(tmp_path)).__enter__()
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "mine.writing"]


def test_a_run_that_was_copied_without_hidden_files_is_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.fingerprint.parent.mkdir()
    run.fingerprint.write_text("{}")
    with run_folder.locked(run):
        pass


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with (
        pytest.raises(StorageError, match="run: File exists"),
        run_folder.locked(RunFolder(tmp_path / "run")),
    ):
        pass


def test_leftovers_that_cannot_be_removed_are_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    with run_folder.locked(run):
        pass
    run.metrics.with_name(".writing-metrics.json").write_text("half")

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StorageError, match="Permission denied"), run_folder.locked(run):
        pass


def test_checksums_are_those_of_the_finished_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.model("b").parent.mkdir()
    for name in ("b.keras", "a.json", ".writing-c.keras", ".writing-d.json"):
        (tmp_path / "models" / name).write_text(name)
    run_folder.write_checksums(run)
    expected = [
        f"{hashlib.sha256(name.encode()).hexdigest()}  models/{name}" for name in ("a.json", "b.keras")
    ]
    assert run.checksums.read_text().splitlines() == expected


def test_every_path_lies_inside_and_none_is_named_twice(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    named = [getattr(run, name) for name, value in vars(RunFolder).items() if isinstance(value, property)]
    named += [run.model("m"), run.model_spec("m"), run.history("m"), run.predictions("m", "test")]
    named += [run.figure("m"), run.state("m")]
    assert all(path.is_relative_to(tmp_path) for path in named)
    assert len(set(named)) == len(named)


def test_parts_are_held_beside_each_other_and_outlive_who_handed_them_out(tmp_path):
    run = RunFolder(tmp_path / "run")
    unfinished = run.model(f"{storage.TEMPORARY}-custom")
    with contextlib.ExitStack() as stack:
        with run_folder.locked(run):
            stack.enter_context(run_folder.locked_part(run, "custom"))
            storage.write_text(unfinished, "")
            with run_folder.locked_part(run, "pretrained"):
                for refused in (run_folder.locked(run), run_folder.locked_part(run, "custom")):
                    with pytest.raises(FolderInUse, match=f"process {os.getpid()} on"), refused:
                        pass
        with pytest.raises(FolderInUse), run_folder.locked(run):
            pass
        assert unfinished.exists()  # who has the part may be writing it
    with run_folder.locked(run):
        assert not unfinished.exists()


def leads_inside(folder, name):
    """The oracle: joined and resolved, it is an entry of the folder itself."""
    try:
        return (folder / name).resolve().parent == folder and bool(name)
    except (ValueError, OSError):  # NUL, or longer than the system allows
        return False


@settings(max_examples=100)
@given(st.lists(PATHS, min_size=100, max_size=100))
def test_of_ten_thousand_names_those_that_are_let_in_lie_in_the_folder(names):
    folder = Path("/run/models")
    for name in names:
        # What leads elsewhere on Windows alone.
        foreign = any(one in name for one in ("\\", ":")) or not name.strip(" .")
        expected = leads_inside(folder, name) and Path(name).name == name and not foreign
        assert run_folder.is_plain(name) == expected, name


def test_a_listed_name_that_leads_elsewhere_is_not_listed(tmp_path):
    run = RunFolder(tmp_path)
    run.checksums.write_text("aa  models/custom.keras\nbb  models/../custom.keras\ncc  models//etc/passwd\n")
    assert run_folder.read_checksums(run) == {"custom.keras": "aa"}


def test_a_model_file_is_compared_with_its_recorded_hash(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.model("custom").parent.mkdir()
    run.model("custom").write_bytes(b"a network")
    run_folder.write_checksums(run)
    hashes = run_folder.read_checksums(run)
    run_folder.verify(run.model("custom"), hashes)
    run.model("custom").write_bytes(b"A network")
    with pytest.raises(ModelError, match=r"custom\.keras is not the file that was trained"):
        run_folder.verify(run.model("custom"), hashes)
    run.model("other").write_bytes(b"a network")
    with pytest.raises(ModelError, match=r"other\.keras in the run's SHA256SUMS, found it not listed"):
        run_folder.verify(run.model("other"), hashes)


def test_a_name_in_the_hashes_that_leads_elsewhere_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("00  models/../custom.keras\n01  models/custom.keras\n")
    assert run_folder.read_checksums(RunFolder(tmp_path)) == {"custom.keras": "01"}


def test_a_model_is_a_file_of_the_one_format_that_is_loaded(tmp_path: Path) -> None:
    for name in ("model.h5", "model.keras"):
        (tmp_path / name).touch()
    run_folder.require_model_file(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"expected a \.keras file, found .*model\.h5; no other format"):
        run_folder.require_model_file(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"expected a model at .*other\.keras, found no file there"):
        run_folder.require_model_file(tmp_path / "other.keras")
