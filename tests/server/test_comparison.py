import json
import shlex

import pytest

from tumorboard.cli.main import _parser
from tumorboard.errors import DataError, RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server.comparison import setting_differences
from tumorboard.server.jobs import Job, Jobs
from tumorboard.server.workspace import Workspace

from .test_jobs import PROGRAM


def fingerprinted(folder, seed, files=2):
    run = RunFolder(folder)
    run.fingerprint.parent.mkdir(parents=True)
    content = {
        "settings": {"seed": seed, "image.size": 224},
        "environment": {"keras": "3.15.1"},
        "files": {f"{number}.png": ["test" if number else "train", "a", "", "0"] for number in range(files)},
    }
    run.fingerprint.write_text(json.dumps(content))
    return run


@pytest.fixture
def jobs(root):
    jobs = Jobs(Workspace.of(root), PROGRAM)
    yield jobs
    for process in jobs._started:
        process.kill()
        process.wait()


def test_only_what_differs_is_listed(root) -> None:
    runs = [fingerprinted(root / "runs" / "a", 1), fingerprinted(root / "runs" / "b", 2, 3)]
    assert setting_differences(runs) == [
        {"name": "images", "values": ["2", "3"]},
        {"name": "test images", "values": ["1", "2"]},
        {"name": "seed", "values": ["1", "2"]},
    ]
    assert setting_differences(runs[:1] * 2) == []


def test_long_values_differ_in_their_middle(root) -> None:
    values = [f"{'a' * 200}{middle}{'b' * 200}" for middle in "xy"]
    runs = [fingerprinted(root / "runs" / value[200], value) for value in values]
    (row,) = setting_differences(runs)
    assert row["name"] == "seed"
    assert [len(value) for value in row["values"]] == [200, 200]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 99999, b'{"settings": 1}'])
def test_a_fingerprint_of_somebody_else_is_one_error(root, content) -> None:
    runs = [fingerprinted(root / name, 1) for name in ("a", "b")]
    runs[1].fingerprint.write_bytes(content)
    with pytest.raises(DataError, match="found none in b"):
        setting_differences(runs)


def test_a_comparison_is_begun_at_once_with_the_command_shown(jobs, root) -> None:
    runs = [fingerprinted(root / "runs" / name, 1) for name in ("a", "-b")]
    waiting = jobs.begin("first", Job(data="scans"))
    comparison = jobs.begin_comparison(runs)
    assert jobs.waiting() == [waiting]
    (process,) = jobs._started
    words = process.args[len(PROGRAM) :]
    assert words == ["compare", "runs/a", "runs/-b", "--out", f"comparisons/{comparison.root.name}"]
    assert shlex.split(jobs.command(comparison, jobs.read(comparison)).splitlines()[1])[1:] == words
    assert [str(run) for run in _parser().parse_args(words).run_folders] == ["runs/a", "runs/-b"]
    assert read_state(comparison).status == "running"
    assert jobs.begin_comparison(runs) == comparison  # as it runs already
    assert jobs._started == [process]
    process.kill()
    process.wait()
    assert read_state(comparison).status == "stopped"
    jobs.delete(comparison, comparison.root.name)
    assert not (root / "comparisons").exists()


def test_what_cannot_be_compared_makes_no_folder(jobs, root, tmp_path) -> None:
    runs = [fingerprinted(root / "runs" / name, 1) for name in ("a", "b")]
    (runs[1].root / "predictions").symlink_to(tmp_path)
    for refused in ([], runs[:1], runs, runs[:1] * 11):
        with pytest.raises((DataError, RunFolderError)):
            jobs.begin_comparison(refused)
    outside = RunFolder(root / "comparisons" / "x")
    outside.job.parent.mkdir(parents=True)
    outside.job.write_text(json.dumps({"kind": "compare", "runs": ["/etc", "runs/a"]}))
    with pytest.raises(DataError, match="below the folder"):
        jobs.resume(outside)
    assert jobs._started == []
