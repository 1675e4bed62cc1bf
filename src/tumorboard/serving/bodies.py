"""Take an upload from the network: the body is the file, counted before and while it comes, kept in memory.

There is no form to parse, so nothing is parsed that a form could bring; nothing is written to a disk.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

MAX_BYTES = 32 << 20
SECONDS = 20
"""In which an upload must have come: 2 MB a second at the largest, and this is a local server."""

TYPES = (
    "application/octet-stream",
    "application/dicom",
    *(f"image/{kind}" for kind in ("png", "jpeg", "bmp", "tiff", "webp")),
)
BUSY = {"Retry-After": "1"}


@dataclass
class Desk:
    """The bounded queue: so many uploads are in the house at once, received, waiting or answered.

    Args:
        places: How many; each costs at most `MAX_BYTES` of memory.
    """

    places: int = 12
    taken: int = 0

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncIterator[None]:
        """A place for one upload.

        Raises:
            HTTPException: 503 with Retry-After: all are taken.
        """
        if self.taken >= self.places:
            await _discard(request)  # a client that still sends would not read the answer
            raise HTTPException(503, "all places are taken; repeat the request in a second", BUSY)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def receive(request: Request) -> bytes:
    """The uploaded file.

    Raises:
        HTTPException: 408 too slow, 411 or 413 too large, 415 not the bytes of a file.
    """
    _refuse_early(request)
    content = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise HTTPException(408, f"the upload took more than {SECONDS} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the upload broke off") from None
    return bytes(content)


def _refuse_early(request: Request) -> None:
    """By what the header alone says."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "compressed bodies are not read; send the file as it is")
    media = request.headers.get("content-type", TYPES[0]).split(";")[0].strip().lower()
    if media not in TYPES:
        raise HTTPException(415, f"expected the file itself as the body, of type {', '.join(TYPES)}")
    if _announced(request) > MAX_BYTES:
        raise _too_large()


def _announced(request: Request) -> int:
    try:
        return int(request.headers.get("content-length", "0"))
    except ValueError:
        raise HTTPException(400, "Content-Length is no number") from None


def _too_large() -> HTTPException:
    return HTTPException(413, f"the file is larger than {MAX_BYTES >> 20} MB", {"Connection": "close"})


async def _discard(request: Request) -> None:
    """Read an ordinary upload to its end and forget it; a large one or a slow one is left standing."""
    if not 0 < _announced(request) <= MAX_BYTES:
        return
    try:
        async with asyncio.timeout(SECONDS):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect):
        return
