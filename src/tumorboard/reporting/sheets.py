"""Pictures side by side, so that people can judge what a machine calls twins."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from tumorboard import config
from tumorboard.data.image_reader import read_image, to_input

_SIDE, _CAPTION, _GAP = 180, 30, 8
_COLUMNS, _ROWS = 5, 40
_LETTERS = 28  # of a caption's line

_RULE = config.Image(size=_SIDE, resize="pad")


def contact_sheet(groups: Sequence[Sequence[str]], paths: Mapping[str, Path], window: str = "") -> bytes:
    """A row for each group, its first members side by side with their ids below; a PNG.

    Args:
        groups: Ids that belong together; the first 40 groups and 5 members of each are shown.
        paths: For each id its file, which can be read.
        window: Of DICOM images.

    Raises:
        DataError: A file cannot be read any more.
    """
    rows = [group[:_COLUMNS] for group in groups[:_ROWS]]
    width = max(len(row) for row in rows) * (_SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(rows) * (_SIDE + _CAPTION + _GAP) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, name in enumerate(row):
            place = (_GAP + x * (_SIDE + _GAP), _GAP + y * (_SIDE + _CAPTION + _GAP))
            picture = to_input(read_image(paths[name], window=window).pixels, _RULE)
            sheet.paste(Image.fromarray(picture), place)
            pen.text((place[0], place[1] + _SIDE), _caption(name), fill="black")
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _caption(name: str) -> str:
    """The ends of folder and file name; ASCII, because the built-in font may have no more."""
    folder, _, file = name.encode("ascii", "replace").decode().rpartition("/")
    return f"{folder[-_LETTERS:]}\n{file[-_LETTERS:]}"
