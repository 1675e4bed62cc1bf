"""Write a manifest CSV that `tables` reads back: paths relative to the CSV's folder."""

import csv
import io
import os
from pathlib import Path, PurePath

from tumorboard.data.entries import fault
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.errors import DataError

COLUMNS = ("path", "label", "split", "group")


def to_csv(manifest: Manifest, file: Path) -> str:
    """The samples as the text of a manifest CSV at `file`, which `data.tables` reads back.

    Raises:
        DataError: An image that cannot be named in a CSV at that place.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((_relative(s, file), s.label, s.split, s.group) for s in manifest.samples)
    return text.getvalue()


def _relative(sample: Sample, file: Path) -> str:
    root = file.absolute().parent
    name = PurePath(os.path.relpath(sample.path, root)).as_posix()
    problem = fault(Path(os.path.normpath(root / name)), name)
    if problem:
        raise DataError(f"the CSV cannot name an image from there: {problem}; or choose another --out")
    # Readers strip the blanks around a value; these two change no path.
    before, after = "./" * (name != name.lstrip()), "/." * (name != name.rstrip())
    return f"{before}{name}{after}"
