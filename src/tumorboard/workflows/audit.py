"""Audit a data set: decode every image once, run all checks, write their findings."""

import contextlib
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tumorboard import NOTICE, storage
from tumorboard.audit import leak_meter, runner
from tumorboard.audit.dataset_facts import DatasetFacts, gather
from tumorboard.audit.leak_meter import Features, LeakMeter
from tumorboard.audit.runner import Report
from tumorboard.config import Frames, Image, require_window
from tumorboard.data import image_cache, splitting
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import Images, Rows
from tumorboard.data.left_out import LeftOut, require_replaceable
from tumorboard.data.manifest import DataSource, Manifest, load, require_usable
from tumorboard.data.near_duplicates import Indices
from tumorboard.progress import Console
from tumorboard.reports.audit import audit_report, audit_summary
from tumorboard.reports.example_images import contact_sheet
from tumorboard.reports.output import write_report
from tumorboard.reports.run_results import AuditFinding
from tumorboard.run_folder import RunFolder, read_json, reading
from tumorboard.run_state import recorded
from tumorboard.workflows.prepare import find_depth
from tumorboard.workflows.run_context import RunContext

METADATA_CHECK, LEAK_CHECK = "TB501", "TB410"
_MIN_SENSITIVITY, _MAX_FALSE_POSITIVES = 0.8, 0.1
"""Limits from which file metadata predict a class so well that it is a shortcut."""


@dataclass(frozen=True)
class Audited:
    """A finished audit.

    Attributes:
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
    frames: Frames = "refuse",
    out: str | Path | None = None,
    console: Console | None = None,
) -> Audited:
    """Audit class folders or a manifest CSV; the data is only read.

    Args:
        data: Class folders or a manifest CSV.
        mute: Codes of checks that are not made.
        window: Of DICOM and other grey of more than 8 bits, see `data.image_reader.read_image`.
        frames: The slices of volumes that are images.
        out: Where audit.json and images of duplicates side by side go.
        console: Where progress is shown; quiet by default.

    Raises:
        UsageError: An unknown code in `mute`, or a window that cannot be read.
        DataError: The data cannot be used at all.
        StorageError: `out` cannot be written.
    """
    runner.require_codes(mute)
    require_window(window)
    if out:
        require_replaceable(Path(out) / "audit.json")
    loaded, console = load(data, frames=frames), console or Console(quiet=True)
    settings = find_depth(Image(window=window), loaded.manifest, console)
    begun_on_page = out is not None and RunFolder(Path(out)).job.is_file()  # else it may be the data's folder
    with recorded(RunFolder(Path(out)), console) if out and begun_on_page else contextlib.nullcontext():
        report = audit_manifest(
            loaded.manifest,
            console,
            problems=loaded.problems,
            matching=loaded.matching,
            left_out=loaded.left_out,
            mute=mute,
            settings=settings,
            leaks=True,
        )
    return Audited(report, write_audit(report, loaded.manifest, Path(out), settings) if out else None)


def audit_manifest(
    manifest: Manifest,
    console: Console,
    *,
    problems: Sequence[str] = (),
    matching: Matching | None = None,
    left_out: Sequence[LeftOut] = (),
    mute: Collection[str] = (),
    settings: Image | None = None,
    leaks: bool = False,
) -> Report:
    """Audit a manifest.

    Args:
        manifest: The samples, with or without splits.
        console: Where progress is shown.
        problems: Files that are known to be unusable and are not in the manifest.
        matching: How class folders were matched across splits; None if unknown.
        left_out: What among the images is no input.
        mute: Codes of checks that are not made.
        settings: The window and the depth of grey.
        leaks: Whether the recognition of patients is measured, which takes some of the images a second time.

    Raises:
        UsageError: An unknown code in `mute`.
        DataError: Too few readable images are left.
    """
    steps = {"auditing": 3.0, "checks": 1.0} | ({"measuring leaks": 4.0} if leaks else {})
    with console.overall(steps):
        with console.task("auditing") as update:
            facts = gather(
                manifest,
                problems=problems,
                matching=matching,
                left_out=left_out,
                settings=settings,
                progress=update,
            )
        require_usable(facts.manifest, "the data", facts.problems)
        if leaks and LEAK_CHECK not in mute:
            facts = facts.changed(leaks=_decode_and_measure(facts, settings or Image(), console))
        with console.phase("checks"):
            return runner.run(facts, mute)


def _decode_and_measure(facts: DatasetFacts, settings: Image, console: Console) -> LeakMeter | str:
    manifest = facts.with_found_groups()

    def decoded(rows: Indices) -> Images:
        chosen = Manifest.of(manifest.samples[row] for row in rows)
        with tempfile.TemporaryDirectory() as folder, console.task("decoding a sample") as update:
            images = image_cache.decode(chosen, Path(folder), settings, progress=update).images
            return np.array(images[0 : len(images)])

    return measure_leaks(manifest, [image.pixel_sha256 for image in facts.images], decoded, console)


def measure_leaks(
    manifest: Manifest, pixel_sha256: Sequence[str], images: Callable[[Indices], Images], console: Console
) -> LeakMeter | str:
    """Measure the recognition of patients with the features of the embedded backbone.

    Args:
        manifest: The samples, in their groups.
        pixel_sha256: For each the hash of its decoded pixels; identical ones are kept together too.
        images: Returns the network inputs, uint8 (n, S, S, 3), of the samples at these n ascending positions.
        console: Where progress is shown.
    """

    def embed(rows: Indices) -> Features:
        from tumorboard.models.backbones import embed_images  # Keras, seconds to import

        order = np.argsort(rows)
        with console.task("measuring leaks") as update:
            features = embed_images(images(rows[order]), update)
        return features[np.argsort(order)]

    is_test = np.array([sample.split == "test" for sample in manifest.samples], np.bool_)
    groups = splitting.components(manifest, pixel_sha256, None) if manifest.groups else [""] * len(is_test)
    return leak_meter.measure(manifest.labels, groups, is_test, embed)


def measure_leaks_of_run(context: RunContext) -> None:
    """Measure the recognition of patients in a run's data, unless that is done."""
    if context.run.leak_meter.is_file():
        return
    measured = measure_leaks(
        context.manifest,
        context.decoded.pixel_sha256,
        lambda rows: Rows(context.decoded.images, rows),
        context.console,
    )
    content = {"not_applicable": measured} if isinstance(measured, str) else asdict(measured)
    storage.write_json(context.run.leak_meter, content)


