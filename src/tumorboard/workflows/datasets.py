"""Data sets to begin with: chest-CT slices from Kaggle, and the synthetic images of the demo."""

import errno
import os
import shutil
from pathlib import Path

from tumorboard import storage
from tumorboard.data import synthetic
from tumorboard.data.manifest import DataSource
from tumorboard.errors import DataError, TumorboardError, display
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.train import train

NAME = "chest-ct"
HANDLE = "mohamedhanyyy/chest-ctscan-images"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
LICENCE = "Open Database Licence (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def fetch(out: str | Path, console: Console | None = None) -> Path:
    """Download the chest-CT slices; their folders appear at `out` complete, or not at all.

    Args:
        out: A new or empty folder.
        console: Where the licence is shown before anything is downloaded.

    Returns:
        The folder, which holds `train`, `valid` and `test`.

    Raises:
        DataError: `out` is in use; or Kaggle cannot be reached, needs credentials, or sent something else.
        StorageError: The disk is full or not writable.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"expected a new or empty folder, found {display(out)} in use; name another --out")
    (console or Console(quiet=True)).print(f"{HANDLE} from Kaggle; licence: {LICENCE}")
    partial = out.with_name(f"{storage.TEMPORARY}-{out.name}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _download(partial)
        # The archive may hold the folders of the splits at any depth.
        roots = [path.parent for path in sorted(partial.rglob("train")) if path.is_dir()]
        roots = [root for root in roots if (root / "test").is_dir()]
        if not roots:
            raise _by_hand("it holds no train and test folders")
        os.replace(roots[0], out)
    except OSError as error:
        raise storage.storage_error(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _download(folder: Path) -> None:
    try:
        import kagglehub

        kagglehub.dataset_download(HANDLE, output_dir=str(folder), force_download=True)
    except Exception as error:  # kagglehub's own, those of requests and of archives have no common base
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        raise _by_hand(str(error)) from error


def _by_hand(reason: str) -> TumorboardError:
    """Make the error that explains how to download the data set without this command."""
    return DataError(
        f"{NAME} could not be fetched; download the archive at {PAGE}, unpack it, and give the folder that "
        "holds train, valid and test to tumorboard train",
        [
            f"reason: {' '.join(reason.split())[:200]}",
            "needed: access to Kaggle and, if it asks for one, an API token (KAGGLE_API_TOKEN)",
            f"licence: {LICENCE}",
        ],
    )


def demo(data: str | Path, out: str | Path, console: Console | None = None) -> RunFolder:
    """Draw synthetic images into `data` and train on them; their one damaged file is named and left out.

    Args:
        data: Where the images are drawn.
        out: The run folder.
        console: Where progress is shown; quiet by default.

    Returns:
        The finished run.

    Raises:
        TumorboardError: A subclass, see `tumorboard.errors`.
    """
    console = console or Console(quiet=True)
    console.print(f"drawing synthetic chest-CT-like images into {data}: {synthetic.MARK}")
    synthetic.draw(Path(data))
    return train(DataSource(Path(data), skip_bad=True), out, "demo", console=console)
