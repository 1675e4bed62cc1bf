"""From stored values to grey, 0-255, in the order of the standard (PS3.3 C.11, PS3.4 N.2).

stored --(modality LUT, or rescale)--> modality values --(one rule)--> grey --> MONOCHROME1 inverted

The rule, the first that applies:
    setting      the window that the user asks for
    VOI LUT      the first item of the file's VOI LUT sequence
    window       the first of the file's windows, by its function LINEAR, LINEAR_EXACT or SIGMOID
    as stored    8 unsigned bits without rescale, as in any other 8-bit image
    full range   from the least to the greatest value of the slice, padding left out
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tumorboard.config import Window
from tumorboard.data.dicom.dataset import DataSet
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import WANTED, Header, Tag
from tumorboard.data.dicom.lut import Values, lut
from tumorboard.data.dicom.pixels import Layout
from tumorboard.data.pixels import Pixels

Rule = Callable[[Values], Values]
"""Modality values to grey, 0-255, not rounded."""

_TABLE = 1 << 16
NO_WINDOW = "has no window: grey from its least to its greatest value; --window makes images comparable"
NARROW = "has a window narrower than 1, read as LINEAR_EXACT"
NOT_HOUNSFIELD = "is not a CT in Hounsfield units, for which this window is meant"


def grey(
    stored: npt.NDArray[np.integer], layout: Layout, header: Header, window: Window | None
) -> tuple[Pixels, str, tuple[str, ...]]:
    """Grey values of a monochrome image.

    Args:
        stored: Integers (H, W).
        layout: How they are stored.
        header: With the transformations.
        window: The user's, None for the file's own.

    Returns:
        uint8 (H, W), 0-255, higher is brighter; the rule; what the user should know.

    Raises:
        DicomError: A window, function or table that cannot be used.
    """
    padding = _padding(stored, layout, header.data)
    real = stored[~padding]
    low, high = (int(real.min()), int(real.max())) if real.size else (0, 0)
    modality = _modality(header.data, layout.signed)
    ends = modality(np.arange(low, min(high, low + _TABLE) + 1, dtype=np.float64))
    if high - low > _TABLE:
        ends = modality(np.array([low, high], np.float64))
    rule, name, notes = _rule(header.data, layout, window, ends)

    def shade(values: Values) -> Pixels:
        shades = rule(modality(values))
        return np.rint(255 - shades if layout.photometric == "MONOCHROME1" else shades).astype(np.uint8)

    # One entry for each value that may occur, instead of floats for each pixel.
    if high - low < _TABLE:
        table = shade(np.arange(low, high + 1, dtype=np.float64))
        pixels = table[np.clip(stored.astype(np.int64), low, high) - low]
    else:
        pixels = shade(stored.astype(np.float64))
    pixels[padding] = 0
    return pixels, name, notes


def _padding(stored: npt.NDArray[np.integer], layout: Layout, data: DataSet) -> npt.NDArray[np.bool_]:
    """Where the scanner filled up the rectangle: neither measured nor shown."""
    if Tag.PADDING not in data or layout.allocated > 16:
        return np.zeros(stored.shape, np.bool_)
    ends = [_as_stored(data, tag, layout) for tag in (Tag.PADDING, Tag.PADDING_LIMIT) if tag in data]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(data: DataSet, tag: Tag, layout: Layout) -> int:
    """A value of 16 bits as a stored value of fewer, whatever sign its writer gave it."""
    value = (data.integers(tag) or (0,))[0] & 0xFFFF
    return value - (1 << 16) if layout.signed and value >= 1 << 15 else value


def _macro(data: DataSet, name: Tag) -> DataSet:
    """A functional group of the first frame, or the shared one, or (in classic objects) the object itself."""
    for groups in (Tag.FRAME_GROUPS, Tag.SHARED_GROUPS):
        found = data.first_item(groups, WANTED).first_item(name, WANTED)
        if found.values:
            return found
    return data


def _modality(data: DataSet, signed: bool) -> Rule:
    if Tag.MODALITY_LUT in data:
        return lut(data.first_item(Tag.MODALITY_LUT, WANTED), signed)
    slope, intercept = _rescale(data)
    return lambda values: values * slope + intercept


def _rescale(data: DataSet) -> tuple[float, float]:
    found = _macro(data, Tag.FRAME_RESCALE)
    slope, intercept = found.numbers(Tag.SLOPE) or (1.0,), found.numbers(Tag.INTERCEPT) or (0.0,)
    if not slope[0] or max(abs(slope[0]), abs(intercept[0])) > 1e9:
        raise DicomError("DICOM with a rescale slope or intercept that makes no sense")
    return slope[0], intercept[0]


def _rescaled(data: DataSet) -> bool:
    return Tag.MODALITY_LUT in data or _rescale(data) != (1, 0)


def _rule(
    data: DataSet, layout: Layout, window: Window | None, values: Values
) -> tuple[Rule, str, tuple[str, ...]]:
    own = _macro(data, Tag.FRAME_WINDOW)
    if window:
        doubtful = window.hounsfield and not (data.text(Tag.MODALITY) == "CT" and _rescaled(data))
        return (
            _linear(window.center, window.width),
            f"setting {window.name}",
            (NOT_HOUNSFIELD,) * doubtful,
        )
    if Tag.VOI_LUT in data:
        voi = lut(data.first_item(Tag.VOI_LUT, WANTED), layout.signed or _rescaled(data))
        return lambda v: voi(v) * (255 / ((1 << voi.bits) - 1)), "VOI LUT", ()
    if Tag.CENTER in own and Tag.WIDTH in own:
        return _window(own)
    if layout.stored == 8 and not layout.signed and not _rescaled(data):
        return lambda v: v, "as stored", ()
    return _stretch(float(values.min()), float(values.max())), "full range", (NO_WINDOW,)


def _window(data: DataSet) -> tuple[Rule, str, tuple[str, ...]]:
    """The first window of a file, by its function (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = data.numbers(Tag.CENTER)[0], data.numbers(Tag.WIDTH)[0]
    function = data.text(Tag.FUNCTION) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or width <= 0:
        raise DicomError("DICOM with a window of no width or unknown form", "pass --window CENTER,WIDTH")
    if function == "SIGMOID":
        return _sigmoid(center, width), "window SIGMOID", ()
    if function == "LINEAR_EXACT" or width < 1:
        narrow = (NARROW,) if function == "LINEAR" else ()
        return _stretch(center - width / 2, center + width / 2), "window LINEAR_EXACT", narrow
    return _linear(center, width), "window LINEAR", ()


def _linear(center: float, width: float) -> Rule:
    """Black up to center - 0.5 - (width - 1) / 2, white above center - 0.5 + (width - 1) / 2."""
    if width < 1:
        return _stretch(center - width / 2, center + width / 2)
    return _stretch(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _stretch(low: float, high: float) -> Rule:
    """Black up to `low`, white from `high`; if they are one, white above it."""
    if high == low:
        return lambda values: np.where(values > low, 255.0, 0.0)
    return lambda values: np.clip((values - low) / (high - low), 0, 1) * 255


def _sigmoid(center: float, width: float) -> Rule:
    return lambda values: 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
