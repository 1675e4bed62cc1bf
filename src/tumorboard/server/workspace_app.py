"""The routes of `tumorboard ui`: the page of a workspace, its API, and the page of one run that is open.

Every state is read from the files of the runs. The models of a run are loaded when its page is opened, those
of one run at a time.
"""

import asyncio
import contextlib
import html
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from tumorboard import NOTICE, __version__, config
from tumorboard.data.sandbox import SandboxPool
from tumorboard.errors import DataError, TumorboardError, display
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server import app as run_app
from tumorboard.server.jobs import Job, Jobs, error_of, read_log, require_no_links
from tumorboard.server.uploads import JSON, MAX_BYTES, UploadSlots, decode, decoding_pool, receive
from tumorboard.server.workspace import Workspace, run_id
from tumorboard.storage import read_regular

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 1 << 20
_TICK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
_MAX_TEXT = 1 << 20  # bytes of a text of a run that is shown
_LOG = logging.getLogger("uvicorn.error")
_THUMBNAIL = config.Image(size=96, resize="pad")


_NOT_OPENED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Not opened</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
<main><h1>The models of this run cannot be opened</h1><p class="problem">{reason}</p>
<p><a href="/">Back to all studies</a></p></main></html>"""


class NewStudy(BaseModel):
    """What the page sends to begin a study."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=60)
    job: Job


class NewAudit(BaseModel):
    """What the page sends to begin an audit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str = Field(max_length=1000)


class Deletion(BaseModel):
    """What the page sends to delete a run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=60, description="the last part of its name, as typed by the user")


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
    opened: "_OpenedRun | None" = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)

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
        waiting = self.jobs.waiting()
        return [self.describe(key, run, waiting) for key, run in self.workspace.runs().items()]

    def describe(self, key: str, run: RunFolder, waiting: list[RunFolder]) -> dict[str, Any]:
        """Describe the state of a run."""
        state, job = read_state(run), self.jobs.read(run)
        status = "waiting" if run in waiting else state.status
        return {
            "id": key,
            "name": display(self.workspace.relative(run.root) or self.workspace.root.name, 1000),
            "kind": job.kind if job else "train",
            "data": job.data if job else "",
            "status": status,
            "begun": bool(state.progress) or run.log.exists() or run.fingerprint.exists(),
            "error": error_of(run) if status == "stopped" else "",
            "resumable": job is not None,
            "report": run.report.is_file(),
            "models": run.checksums.is_file(),
            "local": state.holder is None or state.holder.local,
            **{name: value for name, value in state.progress.items() if name not in ("error", "written")},
        }

    async def open(self, key: str) -> "_OpenedRun":
        """Return a run with its models, which are loaded unless they are; those of another run are freed."""
        async with self.opening:
            if self.opened and self.opened.key == key and self.opened.is_current():
                return self.opened
            run = await self.run_in_thread(lambda: self.run(key))
            await self.close_models()
            await self.run_in_thread(lambda: require_no_links(run))
            stamp = _stamp(run)
            state = await self.run_in_thread(lambda: self.open_run(run))
            self.opened = _OpenedRun(key, run, stamp, state, run_app.build(state))
            return self.opened

    async def close_models(self) -> None:
        """Free the models that are loaded, once the requests to them have been replied to."""
        before, self.opened = self.opened, None
        if before:
            while before.requests:
                await asyncio.sleep(_TICK_SECONDS / 10)
            await self.run_in_thread(before.state.close)


@dataclass
class _OpenedRun:
    """The run whose models are loaded.

    Args:
        key: Its id.
        run: Its folder.
        stamp: Of the list of its models when they were loaded.
        state: What its routes share.
        app: Its application.
        requests: How many are being replied to.
    """

    key: str
    run: RunFolder
    stamp: tuple[int, ...]
    state: run_app.AppState
    app: ASGIApp
    requests: int = 0

    def is_current(self) -> bool:
        """Return whether the folder still holds the run whose models were loaded."""
        return self.stamp == _stamp(self.run)


