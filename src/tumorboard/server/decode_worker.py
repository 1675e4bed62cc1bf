"""Decode uploads in a limited child process: `python -m tumorboard.server.decode_worker`.

An upload is the most hostile file there is, and native decoders crash, hang and fill the memory. Here
that ends this process and one request; neither Keras nor the models are in it.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from tumorboard import config
from tumorboard.data import sandbox, volumes
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.errors import DataError, ImageError

MAX_PIXELS = 25_000_000
NAME = "upload"
"""What an upload is called in messages: its own name may be a patient's."""

_MEMORY = 3 << 30
_SECONDS = 20


def main() -> None:
    """Answer requests until standard input ends."""
    sandbox.limit_memory(_MEMORY)
    sandbox.answer_all(_decode)


def _decode(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    sandbox.limit_time(_SECONDS)
    try:
        settings, key = config.Image.model_validate(request["image"]), bytes.fromhex(request["key"])
        slices: Sequence[int] = ()
        if settings.frames != "refuse":
            slices = volumes.chosen(volumes.slice_numbers(content), settings.frames)
        number = request["slice"] or (slices[0] if slices else 0)
        image = read_image(content, settings, name=NAME, max_pixels=MAX_PIXELS, frame=number)
        pixels = to_input(image.pixels, settings)
        patient = dicom.pseudonym(content, key)
        if slices and not patient:
            patient = f"file-{hashlib.blake2b(content, key=key, digest_size=8).hexdigest()}"
    except ImageError as error:
        return {"error": str(error)}, b""
    except DataError as error:
        return {"error": str(error).removeprefix(f"{NAME}: ")}, b""
    except sandbox.SandboxStartError as error:  # the process that decodes DICOM frames
        return {"not_started": str(error)}, b""
    notes = tuple(note.removeprefix(f"{NAME}: ") for note in image.notes)
    facts = {"shape": pixels.shape, "notes": notes, "windowed": image.windowed, "patient": patient}
    return facts | {"slice": number, "slices": list(slices)}, pixels.tobytes()


if __name__ == "__main__":
    main()
