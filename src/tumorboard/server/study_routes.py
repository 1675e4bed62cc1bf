"""The routes of `tumorboard ui` about images, and what is begun with them: audits and studies."""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from tumorboard import NOTICE, __version__, config
from tumorboard.errors import DataError, TumorboardError
from tumorboard.run_folder import RunFolder
from tumorboard.server.choices import Choices, read_findings, save_choices
from tumorboard.server.comparison import setting_differences
from tumorboard.server.estimate import estimate
from tumorboard.server.jobs import MAX_COMPARED, Job
from tumorboard.server.uploads import MAX_BYTES, MAX_JSON_BYTES, decode, receive_json
from tumorboard.server.workspace import run_id
from tumorboard.server.workspace_state import WorkspaceState

Path = Annotated[str, Query(max_length=1000, description="relative to the workspace")]
RunIds = Annotated[list[str], Query(min_length=2, max_length=MAX_COMPARED, description="ids of runs")]


class NewStudy(BaseModel):
    """What the page sends to begin a study."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=60)
    job: Job


class NewChoices(BaseModel):
    """What the page sends to choose for labelled images."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str = Field(max_length=1000)
    choices: Choices
    based_on: str = Field(
        "", max_length=12, description='digest of the choices that were changed, "" for any'
    )


class NewComparison(BaseModel):
    """What the page sends to compare runs."""

    model_config = ConfigDict(extra="forbid", strict=True)

    runs: list[str] = Field(max_length=MAX_COMPARED, description="ids of finished runs")


