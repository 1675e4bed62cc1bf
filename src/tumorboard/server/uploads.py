"""Take uploads from the network and decode them in child processes.

The body of a request is the file: it is counted before and while it arrives, and kept in memory. There is no
form to parse, and nothing is written to disk.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from tumorboard import config
from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxPool, SandboxStartError
from tumorboard.errors import DataError

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 32 << 20
RECEIVE_SECONDS = 20
"""In which an upload must arrive: 2 MB per second for the largest, and this is a local server."""

JSON = "application/json"
MAX_JSON_BYTES = 8 << 20
"""Parsed, it takes several times as much memory; the predictions of 10,000 images of three classes fit."""
MAX_SMALL_BYTES = 1 << 20
"""Of what a form of a page sends."""
RETRY_AFTER = {"Retry-After": "1"}
MEDIA_TYPES = (
    "application/octet-stream",
    "application/dicom",
    *(f"image/{kind}" for kind in ("png", "jpeg", "bmp", "tiff", "webp")),
)

_KEY = secrets.token_bytes(32)
"""Of the pseudonyms of patients, which mean nothing to another process."""
_NUMBER = r"[0-9]{0,4}(\.[0-9]{1,3})?"
WINDOW_PATTERN = f"^(as-trained|file|{'|'.join(config.PRESETS)}|-?[0-9]{_NUMBER},[1-9]{_NUMBER})$"
"""Grey windows that a request may name; of CENTER,WIDTH the width is 1 or more, as in DICOM."""


@dataclass
class UploadSlots:
    """A bound on the uploads that are received, waiting or being predicted at once.

    Args:
        count: How many; each costs at most `MAX_BYTES` of memory.
    """

    count: int = 12
    taken: int = 0

    @asynccontextmanager
    async def slot(self, request: Request) -> AsyncIterator[None]:
        """Hold a slot for one upload.

        Raises:
            HTTPException: 503 with Retry-After: all slots are taken.
        """
        if self.taken >= self.count:
            await _discard(request)  # a client that is still sending would not read the response
            raise HTTPException(503, "the server is busy; repeat the request in a second", RETRY_AFTER)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def receive(
    request: Request, media_types: Sequence[str] = MEDIA_TYPES, max_bytes: int = MAX_BYTES
) -> bytes:
    """Receive the body of a request: the uploaded file, or JSON.

    Raises:
        HTTPException: 400 broken off, 408 too slow, 413 too large, 415 not the bytes of a file.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "compressed bodies are not read; send the file as it is")
    media_type = request.headers.get("content-type", media_types[0]).split(";")[0].strip().lower()
    if media_type not in media_types:
        raise HTTPException(415, f"expected a body of type {', '.join(media_types)}, found another")
    too_large = HTTPException(413, f"the body is larger than {max_bytes >> 20} MB", {"Connection": "close"})
    if _announced_length(request) > max_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"the upload took more than {RECEIVE_SECONDS} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the upload broke off") from None
    return bytes(content)


async def receive_json(request: Request, model: type[Model], max_bytes: int = MAX_SMALL_BYTES) -> Model:
    """Receive a JSON body, by default a small one.

    Raises:
        HTTPException: As `receive`; 422 not what the model describes.
    """
    content = await receive(request, [JSON], max_bytes)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"{where}: {first['msg']}" if where else str(first["msg"])) from None


async def _discard(request: Request) -> None:
    """Read an ordinary upload to its end and forget it; a large or slow one is not read."""
    if not 0 < _announced_length(request) <= MAX_BYTES:
        return
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect):
        return


def _announced_length(request: Request) -> int:
    try:
        return int(request.headers.get("content-length", "0"))
    except ValueError:
        raise HTTPException(400, "Content-Length is not a number") from None


@dataclass(frozen=True)
class DecodedUpload:
    """A decoded upload.

    Args:
        pixels: uint8 (size, size, 3), the input of the models.
        windowed: Whether a grey window may change it, see `image_reader.DecodedImage`.
        notes: What the user should know about the file, for example further frames.
        patient: A pseudonym of the patient, or of the series, that a DICOM file shows, or of a volume; ""
            without one.
        slice: The number of the slice of a volume; 0 for the only one.
        slices: The numbers of those that training would choose; empty for what is no volume.
    """

    pixels: Pixels
    windowed: bool
    notes: tuple[str, ...]
    patient: str
    slice: int = 0
    slices: tuple[int, ...] = ()


def decoding_pool() -> SandboxPool:
    """Make the pool of decoding processes."""
    return SandboxPool("tumorboard.server.decode_worker", seconds=60)


def decode(pool: SandboxPool, content: bytes, settings: config.Image, number: int = 0) -> DecodedUpload:
    """Decode an uploaded file; of a volume the slice of this number, by default the first that is chosen.

    Raises:
        DataError: Not an image, damaged, or too large.
        SandboxEndedError: The process ended instead of answering; the next upload gets a new one.
        SandboxStartError: No process can be started.
    """
    header, pixels = pool.ask({"image": settings.model_dump(), "key": _KEY.hex(), "slice": number}, content)
    if "not_started" in header:
        raise SandboxStartError(str(header["not_started"]))
    if "error" in header:
        raise DataError(str(header["error"]))
    array = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
    return DecodedUpload(
        array,
        bool(header["windowed"]),
        tuple(header["notes"]),
        header["patient"],
        header["slice"],
        tuple(header["slices"]),
    )


def with_window(settings: config.Image, window: str) -> config.Image:
    """Replace the grey window that the models were trained with by one that matches `WINDOW_PATTERN`."""
    if window == "as-trained":
        return settings
    if window == "file":
        return settings.model_copy(update={"window": ""})
    numbers = "auto" if "," in window else settings.depth  # instead of the depth
    return settings.model_copy(update={"window": window, "depth": numbers})
