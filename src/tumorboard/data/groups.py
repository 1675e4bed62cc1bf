"""Groups, such as patients or series, that are part of file names."""

import re
from dataclasses import replace

from tumorboard.data.manifest import Loaded, Sample
from tumorboard.errors import UsageError


def group_by_name(loaded: Loaded, pattern: str) -> Loaded:
    r"""Give a group to each sample that has none and whose file name matches the pattern.

    The group is the class and what the pattern's own groups match: with ``^\d+( \(\d+\))?\.png`` the files
    ``007.png`` and ``008.png`` of a class are one group, ``007 (2).png`` and ``008 (2).png`` another.

    Args:
        loaded: From `manifest.load`.
        pattern: A regular expression with at least one group, searched in file names; "" leaves all as it is.

    Raises:
        UsageError: No regular expression, one without a group, or one that fits no file.
    """
    if not pattern:
        return loaded
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"expected a regular expression as --group-by-name, found {pattern[:60]!r} ({error})"
        ) from error
    if not expression.groups:
        raise UsageError(
            f"expected a group in brackets in --group-by-name, found none in {pattern[:60]!r}; "
            r"for example '\((\d+)\)\.png$'"
        )

    def grouped(sample: Sample) -> Sample:
        match = expression.search(sample.path.name)
        if sample.group or match is None:
            return sample
        return replace(sample, group="/".join((sample.label, *(part or "" for part in match.groups()))))

    samples = tuple(map(grouped, loaded.manifest.samples))
    if samples == loaded.manifest.samples:
        raise UsageError(
            f"expected --group-by-name to fit file names, found none that {pattern[:60]!r} fits and that has "
            "no group yet"
        )
    return replace(loaded, manifest=replace(loaded.manifest, samples=samples))
