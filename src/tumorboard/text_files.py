"""Text files as spreadsheets and editors write them: their encoding, tables in them, and lists of paths.

Every table, list and recipe of a user is read here. Cells are separated by comma, semicolon, tab or `|`;
before the header there may be a byte-order mark, or the line `sep=;` that Excel writes.
"""

import codecs
import csv
import io
import itertools
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tumorboard.errors import DataError, UsageError, display

MAX_BYTES = 1 << 30

_PATHS = ("path", "file", "filename", "filepath", "image", "imagepath", "imagename", "imagefile")
COLUMNS = {
    "id": ("id", "imageid", *_PATHS),
    "path": _PATHS,
    "label": ("label", "class", "classname", "category", "diagnosis", "target"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("group", "groupid", "patient", "patientid", "subject", "subjectid", "caseid"),
}
"""Each column that is read, with its names in other people's tables: in small letters, without `_ -`."""

_SEPARATORS = ",;\t|"
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t]*(?:\r\n|\r|\n)', re.IGNORECASE)
_LONGEST_HEADER = 1 << 20
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Byte-order marks, spaces of no width, and marks of direction: what copying leaves at the ends of a cell.
_BLANK = r"[\s\ufeff\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]+"


class Row(NamedTuple):
    """The cells of a row, and the number of its first line in the file."""

    line: int
    cells: list[str]


def read_text(path: Path) -> str:
    """Read a text file, with its line ends as they are; see `decoded`.

    Raises:
        DataError: It cannot be read, is larger than 1 GiB, or is no text.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise DataError(f"expected a text file, found {display(path)} larger than 1 GiB; split it")
            content = file.read()
    except OSError as error:
        raise DataError(f"cannot read {display(path)}: {error.strerror}; check the path") from error
    return decoded(content, str(path))


def decoded(content: bytes, source: str) -> str:
    """Decode a text file: by its byte-order mark, as UTF-8, or as Windows-1252 if it looks like that.

    Args:
        content: The file's bytes.
        source: The file's name, for errors.

    Raises:
        DataError: No text, or text in another encoding.
    """
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    if not mark and re.match(rb"[!-~]\0[!-~]\0", content):
        encoding = "utf-16-le"
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise DataError(
                f"expected a text file, found a workbook or an archive in {display(source)}; save the sheet "
                "as CSV UTF-8, or unpack the archive"
            ) from error
        text = "" if mark else _windows_1252(content)
        if not text:
            raise DataError(
                f"expected text in UTF-8, found other bytes in {display(source)}; save it as UTF-8 (Excel: "
                f"CSV UTF-8), or convert it, e.g. iconv -f GB18030 -t UTF-8 {shlex.quote(source)} > utf8.csv"
            ) from error
    position = text.find("\0")
    if position >= 0:
        line = text.count("\n", 0, position) + 1
        raise DataError(
            f"expected text in {display(source)}, found a NUL character in line {line}; remove it"
        )
    return text


def _windows_1252(content: bytes) -> str:
    """Decode text of Western Europe; "" if it is unlikely to be that.

    Cyrillic, Greek and East Asian text in its old encodings comes out as rows of accented letters, or as
    symbols, or has bytes that Windows-1252 lacks.
    """
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    beyond = (
        set(text) - set(map(chr, range(128))) - set("\xa0°²³·§±\u2013\u2014\u2018\u2019\u201c\u201d\u201e…€")
    )
    unlikely = "ƒ" in beyond or not all(map(str.isalpha, beyond)) or re.search(r"[^\x00-\x7f]{3}", text)
    return "" if unlikely else text


def rows(text: str, source: str) -> Iterator[Row]:
    """Yield the rows of a table, the header first, without blank rows; cells are as they stand.

    Blank cells beyond the last name of the header are dropped: spreadsheets add them.

    Args:
        text: As `read_text` returns it.
        source: The file's name, for errors.

    Raises:
        DataError: A fault in a row, or another number of cells than in the header; says the line.
    """
    separator, start = _separator(text)
    reader = csv.reader(io.StringIO(text[start:], newline=""), strict=True, delimiter=separator)
    lines_before, width = int(text[:start].endswith(("\r", "\n"))), 0
    line = lines_before
    try:
        for cells in reader:
            first, line = line + 1, lines_before + reader.line_num
            if not any(map(str.strip, cells)):
                continue
            width = width or max(place for place, cell in enumerate(cells, start=1) if cell.strip())
            if len(cells) < width or any(map(str.strip, cells[width:])):
                raise DataError(
                    f"expected {width} columns in {display(source)}, found {len(cells)} in line {first}; "
                    f"repair the line (a cell that contains {separator!r} needs quotation marks around it)"
                )
            yield Row(first, cells[:width])
    except csv.Error as error:
        reason = "a quotation mark that is not closed" if "unexpected end" in str(error) else str(error)
        raise DataError(
            f"expected a table in {display(source)}, found a fault in line {line + 1}: {reason}; "
            "repair the line"
        ) from error


def _separator(text: str) -> tuple[str, int]:
    """Find what separates the cells, and where the header begins."""
    marks = len(text) - len(text.lstrip("\ufeff"))
    named = _EXCEL_SEPARATOR.match(text, marks)
    if named:
        return named[1], named.end()
    known = {name for names in COLUMNS.values() for name in names}

    def columns(separator: str) -> tuple[int, int]:
        header = _header(text[marks:_LONGEST_HEADER], separator)
        return sum(_plain(name) in known for name in header), len(header)

    return max(_SEPARATORS, key=columns), marks


def _header(text: str, separator: str) -> list[str]:
    """Return the first row that is not blank; nothing if it has a fault."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        return next((cells for cells in reader if any(map(str.strip, cells))), [])
    except csv.Error:
        return []


