"""Decode compressed frames in a process of its own: `python -m tumorboard.data.dicom.worker`.

Native decoders abort, hang or fill the memory on damaged frames (seen with one changed frame in forty). Here
that ends this process, and one file's reading with it. Requests come on standard input, answers go to
standard output: a line of JSON, then the bytes that it announces.
"""

import json
import math
import os
import sys
import time
import warnings
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

try:
    import resource
except ImportError:  # Windows has no such limits; the time limit of `codecs` holds there too
    resource = None  # type: ignore[assignment]

_MEMORY = 4 << 30
_SECONDS = 1
_PIXELS_PER_SECOND = 1_000_000


def main() -> None:
    """Answer requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Decoders print about damaged files.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    warnings.simplefilter("ignore")
    _limit_memory()
    while line := requests.readline():
        request = json.loads(line)
        header, content = _answer(request, requests.read(request.pop("bytes")))
        answers.write(json.dumps(header | {"bytes": len(content)}).encode() + b"\n" + content)
        answers.flush()


def _answer(request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    _limit_time(request["rows"] * request["columns"])
    plugin, syntax = request.pop("plugin"), UID(request.pop("syntax"))
    try:
        pixels, properties = get_decoder(syntax).as_array(
            encapsulate([frame], has_bot=False), decoding_plugin=plugin, **request
        )
    except Exception as error:
        return {"error": type(error).__name__}, b""
    return {
        "shape": pixels.shape,
        "dtype": pixels.dtype.str,
        "photometric": str(properties["photometric_interpretation"]),
    }, np.ascontiguousarray(pixels).tobytes()


def _limit_memory() -> None:
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(pixels: int) -> None:
    """Of this processor, not of the clock: a busy machine must not make a good file look bad."""
    if resource:
        seconds = math.ceil(time.process_time()) + _SECONDS + pixels // _PIXELS_PER_SECOND
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
