"""Names of classes, runs and files in figures: in any script, of any length.

A browser finds the fonts for SVG text itself. For a PNG the installed fonts are searched; a name that none of
them shows is replaced by its number.
"""

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:  # half a second to import
    from matplotlib.font_manager import FontEntry

_FIRST = "DejaVu Sans"  # comes with matplotlib
_PLACEHOLDERS = "Last Resort"  # a font of boxes for every character
_KEPT = "\n\u200c\u200d"  # the last two are invisible, but Persian and the scripts of India spell with them


def printable(text: str) -> str:
    """Return text with spaces for what shows nothing, steers a terminal or turns the direction of writing."""
    return "".join(c if c.isprintable() or c in _KEPT else " " for c in text)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Cut long names to `width` cells, so that different names stay different.

    A letter takes one cell, a Chinese, Japanese or Korean one two. Names that begin alike keep their ends; if
    that does not tell them apart, they begin with their number.
    """
    for tail in (0, width // 3):
        short = [_cut(name, width, tail) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return [f"{number} {_cut(name, width - 4, 0)}" for number, name in enumerate(names, start=1)]


def _cut(name: str, width: int, tail: int) -> str:
    """Cut the middle of a name, or its end if `tail` is 0, so that `tail` cells follow what is left out."""
    name = printable(name)
    if cell_len(name) <= width:
        return name
    end = len(name)
    while end and cell_len(name[end - 1 :]) <= tail:
        end -= 1
    start = 0
    while cell_len(name[: start + 1]) <= width - 1 - tail:
        start += 1
    # No mark without its letter on either side.
    while start and unicodedata.category(name[start]).startswith("M"):
        start -= 1
    while end < len(name) and unicodedata.category(name[end]).startswith("M"):
        end += 1
    return f"{name[:start]}…{name[end:]}"


def png_labels(names: Sequence[str], width: int) -> list[str]:
    """Shorten names for a PNG, and replace each that no installed font shows by its number among them."""
    return [
        str(number) if without_glyphs(name) else short
        for number, (name, short) in enumerate(zip(names, shortened(names, width), strict=True), start=1)
    ]


def font_families(text: str) -> list[str]:
    """Return the fonts that show this text together, the first one for what it has, and so on."""
    return [_FIRST, *(font.name for font in _further_fonts(_lacking(text))[0])]


def without_glyphs(text: str) -> bool:
    """Whether no installed font shows a character of this text."""
    return bool(_further_fonts(_lacking(text))[1])


def font_file(text: str) -> Path | None:
    """Return a font that shows all of the text; None if there is none."""
    lacking = _lacking(text)
    if not lacking:
        return Path(_first_file())
    everything = frozenset(map(ord, text)) - {ord(" "), ord("\n")}
    return next((Path(font.fname) for font in _fonts() if everything <= _characters(font.fname)), None)


def _lacking(text: str) -> frozenset[int]:
    """Characters that the first font lacks, without invisible ones."""
    visible = {ord(c) for c in text if unicodedata.category(c) not in ("Cc", "Cf")}
    return frozenset(visible - _characters(_first_file()))


@functools.cache
def _first_file() -> str:
    from matplotlib import font_manager

    return font_manager.findfont(_FIRST)


@functools.cache
def _further_fonts(lacking: frozenset[int]) -> "tuple[tuple[FontEntry, ...], frozenset[int]]":
    """Find few fonts that show as many of these characters as can be shown, and the characters left over."""
    chosen: list[FontEntry] = []
    while lacking:
        best = max(_fonts(), key=lambda font: len(lacking & _characters(font.fname)), default=None)
        if best is None or not lacking & _characters(best.fname):
            break
        chosen.append(best)
        lacking -= _characters(best.fname)
    return tuple(chosen), lacking


@functools.cache
def _fonts() -> "list[FontEntry]":
    """Upright fonts of normal weight, sans serif first."""
    from matplotlib import font_manager

    fonts = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal"
        and font.weight in (400, "normal", "regular")
        and _PLACEHOLDERS not in font.name
    ]
    return sorted(fonts, key=lambda font: ("Sans" not in font.name, font.name, font.fname))


@functools.cache
def _characters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
        return frozenset()
