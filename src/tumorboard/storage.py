"""Write files so that a kill, a full disk or a power cut leaves the old state or the new one, never half.

Every file is written to a temporary name, flushed to the disk and renamed.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np
from numpy.typing import DTypeLike

from tumorboard.errors import StorageError, display

TEMPORARY = ".writing"
"""Marks a file that is not finished; what carries it after a kill may be deleted."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there appears at `path` whole, or not at all.

    Raises:
        StorageError: No space, no permission, or any other fault of the disk.
    """
    temporary = path.with_name(f"{TEMPORARY}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # a link of this name would be followed
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs only what is open for writing
            os.fsync(file.fileno())
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # makes the rename durable; Windows opens no folder
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder, unless it exists, and check that a file can be written there.

    Raises:
        StorageError: It cannot: no space, no permission, a file of this name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise storage_error(folder, error) from error


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait until no other process uses this file or folder, and hold it; the lock is beside it.

    Raises:
        StorageError: No permission, or any other fault of the disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f".turn-{path.name}.lock")):
            yield
    except OSError as error:
        raise storage_error(path, error) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears at `path` whole, or not at all; raises as `replacing`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def write_disposable(path: Path, content: Any) -> bool:
    """Write JSON that may be lost: not flushed to the disk, and a fault of the disk is no error.

    Returns:
        Whether it was written.
    """
    half = path.with_name(f"{TEMPORARY}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)  # a link of this name would be followed
        half.write_text(json.dumps(content, ensure_ascii=True), encoding="utf-8")
        os.replace(half, path)
    except OSError:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        return False
    return True


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that may be a stranger's.

    Raises:
        OSError: It cannot be read, or is a pipe or a device, which might never end.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)  # `fdopen` leaves that of a folder open
        raise OSError(errno.EINVAL, "no regular file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_regular(path: Path, limit: int, *, end: bool = False) -> bytes:
    """Read a file that may be a stranger's; with `end` the last bytes of it, at most so many.

    Raises:
        OSError: As `open_regular`; or it is longer, so that a check of its first bytes would prove nothing.
    """
    with open_regular(path) as file:
        if end:
            file.seek(max(os.fstat(file.fileno()).st_size - limit, 0))
            return file.read(limit)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes", str(path))
    return content


def modified(path: Path) -> float:
    """Return when a file was last written, in seconds since 1970; 0 if it is not there any more."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically; what of a file's name is not UTF-8 is escaped, as in JSON."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any parser reads: no NaN, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def writing_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike
) -> Iterator[Callable[[np.ndarray], object]]:
    """Yield a function that appends rows to an array, which then appears at `path` as a whole `.npy` file.

    The file is not mapped into memory: in a map a full disk is a fatal signal instead of an error, and
    Windows does not rename a file that is mapped.
    """
    kind = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with writing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield lambda rows: file.write(np.ascontiguousarray(rows, kind).data)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Make an error of a fault of the disk, with the space that is left unless permission is missing."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what, remedy = error.strerror or str(error), "make it writable or "
    else:
        free = "free space unknown"
        for folder in (path, *path.parents):
            with contextlib.suppress(OSError):  # not there, or not readable: the next one up
                free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free"
                break
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"{'no space left' if full else (error.strerror or str(error))[:60]} ({free})"
        remedy = "make room or " if full else ""
    return StorageError(
        f"cannot write {display(path)}: {what}; {remedy}choose another --out, "
        "then repeat the command: what was finished is kept"
    )


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
