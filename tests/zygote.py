"""Run the command many times, each in a process of its own, hit by a fault at an exact point.

TensorFlow takes seconds to import: this process imports it once and forks a child for each step. The child
then runs the command as if it had been started afresh; the parent never runs anything on TensorFlow.

    python -m tests.zygote PLAN.json REPORT.json

A step is {"argv": [...], "at": "batch" or "", "n": 3, "signals": [9], "limit": bytes or 0, "before": [...],
"after": [...]}: at the n-th event of that kind it sends itself the signals. Events: `batch` trained,
`predict` called, `fsync` before and `replace` before and `replaced` after a file gets its name, `saved` a
model, `any` of them. The commands are those of other programs, such as `mount`.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Step = dict[str, Any]

UNSHARED = ("unshare", "--map-root-user", "--mount")


def step(
    *argv: object,
    at: str = "",
    n: int = 0,
    signals: tuple[int, ...] = (signal.SIGKILL,),
    limit: int = 0,
    before: Sequence[Sequence[object]] = (),
    after: Sequence[Sequence[object]] = (),
) -> Step:
    return {
        "argv": list(map(str, argv)),
        "at": at,
        "n": n,
        "signals": list(map(int, signals)),
        "limit": limit,
        "before": [list(map(str, command)) for command in before],
        "after": [list(map(str, command)) for command in after],
    }


def run_steps(folder: Path, plan: Sequence[Step], mounts: bool = False) -> list[dict[str, Any]]:
    """Carry out the steps in a process of their own.

    Returns:
        Of each step its code, out, err, counts of events, and when each finished model of it was written.
        With `mounts`, commands before and after a step may mount what only they and the steps see.
    """
    files = folder / "plan.json", folder / "report.json"
    files[0].write_text(json.dumps(plan))
    command = [*(UNSHARED if mounts else ()), sys.executable, "-m", "tests.zygote", *map(str, files)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], timeout=7200, capture_output=True)
    results: list[dict[str, Any]] = json.loads(files[1].read_text())
    return results


def main(plan: Path, report: Path) -> None:
    _import_everything()
    results = []
    for one in json.loads(plan.read_text()):
        folder = Path(tempfile.mkdtemp(dir=report.parent))
        files = [folder / name for name in ("out", "err", "counts")]
        for command in one["before"]:
            subprocess.run(command, check=True)
        child = os.fork()
        if child == 0:
            _run(one, *files)  # ends the process
        _, status = os.waitpid(child, 0)
        out, err, counts = (file.read_text() if file.exists() else "" for file in files)
        for command in one["after"]:
            subprocess.run(command, check=True)
        results.append(
            {
                "code": os.waitstatus_to_exitcode(status),
                "out": out,
                "err": err,
                "counts": json.loads(counts or "{}"),
                "models": _finished_models(one["argv"]),
            }
        )
    report.write_text(json.dumps(results))


def _finished_models(argv: list[str]) -> dict[str, int]:
    run = Path(argv[argv.index("--out") + 1])
    models = run.glob("models/[!.]*.keras")
    return {file.name: file.stat().st_mtime_ns for file in models if file.with_suffix(".json").exists()}


def _import_everything() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tumorboard.workflows.build_models
    import tumorboard.workflows.report  # noqa: F401
    from tests.small_runs import add_tiny_backbone
    from tumorboard.training import feature_cache

    add_tiny_backbone()
    feature_cache._BATCH = 4  # so that computing features is many events


def _run(one: Step, out: Path, err: Path, counts: Path) -> None:
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    if one["limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (one["limit"], one["limit"]))
    seen = _plant(one)
    from tumorboard.cli.main import main as tumorboard

    code = tumorboard(one["argv"])
    if not one["limit"]:
        counts.write_text(json.dumps(seen))
    sys.exit(code)


def _plant(one: Step) -> Counter[str]:
    seen: Counter[str] = Counter()

    def event(kind: str) -> None:
        seen.update([kind, "any"])
        if one["at"] in (kind, "any") and seen[one["at"]] == one["n"]:
            for number in one["signals"]:
                os.kill(os.getpid(), number)

    def before(owner: Any, name: str, kind: str) -> None:
        _wrap(owner, name, lambda: event(kind), lambda: None)

    import keras

    from tumorboard.models import saving
    from tumorboard.training.checkpoint import Checkpoint

    before(Checkpoint, "on_train_batch_end", "batch")
    before(keras.Model, "predict_on_batch", "predict")
    before(os, "fsync", "fsync")
    _wrap(os, "replace", lambda: event("replace"), lambda: event("replaced"))
    _wrap(saving, "save", lambda: None, lambda: event("saved"))
    return seen


def _wrap(owner: Any, name: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    inner = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        before()
        result = inner(*args, **options)
        after()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
