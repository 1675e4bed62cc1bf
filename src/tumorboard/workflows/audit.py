"""The audit: look at every image once, make all checks, say what they found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard import config, storage
from tumorboard.auditing import run
from tumorboard.auditing.run import Report
from tumorboard.auditing.study import gather
from tumorboard.data.class_matching import Matching
from tumorboard.data.manifest import Manifest, load, require_usable
from tumorboard.errors import UsageError
from tumorboard.progress import Console
from tumorboard.reporting.sheets import contact_sheet


@dataclass(frozen=True)
class Audited:
    """A finished audit.

    Args:
        report: What was found.
        file: The list of everything, as JSON; None if nothing was to be written.
    """

    report: Report
    file: Path | None


def audit_data(
    source: Path,
    *,
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    mute: Collection[str] = (),
    window: str = "",
    out: Path | None = None,
    console: Console | None = None,
) -> Audited:
    """Audit class folders or a manifest CSV; the data is only read.

    Args:
        source: Class folders, or a manifest CSV.
        class_map: Class name to the folders that are this class.
        merge: New class name to the classes that it takes in.
        mute: Codes of checks that are not made.
        window: Of DICOM images, see `data.reading.read_image`.
        out: Where audit.json and pictures of twins side by side go.
        console: Where progress is shown; quiet by default.

    Raises:
        UsageError: An unknown code in `mute`, or a window that is none.
        DataError: The data cannot be used at all.
        StorageError: `out` cannot be written.
    """
    run.require_codes(mute)
    _require_window(window)
    loaded = load(source, class_map, merge)
    report = audit(
        loaded.manifest,
        console or Console(quiet=True),
        problems=loaded.problems,
        matching=loaded.matching,
        mute=mute,
        window=window,
    )
    return Audited(report, write(report, loaded.manifest, out, window) if out else None)


def audit(
    manifest: Manifest,
    console: Console,
    *,
    problems: Sequence[str] = (),
    matching: Matching | None = None,
    mute: Collection[str] = (),
    window: str = "",
) -> Report:
    """Audit a manifest.

    Args:
        manifest: The samples, with or without splits.
        console: Where progress is shown.
        problems: Files that were found unusable before and are not in the manifest.
        matching: How class folders were matched, if that is known.
        mute: Codes of checks that are not made.
        window: Of DICOM images.

    Raises:
        UsageError: An unknown code in `mute`.
        DataError: Too few readable images are left to say anything.
    """
    with console.task("auditing") as update:
        study = gather(
            manifest,
            problems=problems,
            matching=matching,
            window=window,
            progress=lambda done, total: update(done, total, ""),
        )
    require_usable(study.manifest, "the data", study.problems)
    return run.run(study, mute)


def _require_window(text: str) -> None:
    try:
        config.parse_window(text)
    except ValueError as error:
        raise UsageError(f"--window: {error}, found {text[:60]!r}") from error


def write(report: Report, manifest: Manifest, out: Path, window: str = "") -> Path:
    """Write audit.json, and a contact sheet for each finding of twins; returns the JSON's path.

    Raises:
        StorageError: The disk is full or not writable.
    """
    paths = {sample.id: sample.path for sample in manifest.samples}
    for code, finding in report.findings:
        if code in run.SIDE_BY_SIDE:
            storage.write_bytes(out / f"{code}.png", contact_sheet(finding.files, paths, window))
    file = out / "audit.json"
    storage.write_json(file, report.to_json())
    return file
