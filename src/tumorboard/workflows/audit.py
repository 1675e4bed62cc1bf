"""Audit a data set: decode every image once, run all checks, write their findings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard import config, storage
from tumorboard.audit import runner
from tumorboard.audit.dataset_facts import FactsCollector, gather
from tumorboard.audit.runner import Report
from tumorboard.data.class_matching import Matching
from tumorboard.data.manifest import DataSource, Manifest, load, require_usable
from tumorboard.errors import UsageError
from tumorboard.progress import Console
from tumorboard.reporting.sheets import contact_sheet


@dataclass(frozen=True)
class Audited:
    """A finished audit.

    Args:
        report: Its findings.
        file: The report as JSON; None if nothing was to be written.
    """

    report: Report
    file: Path | None


def audit_data(
    data: str | Path | DataSource,
    *,
    mute: Collection[str] = (),
    window: str = "",
    out: Path | None = None,
    console: Console | None = None,
) -> Audited:
    """Audit class folders or a manifest CSV; the data is only read.

    Args:
        data: Class folders or a manifest CSV.
        mute: Codes of checks that are not made.
        window: Of DICOM images, see `data.image_reader.read_image`.
        out: Where audit.json and images of duplicates side by side go.
        console: Where progress is shown; quiet by default.

    Raises:
        UsageError: An unknown code in `mute`, or a window that is none.
        DataError: The data cannot be used at all.
        StorageError: `out` cannot be written.
    """
    runner.require_codes(mute)
    _require_window(window)
    loaded = load(data)
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
    collected: FactsCollector | None = None,
    problems: Sequence[str] = (),
    matching: Matching | None = None,
    mute: Collection[str] = (),
    window: str = "",
) -> Report:
    """Audit a manifest.

    Args:
        manifest: The samples, with or without splits.
        console: Where progress is shown.
        collected: Facts of images that were decoded already; the others are decoded.
        problems: Files that are known to be unusable and are not in the manifest.
        matching: How class folders were matched across splits; None if unknown.
        mute: Codes of checks that are not made.
        window: Of DICOM images.

    Raises:
        UsageError: An unknown code in `mute`.
        DataError: Too few readable images are left.
    """
    with console.task("auditing") as update:
        facts = gather(
            manifest,
            collected=collected,
            problems=problems,
            matching=matching,
            window=window,
            progress=update,
        )
    require_usable(facts.manifest, "the data", facts.problems)
    return runner.run(facts, mute)


def _require_window(text: str) -> None:
    try:
        config.parse_window(text)
    except ValueError as error:
        raise UsageError(f"--window: {error}, found {text[:60]!r}") from error


def write(report: Report, manifest: Manifest, out: Path, window: str = "") -> Path:
    """Write audit.json, and a contact sheet for each finding of duplicates; returns the JSON's path.

    Raises:
        StorageError: The disk is full or not writable.
    """
    paths = {sample.id: sample.path for sample in manifest.samples}
    for code, finding in report.findings:
        if code in runner.SIDE_BY_SIDE:
            storage.write_bytes(out / f"{code}.png", contact_sheet(finding.files, paths, window))
    file = out / "audit.json"
    storage.write_json(file, report.to_json())
    return file
