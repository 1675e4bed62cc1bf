"""The routes: the page, the API, the report. Every answer is computed from its request alone."""

import contextlib
from collections.abc import AsyncIterator
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import Response

from tumorboard import NOTICE, __version__, config
from tumorboard.serving.answers import About, Answer, HeatMap, Limits, answer
from tumorboard.serving.bodies import MAX_BYTES, TYPES
from tumorboard.serving.decode_worker import MAX_PIXELS
from tumorboard.serving.facts import ModelFacts
from tumorboard.serving.house import WINDOW, House, run_in, windowed
from tumorboard.serving.pictures import png
from tumorboard.serving.problems import PROBLEMS, Responses, add_handlers
from tumorboard.serving.report import report

OTHER_WINDOW = "Read with another window than the models were trained with: their answers may suffer."
_MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_WINDOW = Query(
    description=f'of DICOM: "as-trained", "file", {", ".join(config.PRESETS)} or CENTER,WIDTH',
    pattern=WINDOW,
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself: PNG, JPEG, BMP, TIFF, WebP or DICOM.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
    }
}


def build(house: House) -> FastAPI:
    """The application; `guard.Guard` goes around it."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        house.close()

    # No interactive documents: their scripts would come from another host.
    app = FastAPI(
        title="Tumorboard",
        version=__version__,
        description=NOTICE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    add_handlers(app)
    _add_pages(app, house)
    _add_api(app, house)
    return app


def _add_api(app: FastAPI, house: House) -> None:
    board = house.board
    common: Responses = {status: PROBLEMS[status] for status in (401, 421)}

    @app.get("/api/run", response_model=About, responses=common)
    async def about() -> About:
        """The run: its classes, its models, how good they were on test, and what is refused."""
        return _about(house)

    @app.get("/api/health", responses=common)
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.post("/api/predict", response_model=Answer, responses=PROBLEMS, openapi_extra=_BODY)
    async def predict(request: Request, window: Annotated[str, _WINDOW] = "as-trained") -> Answer:
        """What each model and the board say of one image. Nothing is kept."""
        async with house.desk.place(request):
            upload = await house.upload(request, window)
            opinion = await run_in(house.thinking, lambda: board.opinion(upload.pixels))
            other = upload.dicom and windowed(board.image, window) != board.image
            return answer(board, upload, opinion, (OTHER_WINDOW,) if other else ())

    @app.post("/api/explain", response_model=HeatMap, responses=PROBLEMS, openapi_extra=_BODY)
    async def explain(
        request: Request,
        model: Annotated[str, Query(json_schema_extra={"enum": list(board.names)})] = board.recommended,
        target: Annotated[
            str, Query(json_schema_extra={"enum": list(board.class_names)})
        ] = board.class_names[0],
        window: Annotated[str, _WINDOW] = "as-trained",
    ) -> HeatMap:
        """Where that model looked for that class (Grad-CAM). Nothing is kept."""
        if model not in board.names or target not in board.class_names:
            raise HTTPException(422, "expected a model and a target that /api/run lists")
        async with house.desk.place(request):
            upload = await house.upload(request, window)
            number = list(board.class_names).index(target)
            layer = await run_in(house.thinking, lambda: house.heat_layer(model, upload.pixels, number))
            return HeatMap(
                model=model,
                target=target,
                empty=not layer[..., 3].any(),
                layer=png(layer),
                preview=png(upload.pixels),
            )


def _add_pages(app: FastAPI, house: House) -> None:
    def add(path: str, content: bytes, media: str) -> None:
        @app.get(path, include_in_schema=False)
        async def page() -> Response:
            return Response(content, media_type=media)

    for file in resources.files("tumorboard.serving").joinpath("page").iterdir():
        path = "/" if file.name == "page.html" else f"/{file.name}"
        add(path, file.read_bytes(), _MEDIA[file.name.rpartition(".")[2]])

    @app.get("/report", include_in_schema=False)
    async def show_report() -> Response:
        return report(house.run)


def _about(house: House) -> About:
    board = house.board
    return About(
        class_names=list(board.class_names),
        recommended=board.recommended,
        models=[ModelFacts(name=name, test=house.accuracies.get(name, [])) for name in board.names],
        window=board.image.window,
        windows=list(config.PRESETS),
        limits=Limits(bytes=MAX_BYTES, pixels=MAX_PIXELS),
        report=house.run.report.is_file(),
    )
