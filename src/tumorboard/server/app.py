"""The routes: the page, the API and the report. Every reply depends on its request alone."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from tumorboard import NOTICE, __version__, config
from tumorboard.data.sandbox import SandboxEndedError, SandboxPool, SandboxStartError
from tumorboard.errors import TumorboardError
from tumorboard.run_folder import RunFolder
from tumorboard.server.decode_worker import MAX_PIXELS
from tumorboard.server.heat_maps import HeatMaps
from tumorboard.server.schemas import (
    Accuracy,
    HeatMap,
    Limits,
    ModelDescription,
    PatientImages,
    PatientPrediction,
    Prediction,
    Problem,
    RunDescription,
    describe_patient,
    describe_prediction,
    png,
)
from tumorboard.server.uploads import (
    JSON,
    MAX_BYTES,
    MAX_JSON_BYTES,
    MEDIA_TYPES,
    RETRY_AFTER,
    WINDOW_PATTERN,
    DecodedUpload,
    UploadSlots,
    decode,
    decoding_pool,
    receive,
    with_window,
)
from tumorboard.storage import read_regular

if TYPE_CHECKING:  # which imports Keras
    from tumorboard.workflows.predictor import RunPredictor

T = TypeVar("T")
Responses = dict[int | str, dict[str, Any]]

OTHER_WINDOW = "The grey window differs from the one in training: the predictions may be less accurate."
_STATUSES = {
    400: "not valid HTTP, or broken off",
    401: "a token is needed",
    403: "sent by a page of another site",
    408: "the upload took too long",
    413: "the body is too large",
    415: "the body is not of a type that is read",
    421: "not a name of this server",
    422: "not an image that can be read, or a value out of range",
    500: "the decoding process ended at this file",
    503: "the server is busy, or no decoding process can start; Retry-After says when to repeat",
}
_PROBLEMS: Responses = {status: {"model": Problem, "description": text} for status, text in _STATUSES.items()}
_MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_WINDOW = Query(
    description=f'of DICOM: "as-trained", "file", {", ".join(config.PRESETS)} or CENTER,WIDTH',
    pattern=WINDOW_PATTERN,
)
_SLICE = Query(
    alias="slice",
    description="of a volume, the number of a slice from 1; 0 for the first that training would choose",
    ge=0,
    le=10_000,
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself: PNG, JPEG, BMP, TIFF, WebP or DICOM.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES},
    }
}
_IMAGES_SCHEMA = PatientImages.model_json_schema(ref_template="#/components/schemas/{model}")
del _IMAGES_SCHEMA["$defs"]  # which the document has
_IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The predictions for each image, as /api/predict replied them.",
        "content": {JSON: {"schema": _IMAGES_SCHEMA}},
    }
}
_NO_HEAT_MAP = "the process that computes heat maps ended, perhaps for lack of memory; try it again"
_MAX_REPORT = 1 << 28  # bytes
# The report may draw, but run nothing and reach nobody.
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_NO_REPORT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>No report</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/page.css">
<main><h1>This run has no report</h1>
<p>Write it with <code>tumorboard report RUN</code>, then reload this page.</p>
<p><a href="./">Back to the predictions</a></p></main></html>"""


@dataclass
class AppState:
    """What the routes share. Predictions are made in one thread, heat maps in another, one image at a time.

    Args:
        predictor: The models of the run.
        heat_maps: Of the models.
        test_accuracies: By model.
        run: The run folder, for its report.
    """

    predictor: "RunPredictor"
    heat_maps: HeatMaps
    test_accuracies: dict[str, list[Accuracy]]
    run: RunFolder
    slots: UploadSlots = field(default_factory=UploadSlots)
    decoders: SandboxPool = field(default_factory=decoding_pool)
    decoding_threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    model_thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    heat_map_thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    async def decode_upload(self, request: Request, window: str, number: int) -> DecodedUpload:
        """Receive and decode the file of a request, or this slice of it."""
        settings = with_window(self.predictor.image, window)
        content = await receive(request)
        return await run_in(self.decoding_threads, lambda: decode(self.decoders, content, settings, number))

    def close(self) -> None:
        """Finish the work in progress, end threads and decoding processes, and let go of the models.

        FastAPI keeps the functions of the routes in its caches, and with them this object.
        """
        self.decoding_threads.shutdown()
        self.model_thread.shutdown()
        self.heat_map_thread.shutdown()
        self.heat_maps.close()
        del self.predictor
        self.decoders.close()


async def run_in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Run work that would block the other requests in a thread."""
    return await asyncio.get_running_loop().run_in_executor(threads, work)


class _AsciiJson(JSONResponse):
    """JSON with escapes, which can also carry a name of a file that is not UTF-8."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def new_application(title: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """Make an application without routes, which replies to every error as `Problem` describes."""
    # No interactive documentation: its scripts would come from another host.
    app = FastAPI(
        title=title,
        version=__version__,
        description=NOTICE,
        lifespan=lifespan,
        default_response_class=_AsciiJson,
        docs_url=None,
        redoc_url=None,
    )
    _add_error_handlers(app)
    return app


def build(state: AppState) -> FastAPI:
    """Build the application; `security.RequestGuard` goes around it."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        state.close()

    app = new_application("Tumorboard", lifespan)
    add_static(app, "static", "page.html")

    @app.get("/report", include_in_schema=False)
    async def report() -> Response:
        return report_of(state.run)

    _add_api(app, state)
    return app


