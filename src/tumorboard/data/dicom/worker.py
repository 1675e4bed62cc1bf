"""Decode compressed frames in a process of its own: `python -m tumorboard.data.dicom.worker`.

Native decoders abort, hang or fill the memory on damaged frames (seen with one changed frame in forty). Here
that ends this process, and one file's reading with it.
"""

import warnings
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from tumorboard.data import sandbox

_MEMORY = 4 << 30
_SECONDS = 1
_PIXELS_PER_SECOND = 1_000_000


def main() -> None:
    """Answer requests until standard input ends."""
    warnings.simplefilter("ignore")
    sandbox.limit_memory(_MEMORY)
    sandbox.answer_all(_answer)


def _answer(request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    sandbox.limit_time(_SECONDS + request["rows"] * request["columns"] // _PIXELS_PER_SECOND)
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


if __name__ == "__main__":
    main()
