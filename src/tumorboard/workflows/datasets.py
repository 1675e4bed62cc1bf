"""The data set of the study that this project grew out of, from Kaggle, in the layout that `train` takes."""

import errno
import os
import shutil
from pathlib import Path

from tumorboard import storage
from tumorboard.config import load
from tumorboard.data import synthetic
from tumorboard.data.manifest import DataSource
from tumorboard.errors import DataError, TumorboardError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.train import train

NAME = "chest-ct"
HANDLE = "mohamedhanyyy/chest-ctscan-images"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
LICENCE = "Open Database Licence (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def fetch(out: Path, console: Console | None = None) -> Path:
    """Download the data set; its folders appear at `out` whole, or not at all.

    Args:
        out: A new or empty folder.
        console: Where the licence is shown before anything is downloaded.

    Returns:
        The folder, which holds `train`, `valid` and `test`.

    Raises:
        DataError: `out` is in use; or Kaggle cannot be reached, wants credentials, or sent something else.
        StorageError: The disk is full or not writable.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"expected a new or empty folder, found {storage.shown(out)} in use; name another --out"
        )
    (console or Console(quiet=True)).print(f"{HANDLE} from Kaggle; licence: {LICENCE}")
    partial = out.with_name(f"{storage.TEMPORARY}-{out.name}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _download(partial)
        os.replace(_root(partial), out)
    except OSError as error:
        raise storage.storage_error(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _download(folder: Path) -> None:
    try:
        import kagglehub

        kagglehub.dataset_download(HANDLE, output_dir=str(folder), force_download=True)
    except Exception as error:  # its own, those of requests, of the archive: no common kind
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        raise _by_hand(str(error)) from error


def _root(folder: Path) -> Path:
    """The folder of the splits, which the archive may hold at any depth."""
    for found in sorted(folder.rglob("train")):
        if found.is_dir() and (found.parent / "test").is_dir():
            return found.parent
    raise _by_hand("it holds no train and test folders")


def _by_hand(reason: str) -> TumorboardError:
    return DataError(
        f"{NAME} could not be fetched; download the archive at {PAGE}, unpack it, and give the folder that "
        "holds train, valid and test to tumorboard train",
        [
            f"reason: {' '.join(reason.split())[:200]}",
            "needed: a way to Kaggle and, where it asks for one, an API token (KAGGLE_API_TOKEN)",
            f"licence: {LICENCE}",
        ],
    )


def demo(data: Path, out: Path, console: Console) -> RunFolder:
    """Draw the phantoms into `data` and train on them; the planted damaged file is named and left out."""
    console.print(f"drawing synthetic chest-CT-like images into {data}: {synthetic.MARK}")
    synthetic.draw(data)
    return train(DataSource(data, skip_bad=True), out, load("demo"), console=console)
