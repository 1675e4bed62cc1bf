"""Images wherever they are: files here, and objects in a store that fsspec reads, such as `s3://bucket/scans`.

An object is fetched into a file without a name, which is gone when it is closed or its process dies, and is
then as hostile as any file. Credentials are the store's own matter (its environment variables, files or
roles): they are never read here, and of a store's errors only the kind is shown, for their texts may hold
signed addresses.
"""

import contextlib
import importlib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import EIO
from itertools import groupby
from pathlib import Path
from typing import Any

from tumorboard import optional, storage
from tumorboard.config import Frames
from tumorboard.data import class_folders, volumes
from tumorboard.data.image_reader import require_regular, require_size, split_address
from tumorboard.data.left_out import BY_NAME, LeftOut, ignored
from tumorboard.errors import DataError, UsageError, display

STORES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""The stores that are read, each with the package that reads it through fsspec; only s3 is tested."""

_AHEAD = 1 << 23  # bytes asked for at once; an ordinary slice needs one request
_CHUNK = 1 << 20
_VERSIONS = ("etag", "generation", "lastmodified", "last_modified", "updated")


@dataclass(frozen=True)
class Remote:
    """An object in a store.

    Attributes:
        url: Its address, scheme included.
        size: Bytes, as the store lists it.
        version: What changes with its content, as the store lists it.
    """

    url: str
    size: int
    version: str

    def __str__(self) -> str:
        return self.url


Source = Path | Remote
Opened = io.BufferedReader | io.BufferedRandom


def sources(
    named: Sequence[Path | str],
    left_out: list[LeftOut] | None = None,
    frames: Frames = "refuse",
    volume_of: dict[Path, Path] | None = None,
) -> Iterator[Source]:
    """Yield every file and object, in an order that a second call repeats.

    Args:
        named: Paths as `class_folders.files` takes them; as text, addresses: of an object, or of all below
            it. A store's listing is in memory while it is given out.
        left_out: Gets what is no input.
        frames: The slices of volumes that are yielded in their place; objects in a store are no volumes.
        volume_of: Gets the volume of each slice, as of `volumes.expanded`.

    Raises:
        DataError: A list that cannot be read; a store that cannot be listed, or has nothing there; or as
            `volumes.expanded`.
        UsageError: A store that is not read, or whose package is not installed.
    """
    left_out = [] if left_out is None else left_out
    for is_address, places in groupby(named, key=lambda place: isinstance(place, str)):
        if is_address:
            for place in places:
                yield from _below(str(place), left_out)
        else:
            files = class_folders.files([Path(place) for place in places], left_out)
            yield from volumes.expanded(files, frames, volume_of)


def require_existing(named: Sequence[Path | str]) -> None:
    """Raise DataError if they are paths, and none of them exists."""
    if not any(isinstance(place, str) or os.path.lexists(split_address(place)[0]) for place in named):
        raise DataError(f"expected images in {display(named[0])}, found no file; check the path")


def version(source: Source) -> str:
    """Return what changes when a file does: size and time of change here, size and version in a store."""
    if isinstance(source, Remote):
        return f"{source.size} {source.version}"
    try:
        status = split_address(source)[0].stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """Open a regular file, that of a slice's volume, or an object's bytes, to read and seek in.

    Raises:
        DataError: It is missing, empty, too large, or no regular file.
        OSError: It cannot be read now.
        StorageError: No room for an object's bytes in the temporary folder.
    """
    if isinstance(source, Path):
        source, _ = split_address(source)
        require_regular(source)  # before opening: opening a pipe would wait for a writer for ever
        with source.open("rb") as file:
            yield file
        return
    require_size(source.url, source.size)
    with tempfile.TemporaryFile() as fetched:
        for chunk in _chunks(source):
            try:
                fetched.write(chunk)
            except OSError as error:
                raise storage.storage_error(Path(tempfile.gettempdir()), error) from error
        fetched.seek(0)
        yield fetched


def _below(url: str, left_out: list[LeftOut]) -> Iterator[Remote]:
    store = _store(url)
    try:
        root = store._strip_protocol(url).rstrip("/")
        listing = store.find(root, detail=True, refresh=True)
    except Exception as error:  # each store has errors of its own
        raise DataError(
            f"cannot list {display(url)}: {type(error).__name__}; check the address, the network and "
            "the store's credentials in the environment"
        ) from None
    objects, ignored_names = [], []
    for name, info in sorted(listing.items()):
        if info["type"] != "file" or name.endswith("/"):  # the marker of a folder
            continue
        below = name.removeprefix(root).lstrip("/")
        # "a/../b" is a plain name there.
        if any(ignored(Path(part)) for part in below.split("/") if part.strip(".")):
            ignored_names.append(below)
            continue
        values = {key.lower(): value for key, value in info.items()}
        versions = (str(values[key]) for key in _VERSIONS if values.get(key))
        objects.append(Remote(store.unstrip_protocol(info["name"]), int(info["size"]), next(versions, "")))
    if ignored_names:
        left_out.append(LeftOut.of(url, ignored_names, BY_NAME))
    if not objects:
        raise DataError(f"expected objects at {display(url)}, found none; check the address")
    yield from objects


def _chunks(remote: Remote) -> Iterator[bytes]:
    """The object's bytes, never more than were listed."""
    store = _store(remote.url)
    try:
        path = store._strip_protocol(remote.url)
        with store.open(path, "rb", size=remote.size, block_size=_AHEAD) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except Exception as error:
        raise OSError(EIO, type(error).__name__) from None


def _store(url: str) -> Any:
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    if scheme not in STORES or (":" in place and "@" in place):
        raise UsageError(
            f"expected {'://, '.join(STORES)}:// and no credentials in the address, found "
            f"{display(scheme)}://...; set credentials in the environment"
        )
    optional.require(f"{scheme}://", "fsspec", STORES[scheme], extra=scheme)
    return importlib.import_module("fsspec").filesystem(scheme)
