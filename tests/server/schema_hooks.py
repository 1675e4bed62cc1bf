"""What schemathesis uploads: drawn images of every kind, shares that sum to 1. No schema can say this."""

import io
import json

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from tests.data import dicoms
from tests.server.fake_server import CLASSES, NAMES
from tumorboard.data.dicom.header import MAX_FRAMES
from tumorboard.server.uploads import JSON, MEDIA_TYPES


def _drawn(kind: str, size: int) -> bytes:
    pixels = np.random.default_rng(size).integers(0, 256, (size, size + 3, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


FILES = [_drawn(kind, size) for kind in ("png", "jpeg", "bmp", "tiff", "webp") for size in (8, 40)]
FILES += [dicoms.image(np.arange(1024).reshape(32, 32) * 2, intercept=-1024, slope=1, center=0, width=500)]
schemathesis.openapi.media_type(MEDIA_TYPES[0], st.sampled_from(FILES), aliases=list(MEDIA_TYPES[1:]))

SHARES = st.lists(st.floats(0.001, 1), min_size=len(CLASSES), max_size=len(CLASSES)).map(
    lambda values: dict(zip(CLASSES, [value / sum(values) for value in values], strict=True))
)
MODELS = st.tuples(
    *(
        st.fixed_dictionaries(
            {"name": st.just(name), "prediction": st.sampled_from(CLASSES), "probabilities": SHARES}
        )
        for name in NAMES
    )
)
PATIENTS = st.fixed_dictionaries({"images": st.lists(MODELS, min_size=1)})
schemathesis.openapi.media_type(JSON, PATIENTS.map(json.dumps).map(str.encode))


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Ask for the first slice, which all files have: no drawn file is a volume, and no schema can say so."""
    number = str((case.query or {}).get("slice", ""))
    if number.isdecimal() and int(number) <= MAX_FRAMES:
        case.query["slice"] = 0
