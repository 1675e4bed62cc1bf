"""Every error as JSON of one line, without what is inside this machine."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from tumorboard.data.sandbox import SandboxEndedError, SandboxStartError
from tumorboard.errors import DataError
from tumorboard.serving.answers import Problem
from tumorboard.serving.bodies import BUSY

Responses = dict[int | str, dict[str, Any]]

_ENDED = "the decoder ended at this file; nothing else is affected, the next upload gets a new one"
_STATUSES = {
    400: "not HTTP as it should be, or broken off",
    401: "a token is needed",
    403: "sent by a page of another site",
    408: "the upload took too long",
    413: "the file is too large",
    415: "the body is not a file",
    421: "not this server's name",
    422: "not an image that can be read, or a parameter out of range",
    500: "the decoder ended at this file",
    503: "all places are taken, or no decoding process can start; Retry-After says when to repeat",
}
PROBLEMS: Responses = {status: {"model": Problem, "description": text} for status, text in _STATUSES.items()}


def add_handlers(app: FastAPI) -> None:
    """Turn what routes raise into answers."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: StarletteHTTPException) -> Response:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def out_of_range(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @app.exception_handler(DataError)
    async def unreadable(_request: Request, error: DataError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(SandboxEndedError)
    async def ended(_request: Request, _error: SandboxEndedError) -> Response:
        return JSONResponse({"detail": _ENDED}, 500)

    @app.exception_handler(SandboxStartError)
    async def not_started(_request: Request, error: SandboxStartError) -> Response:
        return JSONResponse({"detail": str(error)}, 503, BUSY)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"detail": "the server failed at this request; its terminal says why"}, 500)
