"""The routes of `tumorboard ui`: the page of a workspace, its API, and the page of one run that is open.

Every state is read from the files of the runs. The models of a run are loaded when its page is opened, those
of one run at a time.
"""

import asyncio
import contextlib
import html
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from tumorboard.errors import DataError, RunFolderError, TumorboardError, for_terminal
from tumorboard.run_folder import RunFolder
from tumorboard.server import app as run_app
from tumorboard.server import study_routes
from tumorboard.server.comparison import setting_differences
from tumorboard.server.curves import learning_curves
from tumorboard.server.jobs import read_log, require_no_links
from tumorboard.server.recorded_command import shown_command
from tumorboard.server.uploads import receive_json
from tumorboard.server.workspace_state import TICK_SECONDS, WorkspaceState
from tumorboard.storage import read_regular

_HEARTBEAT_SECONDS = 15.0
_MAX_TEXT = 1 << 20  # bytes of a text of a run that is shown
_LOG = logging.getLogger("uvicorn.error")

_NOT_OPENED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Not opened</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
<main><h1>The models of this run cannot be opened</h1><p class="problem">{reason}</p>
<p><a href="/">Back to all studies</a></p></main></html>"""


class Deletion(BaseModel):
    """What the page sends to delete a run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=60, description="the last part of its name, as typed by the user")


def build(state: WorkspaceState) -> FastAPI:
    """Build the application; `security.RequestGuard` goes around it."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(state))
        yield
        watching.cancel()
        state.close()

    app = run_app.new_application("Tumorboard workspace", lifespan)

    @app.exception_handler(TumorboardError)
    async def expected_error(_request: Request, error: TumorboardError) -> Response:
        content = {"detail": str(error), "details": list(error.details[:20])}
        return Response(json.dumps(content), 422, media_type="application/json")

    run_app.add_static(app, "workspace_static", "workspace.html")
    run_app.add_static(app, "static", only=("page.css", "api.js", "dom.js"))
    study_routes.add(app, state)
    _add_runs(app, state)
    _add_events(app, state)
    _add_run_pages(app, state)
    return app


async def _watch(state: WorkspaceState) -> None:
    """Once a second start what waits, free idle models, and look at the runs if a page shows them."""
    while True:
        try:
            await state.run_in_thread(state.jobs.tick)
            await state.close_idle_models()
            if state.watchers:
                state.snapshot = await state.run_in_thread(state.take_snapshot)
        except Exception:  # such as a folder that was deleted meanwhile; the queue must go on
            _LOG.exception("cannot look at the runs; trying again")
        await asyncio.sleep(TICK_SECONDS)


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
                    silent += TICK_SECONDS / 2
                    if text != shown:
                        yield f"data: {text}\n\n"
                        shown, silent = text, 0.0
                    elif silent >= _HEARTBEAT_SECONDS:
                        yield ": still here\n\n"  # a page that is gone is noticed
                        silent = 0.0
                    await asyncio.sleep(TICK_SECONDS / 2)
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
            entry = state.describe(key, run)
            return {
                **entry,
                "command": for_terminal(_command(state, run)),
                "summary": _text(run, "summary"),
                "differences": _differences(state, run),
                "curves": entry["curves"] if "curves" in entry else learning_curves(run),
                "refusal": state.jobs.reason_against_resuming(run),
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

    @app.post("/api/queue/continue")
    async def continue_queue() -> dict[str, int]:
        """Let the runs wait here that waited in a server which has ended; reply how many."""
        return {"waiting": len(await state.run_in_thread(state.jobs.continue_queue))}

    @app.post("/api/runs/{key}/delete")
    async def delete(key: str, request: Request) -> dict[str, str]:
        """Delete a run whose name was typed."""
        deletion = await receive_json(request, Deletion)

        def carry_out() -> None:
            state.jobs.delete(state.run(key), deletion.name)

        async with state.opening:
            if state.opened and state.opened.key == key:
                await state.close_models()
            await state.run_in_thread(carry_out)
        return {"status": "deleted"}


def _differences(state: WorkspaceState, run: RunFolder) -> dict[str, Any] | None:
    """Return how the settings of the runs of a comparison differ; None for another run."""
    job = state.jobs.read(run)
    if job is None or job.kind != "compare":
        return None
    try:
        compared = [RunFolder(state.workspace.resolve(name)) for name in job.runs]
        for other in compared:
            require_no_links(other)
        return {"names": list(job.runs), "differences": setting_differences(compared)}
    except (DataError, RunFolderError):  # one is not there any more
        return None


def _command(state: WorkspaceState, run: RunFolder) -> str:
    """Return the command that made a run, as the page or the run recorded it; "" if none is known."""
    job = state.jobs.read(run)
    with contextlib.suppress(TumorboardError):
        if job:
            return state.jobs.command(run, job)
    return shown_command(run)


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
