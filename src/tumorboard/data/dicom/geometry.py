"""Put slices in the order in which they lie in the patient (PS3.3 C.7.6.2.1.1)."""

from collections.abc import Sequence

import numpy as np

from tumorboard.data.dicom.header import Elements, decimals

Plane = tuple[float, ...]
"""Image Position Patient in mm, then Image Orientation Patient: 9 numbers; empty if the file has none."""

_SAME_DIRECTION, _SAME_PLACE = 1e-3, 1e-3  # of a direction cosine; in mm


def plane(position: Elements, orientation: Elements) -> Plane:
    """Read the plane of a slice from the elements that hold its position and its orientation.

    Raises:
        ImageError: Text that is no finite number.
    """
    where = decimals(position, "ImagePositionPatient", [])
    direction = decimals(orientation, "ImageOrientationPatient", [])
    return (*where, *direction) if (len(where), len(direction)) == (3, 6) else ()


def order(planes: Sequence[Plane]) -> list[int] | None:
    """Return the slices' places in order of their position along the normal of their planes.

    Returns:
        Indices into `planes`; None if the slices are no stack: a plane is unknown, they are not parallel, or
        two lie in one place.
    """
    if not planes or not all(planes):
        return None
    values = np.array(planes)
    directions = values[:, 3:]
    normal = np.cross(directions[0, :3], directions[0, 3:])
    heights = values[:, :3] @ normal
    indices = np.argsort(heights, kind="stable")
    parallel = np.abs(directions - directions[0]).max() < _SAME_DIRECTION
    if not parallel or (np.diff(heights[indices]) < _SAME_PLACE).any():
        return None
    return [int(index) for index in indices]
