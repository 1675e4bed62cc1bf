"""The grey window of medical images: which values become black and which white."""

import math
from dataclasses import dataclass

PRESETS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0)}
"""Centre and width in Hounsfield units, as commonly set for reading a chest CT."""


@dataclass(frozen=True, slots=True)
class Window:
    """Values from `center - width / 2` to `center + width / 2` spread over black to white.

    Args:
        name: As the user gave it.
        center: In the image's own units, after rescale.
        width: Likewise, above 0.
    """

    name: str
    center: float
    width: float

    @property
    def hounsfield(self) -> bool:
        """Whether it is a preset, which makes sense in Hounsfield units only."""
        return self.name in PRESETS


def parse(text: str) -> Window | None:
    """Read a window: "" for the one in each file, a preset's name, or "CENTER,WIDTH".

    Raises:
        ValueError: Neither of these, or a width that is not above 0.
    """
    if not text:
        return None
    if text in PRESETS:
        return Window(text, *PRESETS[text])
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError:
        center, width = math.nan, math.nan
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ValueError(f"expected {', '.join(PRESETS)} or CENTER,WIDTH with a width above 0")
    return Window(text, center, width)