class NewAudit(BaseModel):
    """What the page sends to begin an audit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str = Field(max_length=1000)


def add(app: FastAPI, state: WorkspaceState) -> None:
    """Add the routes."""
    _add_data(app, state)
    _add_choices(app, state)
    _add_studies(app, state)


def _add_data(app: FastAPI, state: WorkspaceState) -> None:
    workspace, jobs = state.workspace, state.jobs

    @app.get("/api/workspace")
    async def describe_workspace() -> dict[str, Any]:
        """Describe the workspace and what may be chosen."""
        return {
            "notice": NOTICE,
            "version": __version__,
            "folder": str(workspace.root),
            "recipes": list(jobs.recipes),
            "most_compared": MAX_COMPARED,
        }

    @app.get("/api/folders")
    async def list_folders(path: Path = "") -> dict[str, Any]:
        """List the folders and tables in a folder."""
        return await state.run_in_thread(lambda: workspace.list_data(path))

    @app.get("/api/picture")
    async def picture(
        request: Request, path: Path, size: Annotated[int, Query(ge=32, le=512)] = 96
    ) -> Response:
        """Show an image of the workspace, small, as PNG; it is decoded in a limited process."""
        async with state.slots.slot(request):

            def small() -> bytes:
                file = workspace.resolve(path)
                if not file.is_file() or file.stat().st_size > MAX_BYTES:
                    raise DataError(
                        f"expected an image file of at most {MAX_BYTES >> 20} MB, found another; choose "
                        "another image"
                    )
                upload = decode(state.decoders, file.read_bytes(), config.Image(size=size, resize="pad"))
                content = io.BytesIO()
                Image.fromarray(upload.pixels).save(content, "PNG")
                return content.getvalue()

            return Response(await state.run_in_thread(small), media_type="image/png")


def _add_choices(app: FastAPI, state: WorkspaceState) -> None:
    workspace, jobs = state.workspace, state.jobs

    @app.get("/api/data")
    async def describe_data(path: Path = "") -> dict[str, Any]:
        """Describe labelled images: classes, counts, what is left out and chosen. Nothing is opened."""

        def read() -> dict[str, Any]:
            kept = jobs.choices(path)
            return described(path, *_without_gone(state, path, kept)) | {"digest": kept.digest}

        return await state.run_in_thread(read)

    def described(path: str, choices: Choices, gone: Sequence[str] = ()) -> dict[str, Any]:
        workspace.resolve(path)
        chosen = {
            "path": path,
            "choices": choices.model_dump(),
            "gone": list(gone),
            "audit": run_id(workspace.relative(jobs.audit_of(path).root)),
        }
        try:
            return workspace.describe_data(path, choices.class_map, choices.exclude) | chosen
        except TumorboardError as error:
            folders: set[str] = set()
            with contextlib.suppress(TumorboardError):
                folders = {folder for _, folder, _ in workspace.images(path).values()}
            problem = {"problem": str(error), "details": list(error.details[:20])}
            return {"folders": {name: name for name in sorted(folders)}} | problem | chosen

    @app.get("/api/findings")
    async def findings(path: Path) -> dict[str, Any]:
        """Describe what the audit of labelled images found, with the images of each finding."""

        def read() -> dict[str, Any]:
            audit = jobs.audit_of(path)
            current = jobs.read(audit) == jobs.with_choices(Job(kind="audit", data=path))
            return read_findings(workspace, audit, path) | {"current": current}

        return await state.run_in_thread(read)

    @app.post("/api/choices")
    async def choose(request: Request) -> dict[str, Any]:
        """Keep what is chosen for labelled images: muted checks, images left out, classes."""
        chosen = await receive_json(request, NewChoices, MAX_JSON_BYTES)

        def save(choices: Choices) -> None:
            save_choices(workspace, jobs.audit_of(chosen.data), choices, chosen.based_on)

        def keep() -> dict[str, Any]:
            if chosen.choices == Choices():  # as a way out, whatever is wrong with the images
                workspace.resolve(chosen.data)
                save(chosen.choices)
                return described(chosen.data, chosen.choices) | {"digest": chosen.choices.digest}
            choices, gone = _without_gone(state, chosen.data, chosen.choices)
            found = described(chosen.data, choices, gone)
            if "problem" in found:  # what cannot be used is not kept
                raise DataError(found["problem"], found["details"])
            save(choices)
            return found | {"digest": choices.digest}

        return await state.run_in_thread(keep)


def _without_gone(state: WorkspaceState, path: str, choices: Choices) -> tuple[Choices, list[str]]:
    """Return the choices without images that were left out and are not there any more, and these."""
    gone = state.jobs.choices(path).exclude.keys() & choices.exclude.keys()
    if gone:
        try:
            gone -= state.workspace.images(path, choices.class_map).keys()
        except TumorboardError:  # the description says what is wrong
            return choices, []
    kept = {name: code for name, code in choices.exclude.items() if name not in gone}
    return choices.model_copy(update={"exclude": kept}), sorted(gone)


def _add_studies(app: FastAPI, state: WorkspaceState) -> None:
    workspace, jobs = state.workspace, state.jobs

    @app.post("/api/command")
    async def show_command(request: Request) -> dict[str, Any]:
        """Show the command that does the same as the choices, and how long it may take."""
        study = await receive_json(request, NewStudy)

        def show() -> dict[str, Any]:
            job = jobs.with_choices(study.job)
            return {
                "command": jobs.command(jobs.run_named(study.name), job),
                **estimate(workspace, jobs, job),
            }

        return await state.run_in_thread(show)

    @app.post("/api/studies")
    async def begin_study(request: Request) -> dict[str, str]:
        """Begin a study when its turn comes."""
        study = await receive_json(request, NewStudy)
        if study.job.kind != "train":
            raise HTTPException(422, "expected a study, found another command; it has a route of its own")
        return {"id": await _begun(lambda: jobs.begin(study.name, study.job))}

    @app.post("/api/audits")
    async def begin_audit(request: Request) -> dict[str, str]:
        """Audit data when its turn comes."""
        audit = await receive_json(request, NewAudit)
        return {"id": await _begun(lambda: jobs.begin_audit(audit.data))}

    @app.get("/api/differences")
    async def differences(run: RunIds) -> dict[str, Any]:
        """Show how the settings of runs differ, and the command that compares their results."""

        def show() -> dict[str, Any]:
            runs = [state.run(key) for key in run]
            names = [workspace.relative(of.root) for of in runs]
            job = Job(kind="compare", runs=tuple(names))
            command = jobs.command(jobs.comparison_of(names), job)
            return {"names": names, "differences": setting_differences(runs), "command": command}

        return await state.run_in_thread(show)

    @app.post("/api/comparisons")
    async def begin_comparison(request: Request) -> dict[str, str]:
        """Compare finished runs on the test images that they share."""
        comparison = await receive_json(request, NewComparison)
        return {
            "id": await _begun(lambda: jobs.begin_comparison([state.run(key) for key in comparison.runs]))
        }

    async def _begun(begin: Callable[[], RunFolder]) -> str:
        run = await state.run_in_thread(begin)
        return run_id(workspace.relative(run.root))
