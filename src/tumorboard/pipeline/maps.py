"""Heat maps for the report's cases, from the run's saved models: bounded in number and in time."""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tumorboard.errors import TumorboardError
from tumorboard.reporting.cases import Picture
from tumorboard.runfolder import RunFolder

if TYPE_CHECKING:
    from tumorboard.data.modes import Pixels
    from tumorboard.explaining.gradcam import Map

_SIDE = 160
_FLAT = 0.5  # of the hottest place
_SECONDS = 60.0  # a slow machine gets the first maps, not a long wait


def maps(
    run: RunFolder, wanted: Mapping[str, Sequence[str]], paths: Mapping[str, Path]
) -> dict[str, list[Picture]]:
    """By image id, where models of the run see what speaks for their own answers (Grad-CAM).

    Args:
        run: A finished run.
        wanted: By image id the names of the models whose maps are wanted.
        paths: Where the files are, or were.

    Returns:
        Nothing for images that cannot be read, and nothing at all when the models cannot be loaded.
    """
    found: dict[str, list[Picture]] = {}
    names = {name for models in wanted.values() for name in models}
    if not names or not any(paths[one].is_file() for one in wanted):
        return found  # without a picture Keras need not be loaded
    from tumorboard.pipeline.predict import open_board

    try:
        board = open_board(run.root, sorted(names))
    except TumorboardError:  # models moved away or changed; the report says that there are no maps
        return found
    end = time.monotonic() + _SECONDS
    for one, models in wanted.items():
        try:
            pixels = board.read(paths[one])
        except TumorboardError:
            continue
        for name in models if time.monotonic() < end else ():
            heat = board.heat_map(name, pixels)
            found.setdefault(one, []).append(Picture(_caption(name, heat), _jpeg(pixels, heat)))
    return found


def _caption(name: str, heat: "Map") -> str:
    """A map without a dark place, or without a bright one, must not be read as a finding."""
    flat = float(heat.min()) > _FLAT or float(heat.max()) == 0.0
    return f"map of {name}" + (": no place stands out" if flat else "")


def _jpeg(pixels: "Pixels", heat: "Map") -> bytes:
    from tumorboard.explaining.overlay import overlay

    file = io.BytesIO()
    picture = Image.fromarray(overlay(pixels, heat)).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
