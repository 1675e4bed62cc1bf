"""What the routes of `tumorboard ui` share: the workspace, its queue, and the run whose models are loaded."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import HTTPException
from starlette.types import ASGIApp

from tumorboard.data.sandbox import SandboxPool
from tumorboard.errors import display
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server import app as run_app
from tumorboard.server.curves import learning_curves
from tumorboard.server.jobs import Jobs, error_of, queue_state, require_no_links
from tumorboard.server.server import return_memory
from tumorboard.server.uploads import UploadSlots, decoding_pool
from tumorboard.server.workspace import Workspace

T = TypeVar("T")
TICK_SECONDS = 1.0

OpenRun = Callable[[RunFolder], run_app.AppState]


@dataclass
class WorkspaceState:
    """What the routes share.

    Args:
        workspace: Where data and runs are.
        jobs: Starts and stops commands.
        open_run: Loads the models of a run.
    """

    workspace: Workspace
    jobs: Jobs
    open_run: OpenRun
    stopping: bool = False
    watchers: int = 0
    snapshot: list[dict[str, Any]] = field(default_factory=list)
    slots: UploadSlots = field(default_factory=UploadSlots)
    decoders: SandboxPool = field(default_factory=decoding_pool)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    opened: "OpenedRun | None" = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle_seconds: float = 600.0

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run what reads files, and would block the other requests."""
        return await run_app.run_in(self.threads, work)

    def stop(self) -> None:
        """End the streams of events, for which the server would wait."""
        self.stopping = True

    def close(self) -> None:
        """End threads and decoding processes, and free the models."""
        self.threads.shutdown()
        self.decoders.close()
        if self.opened:
            self.opened.state.close()

    def run(self, key: str) -> RunFolder:
        """Return the run of an id.

        Raises:
            HTTPException: 404: the workspace has none.
        """
        run = self.workspace.runs().get(key)
        if run is None:
            raise HTTPException(404, "the workspace has no such run; reload the page")
        return run

    def take_snapshot(self) -> list[dict[str, Any]]:
        """Describe all runs, the waiting ones and those that work included."""
        return [self.describe(key, run) for key, run in self.workspace.runs().items()]

    def describe(self, key: str, run: RunFolder) -> dict[str, Any]:
        """Describe the state of a run."""
        state, job, queued = read_state(run), self.jobs.read(run), queue_state(run)
        status = "waiting" if queued == "waiting" else state.status
        return {
            "id": key,
            "name": display(self.workspace.relative(run.root) or self.workspace.root.name, 1000),
            "kind": job.kind if job else "train",
            "data": (" and ".join(job.runs) or job.data) if job else "",
            "status": status,
            "begun": bool(state.progress) or run.log.exists() or run.fingerprint.exists(),
            "error": error_of(run) if status == "stopped" else "",
            "begun_here": job is not None,
            "left_waiting": queued == "abandoned",
            "report": run.report.is_file(),
            "models": run.checksums.is_file(),
            "local": state.holder is None or state.holder.local,
            **({"curves": learning_curves(run)} if status == "running" else {}),
            **{name: value for name, value in state.progress.items() if name not in ("error", "written")},
        }

    async def open(self, key: str) -> "OpenedRun":
        """Return a run with its models, which are loaded unless they are; those of another run are freed."""
        async with self.opening:
            if self.opened and self.opened.key == key and self.opened.is_current():
                self.opened.used = time.monotonic()
                return self.opened
            run = await self.run_in_thread(lambda: self.run(key))
            await self.close_models()
            await self.run_in_thread(lambda: require_no_links(run))
            stamp = _stamp(run)
            state = await self.run_in_thread(lambda: self.open_run(run))
            self.opened = OpenedRun(key, run, stamp, state, run_app.build(state))
            return self.opened

    async def close_models(self) -> None:
        """Free the models that are loaded, once the requests to them have been replied to."""
        before, self.opened = self.opened, None
        if before:
            while before.requests:
                await asyncio.sleep(TICK_SECONDS / 10)
            await self.run_in_thread(before.state.close)
            del before
            await self.run_in_thread(return_memory)

    async def close_idle_models(self) -> None:
        """Free the models that are loaded if nothing was asked of them for a while."""
        if self.opening.locked() or not self.opened or self.opened.requests:
            return
        if time.monotonic() - self.opened.used > self.idle_seconds:
            async with self.opening:
                await self.close_models()


@dataclass
class OpenedRun:
    """The run whose models are loaded.

    Args:
        key: Its id.
        run: Its folder.
        stamp: Of the list of its models when they were loaded.
        state: What its routes share.
        app: Its application.
        requests: How many are being replied to.
        used: When the last one came, by `time.monotonic`.
    """

    key: str
    run: RunFolder
    stamp: tuple[int, ...]
    state: run_app.AppState
    app: ASGIApp
    requests: int = 0
    used: float = field(default_factory=time.monotonic)

    def is_current(self) -> bool:
        """Return whether the folder still holds the run whose models were loaded."""
        return self.stamp == _stamp(self.run)


def _stamp(run: RunFolder) -> tuple[int, ...]:
    try:
        status = run.checksums.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