def _add_api(app: FastAPI, state: AppState) -> None:
    guarded: Responses = {status: _PROBLEMS[status] for status in (401, 421)}

    @app.get("/api/run", response_model=RunDescription, responses=guarded)
    async def describe_run() -> RunDescription:
        """Describe the run: its classes, its models with their test accuracy, and the limits of uploads."""
        return RunDescription(
            class_names=list(state.predictor.class_names),
            recommended=state.predictor.recommended,
            models=[
                ModelDescription(name=name, test_accuracy=state.test_accuracies.get(name, []))
                for name in state.predictor.names
            ],
            window=state.predictor.image.window,
            windows=list(config.PRESETS),
            limits=Limits(bytes=MAX_BYTES, pixels=MAX_PIXELS),
            report=state.run.report.is_file(),
        )

    @app.get("/api/health", responses=guarded)
    async def health() -> dict[str, str]:
        """Show that the server is up."""
        return {"status": "ok"}

    @app.post("/api/predict", response_model=Prediction, responses=_PROBLEMS, openapi_extra=_BODY)
    async def predict(
        request: Request,
        window: Annotated[str, _WINDOW] = "as-trained",
        number: Annotated[int, _SLICE] = 0,
    ) -> Prediction:
        """Predict the class of one image, or of one slice of a volume. Nothing is kept."""
        async with state.slots.slot(request):
            upload = await state.decode_upload(request, window, number)
            result = await run_in(state.model_thread, lambda: state.predictor.predict(upload.pixels))
            trained = state.predictor.image
            notes = [OTHER_WINDOW] if upload.windowed and with_window(trained, window) != trained else []
            return describe_prediction(state.predictor, upload, result, notes)

    @app.post("/api/patient", response_model=PatientPrediction, responses=_PROBLEMS, openapi_extra=_IMAGES)
    async def patient(request: Request) -> PatientPrediction:
        """Predict the class of a patient from the predictions for the images, by the run's rule."""
        async with state.slots.slot(request):
            content = await receive(request, [JSON], MAX_JSON_BYTES)
            return await run_in(state.model_thread, lambda: describe_patient(state.predictor, content))

    @app.post("/api/explain", response_model=HeatMap, responses=_PROBLEMS, openapi_extra=_BODY)
    async def explain(
        request: Request,
        model: Annotated[
            str, Query(json_schema_extra={"enum": list(state.predictor.names)})
        ] = state.predictor.recommended,
        target: Annotated[
            str, Query(json_schema_extra={"enum": list(state.predictor.class_names)})
        ] = state.predictor.class_names[0],
        window: Annotated[str, _WINDOW] = "as-trained",
        number: Annotated[int, _SLICE] = 0,
    ) -> HeatMap:
        """Show which regions support a class in a model (Grad-CAM). Nothing is kept."""
        if model not in state.predictor.names or target not in state.predictor.class_names:
            raise HTTPException(422, "expected a model and a target that /api/run lists")
        async with state.slots.slot(request):
            upload = await state.decode_upload(request, window, number)
            index = list(state.predictor.class_names).index(target)
            try:
                layer = await run_in(
                    state.heat_map_thread, lambda: state.heat_maps.layer(model, upload.pixels, index)
                )
            except SandboxEndedError:
                raise HTTPException(500, _NO_HEAT_MAP) from None
            empty = not layer[..., 3].any()
            return HeatMap(
                model=model, target=target, empty=empty, layer=png(layer), preview=png(upload.pixels)
            )


def add_static(app: FastAPI, folder: str, page: str = "", only: Collection[str] = ()) -> None:
    """Add the files of a folder of this package, one of which may be the page itself."""

    def add(path: str, content: bytes, media_type: str) -> None:
        @app.get(path, include_in_schema=False)
        async def static() -> Response:
            return Response(content, media_type=media_type)

    for file in resources.files("tumorboard.server").joinpath(folder).iterdir():
        if only and file.name not in only:
            continue
        path = "/" if file.name == page else f"/{file.name}"
        add(path, file.read_bytes(), _MEDIA[file.name.rpartition(".")[2]])


def report_of(run: RunFolder) -> Response:
    """Return the report of a run as a page that may run nothing and reach nobody."""
    try:
        content = read_regular(run.report, _MAX_REPORT)
    except OSError:
        return HTMLResponse(_NO_REPORT, 404)
    return HTMLResponse(content, headers={"Content-Security-Policy": _REPORT_POLICY})


def _add_error_handlers(app: FastAPI) -> None:
    """Reply to every error with one line of JSON that tells nothing of this machine."""

    @app.exception_handler(StarletteHTTPException)
    async def http_error(_request: Request, error: StarletteHTTPException) -> Response:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def parameter_error(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @app.exception_handler(TumorboardError)  # such as a model's file that was changed since the start
    async def expected_error(_request: Request, error: TumorboardError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(SandboxEndedError)
    async def decoder_ended(_request: Request, _error: SandboxEndedError) -> Response:
        detail = "the decoding process ended at this file; the next upload gets a new one"
        return JSONResponse({"detail": detail}, 500)

    @app.exception_handler(SandboxStartError)
    async def decoder_not_started(_request: Request, error: SandboxStartError) -> Response:
        return JSONResponse({"detail": str(error)}, 503, RETRY_AFTER)

    @app.exception_handler(Exception)
    async def unexpected_error(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"detail": "the server failed at this request; see its terminal"}, 500)