def _stamp(run: RunFolder) -> tuple[int, ...]:
    try:
        status = run.checksums.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def build(state: WorkspaceState) -> FastAPI:
    """Build the application; `security.RequestGuard` goes around it."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(state))
        yield
        watching.cancel()
        state.close()

    app = run_app.new_application("Tumorboard workspace", lifespan)

    @app.exception_handler(DataError)
    @app.exception_handler(TumorboardError)
    async def expected_error(_request: Request, error: TumorboardError) -> Response:
        content = {"detail": str(error), "details": list(error.details[:20])}
        return Response(json.dumps(content), 422, media_type="application/json")

    run_app.add_static(app, "workspace_static", "workspace.html")
    run_app.add_static(app, "static", only=("page.css", "api.js", "dom.js"))
    _add_data(app, state)
    _add_runs(app, state)
    _add_events(app, state)
    _add_run_pages(app, state)
    return app


async def _watch(state: WorkspaceState) -> None:
    """Once a second start what waits, and look at the runs if a page shows them."""
    while True:
        try:
            await state.run_in_thread(state.jobs.tick)
            if state.watchers:
                state.snapshot = await state.run_in_thread(state.take_snapshot)
        except Exception:  # such as a folder that was deleted meanwhile; the queue must go on
            _LOG.exception("cannot look at the runs; trying again")
        await asyncio.sleep(_TICK_SECONDS)


async def _receive(request: Request, model: type[Model]) -> Model:
    """Receive a small JSON body.

    Raises:
        HTTPException: As `uploads.receive`; 422 not what the model describes.
    """
    content = await receive(request, [JSON], _MAX_BYTES)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"{where}: {first['msg']}" if where else str(first["msg"])) from None


def _add_data(app: FastAPI, state: WorkspaceState) -> None:
    workspace, jobs = state.workspace, state.jobs
    Path = Annotated[str, Query(max_length=1000, description="relative to the workspace")]

    @app.get("/api/workspace")
    async def describe_workspace() -> dict[str, Any]:
        """Describe the workspace and what may be chosen."""
        return {
            "notice": NOTICE,
            "version": __version__,
            "folder": str(workspace.root),
            "recipes": list(jobs.recipes),
        }

    @app.get("/api/folders")
    async def list_folders(path: Path = "") -> dict[str, Any]:
        """List the folders and tables in a folder."""
        return await state.run_in_thread(lambda: workspace.list_data(path))

    @app.get("/api/data")
    async def describe_data(path: Path = "") -> dict[str, Any]:
        """Describe labelled images: classes, counts, what is left out. Nothing is opened."""
        found = await state.run_in_thread(lambda: workspace.describe_data(path))
        return found | {"audit": run_id(workspace.relative(jobs.audit_of(path).root))}

    @app.get("/api/picture")
    async def picture(request: Request, path: Path) -> Response:
        """Show an image of the workspace, small, as PNG; it is decoded in a limited process."""
        async with state.slots.slot(request):

            def small() -> bytes:
                file = workspace.resolve(path)
                if not file.is_file() or file.stat().st_size > MAX_BYTES:
                    raise DataError("expected an image file that is not too large, found another")
                upload = decode(state.decoders, file.read_bytes(), _THUMBNAIL)
                content = io.BytesIO()
                Image.fromarray(upload.pixels).save(content, "PNG")
                return content.getvalue()

            return Response(await state.run_in_thread(small), media_type="image/png")

    @app.post("/api/command")
    async def show_command(request: Request) -> dict[str, str]:
        """Show the command that does the same as the choices."""
        study = await _receive(request, NewStudy)
        return {"command": jobs.command(study.name, study.job)}

    @app.post("/api/studies")
    async def begin_study(request: Request) -> dict[str, str]:
        """Begin a study when its turn comes."""
        study = await _receive(request, NewStudy)
        if study.job.kind != "train":
            raise HTTPException(422, "expected a study, found an audit; it has a route of its own")
        return {"id": await _begun(lambda: jobs.begin(study.name, study.job))}

    @app.post("/api/audits")
    async def begin_audit(request: Request) -> dict[str, str]:
        """Audit data when its turn comes."""
        audit = await _receive(request, NewAudit)
        return {"id": await _begun(lambda: jobs.begin_audit(audit.data))}

    async def _begun(begin: Callable[[], RunFolder]) -> str:
        run = await state.run_in_thread(begin)
        return run_id(workspace.relative(run.root))


def _add_events(app: FastAPI, state: WorkspaceState) -> None:
    @app.get("/api/events")
    async def events() -> Response:
        """Push the list of runs as server-sent events, whenever it has changed."""

        async def stream() -> AsyncIterator[str]:
            state.watchers += 1
            try:
                shown, silent = "", 0.0
                state.snapshot = await state.run_in_thread(state.take_snapshot)
                while not state.stopping:
                    text = json.dumps(state.snapshot)
                    silent += _TICK_SECONDS / 2
                    if text != shown:
                        yield f"data: {text}\n\n"
                        shown, silent = text, 0.0
                    elif silent >= _HEARTBEAT_SECONDS:
                        yield ": still here\n\n"  # a page that is gone is noticed
                        silent = 0.0
                    await asyncio.sleep(_TICK_SECONDS / 2)
            finally:
                state.watchers -= 1

        return StreamingResponse(stream(), media_type="text/event-stream")


def _add_runs(app: FastAPI, state: WorkspaceState) -> None:
    @app.get("/api/runs")
    async def list_runs() -> list[dict[str, Any]]:
        """List the runs and their states."""
        return await state.run_in_thread(state.take_snapshot)

    @app.get("/api/runs/{key}")
    async def describe_run(key: str) -> dict[str, Any]:
        """Describe a run: its state, its command, and the summary of its results."""

        def describe() -> dict[str, Any]:
            run = state.run(key)
            return state.describe(key, run, state.jobs.waiting()) | {
                "command": _command(state, run),
                "summary": _text(run, "summary"),
            }

        return await state.run_in_thread(describe)

    @app.get("/api/runs/{key}/log")
    async def log(key: str) -> Response:
        """Show the end of what the processes of a run printed."""
        return PlainTextResponse(await state.run_in_thread(lambda: read_log(state.run(key))))

    @app.post("/api/runs/{key}/stop")
    async def stop(key: str) -> dict[str, str]:
        """Stop a run at the next safe point; it can be resumed."""
        await state.run_in_thread(lambda: state.jobs.stop(state.run(key)))
        return {"status": "asked to stop"}

    @app.post("/api/runs/{key}/resume")
    async def resume(key: str) -> dict[str, str]:
        """Resume a stopped run when its turn comes."""
        await state.run_in_thread(lambda: state.jobs.resume(state.run(key)))
        return {"status": "waiting"}

    @app.post("/api/runs/{key}/delete")
    async def delete(key: str, request: Request) -> dict[str, str]:
        """Delete a run whose name was typed."""
        deletion = await _receive(request, Deletion)

        def carry_out() -> None:
            state.jobs.delete(state.run(key), deletion.name)

        async with state.opening:
            if state.opened and state.opened.key == key:
                await state.close_models()
            await state.run_in_thread(carry_out)
        return {"status": "deleted"}


def _command(state: WorkspaceState, run: RunFolder) -> str:
    """Return the command that made a run, as the page or the run recorded it."""
    job = state.jobs.read(run)
    with contextlib.suppress(TumorboardError):
        if job:
            return state.jobs.command(run.root.name, job)
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return str(json.loads(read_regular(run.environment, _MAX_TEXT))["command"])
    return ""


def _text(run: RunFolder, name: str) -> str:
    try:
        return read_regular(getattr(run, name), _MAX_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""


def _add_run_pages(app: FastAPI, state: WorkspaceState) -> None:
    @app.get("/runs/{key}", include_in_schema=False)
    async def to_page(key: str) -> Response:
        return RedirectResponse(f"/runs/{key}/", 303)

    @app.get("/runs/{key}/report", include_in_schema=False)
    async def report(key: str) -> Response:
        return await state.run_in_thread(lambda: run_app.report_of(state.run(key)))

    app.mount("/runs", _RunPages(state))


class _RunPages:
    """ASGI: hand requests below /runs/ID/ to the application of that run's models."""

    def __init__(self, state: WorkspaceState) -> None:
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Load the models if need be, and reply as `tumorboard serve` does."""
        below = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        key, _, rest = below.partition("/")
        try:
            opened = await self._state.open(key)
        except TumorboardError as error:
            if rest:
                raise
            page = HTMLResponse(_NOT_OPENED.format(reason=html.escape(str(error))), 422)
            await page(scope, receive, send)
            return
        opened.requests += 1
        try:
            await opened.app({**scope, "path": f"/{rest}", "raw_path": b"", "root_path": ""}, receive, send)
        finally:
            opened.requests -= 1