def read_leaks(run: RunFolder) -> LeakMeter | None:
    """Return what a run measured; None if it could not or did not."""
    content = read_json(run.leak_meter) if run.leak_meter.is_file() else {}
    return LeakMeter.from_dict(content) if "inflation" in content else None


def write_audit(report: Report, manifest: Manifest, out: Path, settings: Image) -> Path:
    """Write audit.json, the report, and contact sheets of duplicates; returns the path of audit.json.

    Raises:
        StorageError: The disk is full or not writable.
    """
    paths = {sample.id: sample.path for sample in manifest.samples}
    for code, finding in report.findings:
        if code in runner.SIDE_BY_SIDE:
            storage.write_bytes(out / f"{code}.png", contact_sheet(finding.files, paths, settings))
    file = out / "audit.json"
    storage.write_json(file, report.to_json())
    summary = replace(audit_summary(report), notices=[NOTICE])  # by it the file is known as an output
    write_report(audit_report(report), RunFolder(out), summary)
    return file


def audit_run(context: RunContext) -> None:
    """Audit the run's images, unless that is done; its findings affect neither training nor selection."""
    if context.run.audit.is_file():
        return
    if context.facts is not None:
        with context.console.phase("checks"):
            report = runner.run(context.facts.changed(manifest=context.manifest))
    else:
        report = audit_manifest(
            context.manifest,
            context.console,
            problems=context.decoded.problems,
            matching=context.matching,
            left_out=context.left_out,
            settings=context.recipe.image,
        )
    storage.write_json(context.run.audit, report.to_json())


def audit_findings(run: RunFolder) -> tuple[AuditFinding, ...]:
    """Return what the audit of a run found, the most severe first."""
    keys = ("severity", "code", "title", "consequence")
    report = read_json(run.audit)
    with reading(run.audit):
        return tuple(AuditFinding(*(finding[key] for key in keys)) for finding in report["findings"])


def subsets_without_shortcuts(run: RunFolder, manifest: Manifest) -> dict[str, dict[str, set[str]]]:
    """Return by split and title the ids of images that are left without what makes a split easy.

    Of validation and test without near duplicates in earlier splits; of test also without each class that
    file metadata reveal.
    """
    report = read_json(run.audit)
    with reading(run.audit):
        leaked, revealed = set(report["leaked"]), _revealed_by_metadata(report, manifest.class_names)
    clean = {
        split: {sample.id for sample in manifest.select(split).samples} - leaked
        for split in ("valid", "test")
    }
    earlier = {"valid": "train", "test": "train or validation"}
    subsets = {
        split: {f"without near duplicates in {others}": clean[split]}
        if len(clean[split]) < len(manifest.select(split).samples)
        else {}
        for split, others in earlier.items()
    }
    for name in revealed:
        others = {sample.id for sample in manifest.select("test").samples if sample.label != name}
        subsets["test"][f"also without {name}, which file metadata reveal"] = others & clean["test"]
    return subsets


def shortcut_classes(run: RunFolder, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that file metadata reveal; none if no other class would be left."""
    report = read_json(run.audit)
    with reading(run.audit):
        revealed = tuple(_revealed_by_metadata(report, class_names))
    return revealed if len(revealed) < len(class_names) else ()


def _revealed_by_metadata(report: Mapping[str, Any], class_names: tuple[str, ...]) -> list[str]:
    numbers: dict[str, float] = {}
    for finding in report["findings"]:
        if finding["code"] == METADATA_CHECK:
            numbers = finding["numbers"]
    return [
        name
        for name in class_names
        if numbers.get(f"{name}: sensitivity", 0) >= _MIN_SENSITIVITY
        and numbers.get(f"{name}: false-positive rate", 1) <= _MAX_FALSE_POSITIVES
    ]
