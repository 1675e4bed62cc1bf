"""How the settings of runs differ, from the fingerprints that they recorded."""

import json
from collections.abc import Sequence
from typing import Any

from tumorboard.errors import DataError, display
from tumorboard.run_folder import RunFolder
from tumorboard.storage import read_regular

_MAX_FINGERPRINT = 1 << 26  # bytes; it names every image
_LONGEST = 200  # characters of a value


def setting_differences(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """List the settings, versions and numbers of images in which runs differ, each with its value by run.

    Raises:
        DataError: A run without a fingerprint that can be read.
    """
    columns = [_settings(run) for run in runs]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, "") for column in columns]) for name in names]
    return [
        {"name": display(name, _LONGEST), "values": [display(value, _LONGEST) for value in values]}
        for name, values in rows
        if len(set(values)) > 1  # of the whole values: shortened, they may look the same
    ]


def _settings(run: RunFolder) -> dict[str, str]:
    """Return what a run depends on, as text."""
    try:
        content = json.loads(read_regular(run.fingerprint, _MAX_FINGERPRINT))
        sections = {**content["settings"], **content["environment"]}
        files = content["files"].values()
        splits = [split for split, *_ in files]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError):
        raise DataError(
            f"expected a run that recorded its settings, found none in {display(run.root.name, 60)}; "
            "choose another"
        ) from None
    counts = {"images": len(splits), "test images": splits.count("test")}
    return {name: str(value) for name, value in (counts | sections).items()}
