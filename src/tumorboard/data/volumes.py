"""Choose the slices of volumes: of files of several frames, and of series of DICOM files.

A slice in a file is named by its address, FILE#1, FILE#2 and so on, which stands wherever the path of an
image does. So nothing but the choice of slices needs to know of volumes, and no slice is read before it is
needed.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tumorboard.config import Frames
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.image_reader import MAX_PIXELS, require_regular, split_address
from tumorboard.data.nifti import reader as nifti
from tumorboard.errors import DataError, ImageError, display

T = TypeVar("T")


def expanded(
    paths: Iterable[Path], frames: Frames, volume_of: dict[Path, Path] | None = None
) -> Iterator[Path]:
    """Yield all files, but of volumes the chosen slices, in the order in which they lie in the patient.

    Args:
        paths: Files of any kind; those of one folder follow each other.
        frames: Which slices are chosen, see `config.Frames`.
        volume_of: Gets the volume of each slice: its file, or the first file of its series.

    Raises:
        DataError: As `_by_volume`.
        SandboxStartError: As `slices`.
    """
    if frames == "refuse":
        yield from paths
        return
    volume_of = {} if volume_of is None else volume_of
    for stacks in _by_volume(paths):
        with ThreadPoolExecutor(2) as pool:
            of_files = pool.map(lambda stack: slices(stack[0], frames) if len(stack) == 1 else (), stacks)
            for stack, of_file in zip(stacks, of_files, strict=True):
                selected, volume = of_file or chosen(stack, frames), split_address(stack[0])[0]
                volume_of |= {path: volume for path in selected if len(stack) > 1 or path != volume}
                yield from selected


def _by_volume(paths: Iterable[Path]) -> Iterator[list[list[Path]]]:
    """Yield for each folder its files by volume: those of a DICOM series in order, others by themselves.

    Raises:
        DataError: The process that reads the DICOM headers ends at the files of a folder together.
        SandboxStartError: It cannot be started.
    """
    for folder, of_folder in itertools.groupby(paths, key=lambda path: path.parent):
        try:
            yield dicom.stacks(list(of_folder))
        except ImageError as error:
            raise DataError(
                f"cannot tell which DICOM files in {display(folder)} are one series: found {error}; free "
                "memory and repeat"
            ) from error


def slices(path: Path, frames: Frames) -> list[Path]:
    """Return the addresses of the chosen slices of a volume, in the order in which they lie in the patient.

    Args:
        path: A file of any kind.
        frames: Which slices are chosen, see `config.Frames`.

    Returns:
        The path itself for what is no volume or is one slice already, and one slice of what cannot be read:
        whoever decodes it reports the fault.

    Raises:
        SandboxStartError: It is a volume, and the process that reads it cannot be started.
    """
    if frames == "refuse" or split_address(path)[1]:
        return [path]
    try:
        numbers = slice_numbers(path)
    except ImageError:
        numbers = (1,)
    except (DataError, OSError):
        return [path]
    return [path.with_name(f"{path.name}#{number}") for number in chosen(numbers, frames)] or [path]


def slice_numbers(source: Path | bytes) -> tuple[int, ...]:
    """Return the numbers of a volume's slices as they lie in the patient; empty for what is no volume.

    Args:
        source: A file, or its content.

    Raises:
        DataError, OSError: It is no regular file, or cannot be read.
        ImageError: Its header is damaged, or it lacks slices.
        SandboxStartError: The process that reads it cannot be started.
    """
    if isinstance(source, bytes):
        head = source[: nifti.HEAD_BYTES]
    else:
        require_regular(source)
        with source.open("rb") as file:
            head = file.read(nifti.HEAD_BYTES)
    numbers: tuple[int, ...] = ()
    if dicom.recognised(head[: dicom.HEAD_BYTES]):
        numbers = dicom.frames(source, MAX_PIXELS)
    elif nifti.recognised(head):
        numbers = tuple(range(1, nifti.count_slices(source) + 1))
    return numbers if len(numbers) > 1 else ()


def chosen(stack: Sequence[T], frames: Frames) -> Sequence[T]:
    """Choose all slices, the middle one, or so many at even distances, in their order."""
    count = 1 if frames == "middle" else frames
    if not isinstance(count, int) or count >= len(stack):
        return stack
    return [stack[(2 * place + 1) * len(stack) // (2 * count)] for place in range(count)]
