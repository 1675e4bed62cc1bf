"""Decode uploads in a process of its own: `python -m tumorboard.serving.decode_worker`.

An upload is the most hostile file there is, and native decoders crash, hang and fill the memory: here that
ends this process and one answer. Requests come on standard input, answers go to standard output: a line of
JSON, then the bytes that it announces. Neither Keras nor the models are in this process.
"""

import json
import math
import os
import sys
import time
from typing import Any

from tumorboard import recipe
from tumorboard.data.dicom.head import HEAD_BYTES, recognised
from tumorboard.data.inputs import input_of_bytes
from tumorboard.errors import DataError

try:
    import resource
except ImportError:  # Windows has no such limits; the time limit of `decoding` holds there too
    resource = None  # type: ignore[assignment]

MAX_PIXELS = 25_000_000
NAME = "upload"
"""What an upload is called in messages: its own name may be a patient's."""

_MEMORY = 3 << 30
_SECONDS = 20


def main() -> None:
    """Answer requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Decoders print about damaged files.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    _limit_memory()
    while line := requests.readline():
        request = json.loads(line)
        header, pixels = _answer(request["rule"], requests.read(request["bytes"]))
        answers.write(json.dumps(header | {"bytes": len(pixels)}).encode() + b"\n" + pixels)
        answers.flush()


def _answer(rule: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    _limit_time()
    dicom = recognised(content[:HEAD_BYTES])
    try:
        pixels, notes = input_of_bytes(content, NAME, recipe.Image.model_validate(rule), MAX_PIXELS)
    except DataError as error:
        return {"error": str(error).removeprefix(f"{NAME}: "), "dicom": dicom}, b""
    notes = tuple(note.removeprefix(f"{NAME}: ") for note in notes)
    return {"shape": pixels.shape, "notes": notes, "dicom": dicom}, pixels.tobytes()


def _limit_memory() -> None:
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time() -> None:
    """Of this processor, not of the clock: a busy machine must not make a good file look bad."""
    if resource:
        seconds = math.ceil(time.process_time()) + _SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
