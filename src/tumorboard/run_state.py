"""What a run is doing: recorded by the process that works on it, and read by others without its lock."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tumorboard.errors import TumorboardError
from tumorboard.progress import Console, Work
from tumorboard.run_folder import Holder, RunFolder, read_holder, read_process
from tumorboard.storage import read_regular, write_disposable

_SECONDS = 1.0  # between two records; more where writing is slow, so that it takes a fiftieth of the time
_LONGEST = 1 << 20  # bytes of a record
_ELSEWHERE_SECONDS = 300.0  # after which a process of another machine that recorded nothing has ended


@contextlib.contextmanager
def recorded(run: RunFolder, console: Console) -> Iterator[None]:
    """Record the progress of the work in this block in the run folder, and the error that ends it.

    Within a block that is recorded, such as that of a cross-validation, nothing else is. A record that cannot
    be written is left out, and the work goes on.
    """
    if console.observer:
        yield
        return
    due, latest = 0.0, dict[str, Any]()
    error_line = ""

    def observe(work: Work, counts: str) -> None:
        nonlocal due
        latest.update(work=work, counts=counts)
        now = time.monotonic()
        if now >= due:
            write_disposable(run.progress, _content(work, counts))
            due = now + max(_SECONDS, 50 * (time.monotonic() - now))

    console.observer = observe
    try:
        yield
    except TumorboardError as error:
        error_line = str(error)
        raise
    except KeyboardInterrupt:
        error_line = "stopped by SIGINT"
        raise
    except BaseException as error:
        error_line = f"an unexpected failure: {type(error).__name__}"
        raise
    finally:
        console.observer = None
        content = _content(**latest) if latest else {"written": time.time()}
        if latest or error_line:  # without a step, the record of an earlier process stays
            write_disposable(run.progress, content | {"error": error_line})


def _content(work: Work, counts: str) -> dict[str, Any]:
    return {
        "written": round(time.time(), 2),
        "fraction": round(min(work.root.done, 1.0), 4),
        "elapsed": round(work.elapsed, 1),
        "left": None if work.left is None else round(work.left, 1),
        "at_most": work.ends_early,
        "task": f"{work.place()}{counts}".strip(),
        "phases": [
            {
                "title": row.title,
                "share": round(row.weight, 4),
                "fraction": round(min(row.done / row.weight, 1.0), 4),
                "ended": row.ended,
                "seconds": round(row.seconds, 1),
            }
            for row in work.rows
        ],
    }


Status = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes:
        status: "stopped" of a run that was begun, is not finished, and that no process works on.
        holder: The process that works on it.
        progress: The last record, as `recorded` writes it; empty if there is none.
    """

    status: Status
    holder: Holder | None
    progress: dict[str, Any]

    @property
    def error(self) -> str:
        """The line with which the last process ended; "" if it was not an error, or it was killed."""
        return str(self.progress.get("error", "")) if self.status == "stopped" else ""


def read_state(run: RunFolder) -> RunState:
    """Read the state of a run from its files; a damaged record counts as none."""
    holder, progress = read_holder(run) or read_process(run.job_process), _read_progress(run)
    if holder and not holder.local and time.time() - progress.get("written", 0.0) > _ELSEWHERE_SECONDS:
        holder = None
    status: Status = "running" if holder else "finished" if _is_complete(run) else "stopped"
    return RunState(status, holder, progress)


def _read_progress(run: RunFolder) -> dict[str, Any]:
    """Read the record, with every value of the kind that `_content` writes."""
    try:
        content = json.loads(read_regular(run.progress, _LONGEST))
        numbers = {key: _finite(content.get(key) or 0) for key in ("written", "fraction", "elapsed")}
        phases = [
            {
                "title": str(phase["title"]),
                **{key: _finite(phase[key]) for key in ("share", "fraction", "seconds")},
                "ended": bool(phase["ended"]),
            }
            for phase in content.get("phases", ())
        ]
        return {
            **numbers,
            "left": None if content.get("left") is None else _finite(content["left"]),
            "at_most": bool(content.get("at_most")),
            "task": str(content.get("task", "")),
            "phases": phases,
            "error": str(content.get("error", "")),
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _is_complete(run: RunFolder) -> bool:
    """Whether the last files of a run are there, and what it deletes at its end is not."""
    caches = (run.cache, RunFolder(run.root / "data").cache)
    written = os.path.isfile(run.report) and any(map(os.path.isfile, (run.metrics, run.audit)))
    return written and not any(map(os.path.exists, caches))


def is_run(run: RunFolder) -> bool:
    """Return whether a folder is that of a run, of several runs or of a search, begun or finished."""
    saved = os.path.isfile(run.checksums) and os.path.isdir(run.checksums.with_name("models"))
    # os.path, because the methods of a path raise where a folder may not be searched.
    return saved or any(map(os.path.isfile, (run.fingerprint, run.progress, run.job)))
