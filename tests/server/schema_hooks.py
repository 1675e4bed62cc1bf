"""What schemathesis uploads: drawn images of every kind that is read. A schema cannot say what one is."""

import io

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from tests.data import dicoms
from tumorboard.server.uploads import MEDIA_TYPES


def _drawn(kind: str, size: int) -> bytes:
    pixels = np.random.default_rng(size).integers(0, 256, (size, size + 3, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


FILES = [_drawn(kind, size) for kind in ("png", "jpeg", "bmp", "tiff", "webp") for size in (8, 40)]
FILES += [dicoms.image(np.arange(1024).reshape(32, 32) * 2, intercept=-1024, slope=1, center=0, width=500)]
schemathesis.openapi.media_type(MEDIA_TYPES[0], st.sampled_from(FILES), aliases=list(MEDIA_TYPES[1:]))
