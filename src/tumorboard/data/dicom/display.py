"""From stored values to grey or RGB of 8 bits, in the order of the standard (PS3.3 C.11, PS3.4 N.2).

stored --(modality LUT, or rescale)--> modality values --(one rule)--> grey --> MONOCHROME1 inverted

The rule, the first that applies:
    setting      the window that the user asks for
    VOI LUT      the first item of the file's VOI LUT sequence
    window       the first of the file's windows, by its function LINEAR, LINEAR_EXACT or SIGMOID
    as stored    8 unsigned bits without rescale, as in any other 8-bit image
    full range   from the least to the greatest value of the slice, padding left out

pydicom's functions of the same names are not used: its LUTs wrap round for values beyond their last entry and
ignore the byte order, it refuses widths below 1, never inverts, and rounds windows otherwise.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.data.dicom.header import (
    Elements,
    ParsedHeader,
    byte_order,
    decimals,
    first_item,
    has,
    integers,
    raw,
    text,
)
from tumorboard.data.dicom.pixels import Layout
from tumorboard.data.grey import Rule, linear, shaded, stretch
from tumorboard.errors import ImageError

Stored = npt.NDArray[np.integer]
Values = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

_TABLE = 1 << 16
_NO_WINDOW = "has no window: grey from its least to its greatest value; --window makes images comparable"
_NEGATIVE = "has a window of negative width, read as if positive"
_NARROW = "has a window narrower than 1, read as LINEAR_EXACT"
_NOT_HOUNSFIELD = "is not a CT in Hounsfield units, for which this window is meant"


@dataclass(frozen=True, slots=True)
class Setting:
    """The window that the user asks for; `hounsfield` if it makes sense in Hounsfield units only."""

    name: str
    center: float
    width: float
    hounsfield: bool


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table: `table[value - first]`, the ends repeated; `bits` of an entry."""

    first: int
    bits: int
    table: npt.NDArray[np.uint16]

    def __call__(self, values: Values) -> Values:
        """Look up values; float64."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.table) - 1)
        entries: Values = self.table[index.astype(np.int64)].astype(np.float64)
        return entries


def lut(data: Elements, descriptor: str, entries: str, signed: bool) -> Lut:
    """Read a lookup table whose descriptor is (entries, first value, bits).

    Raises:
        ImageError: Its descriptor and its data do not fit each other.
    """
    described, content = integers(data, descriptor), raw(data, entries)
    count, first, bits = described if len(described) == 3 else (0, 0, 0)
    count = count & 0xFFFF or (1 << 16 if described else 0)
    # Entries take a word each; of up to 8 bits also a byte each, padded to an even number.
    words, octets = len(content) == 2 * count, bits <= 8 and len(content) == count + count % 2
    if not count or not 1 <= bits <= 16 or not (words or octets):
        raise ImageError("DICOM with a lookup table that does not fit its descriptor")
    kind = f"{byte_order(data, entries)}u2" if words else "u1"
    table = np.frombuffer(content, kind)[:count].astype(np.uint16)
    first &= 0xFFFF
    return Lut(first - (1 << 16) if signed and first >= 1 << 15 else first, bits, table)


def colour(stored: Stored, layout: Layout) -> Pixels:
    """Reduce RGB (H, W, 3) to 8 bits: of more bits the highest 8, as in other formats.

    Raises:
        ImageError: Signed colours, or fewer than 8 bits.
    """
    if layout.signed or layout.stored < 8:
        raise ImageError("DICOM with signed colours, or of fewer than 8 bits")
    return (stored >> (layout.stored - 8)).astype(np.uint8)


def palette(stored: Stored, layout: Layout, data: Elements) -> Pixels:
    """Look up palette indices (H, W) in the palettes of red, green and blue; uint8 (H, W, 3).

    Raises:
        ImageError: A palette is missing, or segmented, or does not fit its descriptor.
    """
    names = [f"{name}PaletteColorLookupTable" for name in ("Red", "Green", "Blue")]
    if not all(has(data, f"{name}Data") for name in names):
        raise ImageError("DICOM with a palette that is missing or segmented", "save it in RGB")
    channels = []
    for name in names:
        table = lut(data, f"{name}Descriptor", f"{name}Data", layout.signed)
        # Entries fill the bits that the descriptor names: 16 or 8.
        shift = 8 if table.bits > 8 else 0
        channels.append(table(stored.astype(np.float64)).astype(np.uint16) >> shift)
    return np.stack(channels, axis=-1).astype(np.uint8)


def grey(stored: Stored, layout: Layout, header: ParsedHeader, setting: Setting | None) -> tuple[Pixels, str]:
    """Make a monochrome image grey, by the rules above.

    Args:
        stored: Integers (H, W).
        layout: How they are stored.
        header: With the transformations; its notes are added to.
        setting: The user's window, None for the file's own.

    Returns:
        uint8 (H, W), 0-255, higher is brighter; and the rule.

    Raises:
        ImageError: A window, function or table that cannot be used.
    """
    padding = _padding(stored, layout, header.data)
    real = stored[~padding]
    low, high = (int(real.min()), int(real.max())) if real.size else (0, 0)
    modality, rescaled = _modality(header, layout.signed)
    if setting:
        rule, name = linear(setting.center, setting.width), f"setting {setting.name}"
        if setting.hounsfield and not (text(header.data, "Modality") == "CT" and rescaled):
            header.notes.append(_NOT_HOUNSFIELD)
    else:
        rule, name = _own_rule(header, layout, rescaled)
    if name == "full range":
        possible = np.arange(low, high + 1) if high - low <= _TABLE else np.array([low, high])
        ends = modality(possible.astype(np.float64))
        rule = stretch(float(ends.min()), float(ends.max()))
        header.notes.append(_NO_WINDOW)

    def shade(values: Values) -> Values:
        shades = rule(modality(values))
        return 255 - shades if layout.photometric == "MONOCHROME1" else shades

    pixels = shaded(stored, shade, low, high)
    pixels[padding] = 0
    return pixels, name


def _padding(stored: Stored, layout: Layout, data: Elements) -> npt.NDArray[np.bool_]:
    """Find where the scanner filled up the rectangle: neither measured nor shown."""
    keywords = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    if not has(data, keywords[0]) or layout.allocated > 16:
        return np.zeros(stored.shape, np.bool_)
    ends = []
    for keyword in keywords:
        for value in integers(data, keyword)[:1]:
            value &= 0xFFFF  # whatever sign its writer gave it
            ends.append(value - (1 << 16) if layout.signed and value >= 1 << 15 else value)
    return (stored >= min(ends)) & (stored <= max(ends))


def functional_group(header: ParsedHeader, keyword: str) -> Elements:
    """Return a group of the frame, or the shared one, or (in classic objects) the object itself."""
    own = header.frame_groups[header.frame - 1 : header.frame] or (
        first_item(header.data, "PerFrameFunctionalGroupsSequence"),
    )
    for groups in (*own, first_item(header.data, "SharedFunctionalGroupsSequence")):
        group = first_item(groups, keyword)
        if group:
            return group
    return header.data


def _modality(header: ParsedHeader, signed: bool) -> tuple[Rule, bool]:
    """Return how stored values become modality values, and whether that changes them."""
    if has(header.data, "ModalityLUTSequence"):
        item = first_item(header.data, "ModalityLUTSequence")
        return lut(item, "LUTDescriptor", "LUTData", signed), True
    group = functional_group(header, "PixelValueTransformationSequence")
    slope = (decimals(group, "RescaleSlope", header.notes) or (1.0,))[0]
    intercept = (decimals(group, "RescaleIntercept", header.notes) or (0.0,))[0]
    if not slope or max(abs(slope), abs(intercept)) > 1e9:
        raise ImageError("DICOM with a rescale slope or intercept that makes no sense")
    return lambda values: values * slope + intercept, (slope, intercept) != (1, 0)


def _own_rule(header: ParsedHeader, layout: Layout, rescaled: bool) -> tuple[Rule, str]:
    """Return the rule of the file and its name; for the full range, which the caller makes, as stored."""
    if has(header.data, "VOILUTSequence"):
        item = first_item(header.data, "VOILUTSequence")
        voi = lut(item, "LUTDescriptor", "LUTData", layout.signed or rescaled)
        return lambda values: voi(values) * (255 / ((1 << voi.bits) - 1)), "VOI LUT"
    group = functional_group(header, "FrameVOILUTSequence")
    if not (has(group, "WindowCenter") and has(group, "WindowWidth")):
        plain = layout.stored == 8 and not layout.signed and not rescaled
        return lambda values: values, "as stored" if plain else "full range"
    # PS3.3 C.11.2.1.2 and C.11.2.1.3
    centers, widths = (decimals(group, name, header.notes) for name in ("WindowCenter", "WindowWidth"))
    center, width = (centers or (math.nan,))[0], (widths or (math.nan,))[0]
    function = text(group, "VOILUTFunction").upper() or "LINEAR"
    if width < 0:
        width = -width
        header.notes.append(_NEGATIVE)
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or not width > 0:
        raise ImageError("DICOM with a window of no width or unknown form", "pass --window CENTER,WIDTH")
    if function == "SIGMOID":
        return (
            lambda values: 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))),
            "window SIGMOID",
        )
    if function == "LINEAR" and width >= 1:
        return linear(center, width), "window LINEAR"
    if function == "LINEAR":
        header.notes.append(_NARROW)
    return stretch(center - width / 2, center + width / 2), "window LINEAR_EXACT"