def places(
    header: Sequence[str], source: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, int]:
    """Find columns by their names in `COLUMNS`; a column's own name goes before the others.

    Args:
        header: The first row.
        source: The file's name, for errors.
        required: Columns that must be there.
        optional: Columns that may be there.

    Returns:
        The position of each of these columns that is there.

    Raises:
        DataError: A column is missing, a name occurs twice, or two columns may be the same one.
    """
    names = [clean(name).casefold() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    places: dict[str, int] = {}
    for column in (*required, *optional):
        synonyms = [name for name in names if _plain(name) in COLUMNS[column]]
        candidates = [column] if column in names else synonyms
        if len(candidates) > 1:
            repeated = repeated or candidates
        elif candidates:
            places[column] = names.index(candidates[0])
    wanted = ", ".join(required) + (f" and if there {', '.join(optional)}" if optional else "")
    plural = "s" if "," in wanted else ""
    start = f"expected the column{plural} {wanted}, each once, in line 1 of {display(source)}, found "
    if repeated:
        raise DataError(f"{start}{display(' and '.join(repeated))!r}; rename or remove one")
    if not places.keys() >= set(required):
        raise DataError(f"{start}{display(', '.join(header))!r}; the first line must name the columns")
    return places


def place_of(header: Sequence[str], source: str, column: str, flag: str) -> int:
    """Return the position of a column that the user names, whatever its case.

    Args:
        header: The first row.
        source: The file's name, for errors.
        column: The column's name.
        flag: The option that names it, for errors.

    Raises:
        UsageError: No such column, or several.
    """
    names, wanted = [clean(name).casefold() for name in header], column.strip().casefold()
    if names.count(wanted) != 1:
        raise UsageError(
            f"expected one column {display(column)!r} in {display(source)}, found "
            f"{display(', '.join(header))!r}; correct {flag}"
        )
    return names.index(wanted)


def paths(text: str, source: str, root: Path, lines: bool) -> Iterator[str]:
    """Yield the names of a list of files: the column `path` of a table, or every line.

    Args:
        text: As `read_text` returns it.
        source: The list's name, for errors.
        root: The folder that the names are relative to.
        lines: Whether a text without such a column is a list of one name per line.

    Raises:
        DataError: No column `path`, a row without a path, or a fault in a row.
    """
    separator, start = _separator(text)
    header = _header(text[start:_LONGEST_HEADER], separator)
    named = any(_plain(name) in _PATHS for name in header)
    if lines and (not named or (len(header) == 1 and located(root, clean(header[0])).exists())):
        # Windows puts quotation marks around a path that it copies.
        names = (re.sub(r'^"(.+)"$', r"\1", clean(line)) for line in io.StringIO(text, newline=""))
        yield from filter(None, names)
        return
    column = places(header, source, ["path"])["path"]
    for line, cells in itertools.islice(rows(text, source), 1, None):
        name = clean(cells[column])
        if not name:
            raise DataError(f"expected a path in line {line} of {display(source)}, found none; fill it in")
        yield name


def located(root: Path, name: str) -> Path:
    r"""Return the path of a name that a table in the folder `root` gives.

    A name such as `a\b.png`, written on Windows, is `a/b.png` unless a file has just this name. An accent
    may be one character with its letter in the table and two in the name of the file, or the reverse.
    """
    if "\\" in name and not os.path.lexists(root / name):
        name = name.replace("\\", "/")
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    return next((root / form for form in forms if os.path.lexists(root / form)), root / name)


def clean(cell: str) -> str:
    """Return a cell without blanks and invisible marks at its ends."""
    return re.sub(f"^{_BLANK}|{_BLANK}$", "", cell)


def number(cell: str) -> float:
    """Read a number with a decimal point or a decimal comma.

    Raises:
        ValueError: It is none.
    """
    decimal_comma = re.fullmatch(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*", cell)
    return float(cell.replace(",", ".") if decimal_comma else cell)


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]", "", clean(name).casefold())
