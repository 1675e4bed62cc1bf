"""Commands for data: `tumorboard audit`, `split` and `fetch`."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import optional
from tumorboard.cli.options import (
    add_class_names,
    add_classes,
    add_data,
    add_frames,
    add_keep_together,
    command,
    data_source,
    frames,
    write,
)
from tumorboard.errors import plural

if TYPE_CHECKING:
    from tumorboard.workflows.split import NewSplits


def add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    audit = command(
        commands,
        "audit",
        "check images for leaks between splits, wrong labels, shortcuts and bad files",
        "  tumorboard audit scans/ --out audits/scans\n"
        "  tumorboard audit scans/ --mute TB102 --mute TB408\n"
        "The exit code is 9 if there are errors or warnings that are not muted.",
        _audit,
    )
    add_data(audit)
    audit.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write the whole report there, with duplicates shown side by side",
    )
    audit.add_argument(
        "--mute",
        action="append",
        default=[],
        metavar="CODE",
        help="skip this check; repeat the flag for several",
    )
    audit.add_argument(
        "--window", default="", help="grey window of DICOM and other images of more than 8 bits"
    )
    add_frames(audit)
    add_class_names(audit)


def _audit(options: argparse.Namespace) -> None:
    from tumorboard.errors import FindingsError
    from tumorboard.progress import Console
    from tumorboard.reports import terminal
    from tumorboard.reports.audit import audit_summary, summary_line
    from tumorboard.workflows.audit import audit_data

    done = audit_data(
        data_source(options),
        mute=options.mute,
        window=options.window,
        frames=frames(options) or "refuse",
        out=options.out,
        console=Console(options.quiet or options.json),
    )
    if options.json:
        content = done.report.to_json()
        if options.out:
            content = {"results": str(options.out), "report": str(options.out / "report.html"), **content}
        write(json.dumps(content) + "\n")
    else:
        where = "All findings, files and remedies: --out FOLDER, or --json"
        if options.out:
            where = f"Report: {options.out / 'report.html'}\nResults: {options.out}"
        write(f"{terminal.render(audit_summary(done.report))}\n{where}\n")
    if done.report.severe:
        raise FindingsError(
            f"expected data without errors or warnings, found {summary_line(done.report).partition(';')[0]}; "
            "repair the data, or --mute the codes that you accept"
        )


def add_split(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    split = command(
        commands,
        "split",
        "make new splits; duplicates and groups stay together, the images are not changed",
        "  tumorboard split scans/ --out splits/manifest.csv\n"
        "  tumorboard split scans/ --out splits/manifest.csv --folds 5\n"
        "Then train on them: tumorboard train splits/manifest.csv --out runs/first",
        _split,
    )
    split.add_argument("data", type=Path, help="class folders, with or without splits, or a CSV")
    split.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the new manifest")
    split.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="write K manifests; each image is in the test split of one of them",
    )
    split.add_argument(
        "--valid", type=float, default=0.15, metavar="F", help="share of all images (default: 0.15)"
    )
    split.add_argument("--test", type=float, metavar="F", help="share of all images (default: 0.2)")
    split.add_argument(
        "--keep-test",
        action="store_true",
        help="leave out the current test images and split the others",
    )
    add_keep_together(split)
    split.add_argument("--seed", type=int, default=0, help="random seed of the split (default: 0)")
    split.add_argument(
        "--window", default="", help="grey window of DICOM and other images of more than 8 bits"
    )
    add_frames(split)
    add_classes(split)


def _split(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.workflows.split import split

    done = split(
        data_source(options),
        options.out,
        folds=options.folds,
        valid=options.valid,
        test=options.test,
        seed=options.seed,
        window=options.window,
        frames=frames(options) or "refuse",
        keep_test=options.keep_test,
        keep_together=options.keep_together or "found",
        console=Console(options.quiet or options.json),
    )
    if not options.json:
        write(_as_text(done))
        return
    counts = [manifest.counts for manifest in done.manifests]
    content = {
        "files": [str(file) for file in done.files],
        "counts": counts,
        "tied": asdict(done.tied),
        "left_out": list(done.left_out),
    }
    write(json.dumps(content) + "\n")


def _as_text(done: "NewSplits") -> str:
    tied = done.tied
    text = (
        f"{_table(done)}\n\n{plural(tied.images, 'image')} in {plural(tied.components, 'set')} that stay "
        f"together: "
        f"{plural(tied.groups, 'group')}; {plural(tied.identical, 'image')} stored more than once; "
        f"{plural(tied.near_duplicates, 'pair')} of near "
        "duplicates"
    )
    if tied.ungrouped:
        text += (
            f"\nPatient independence not checked: {tied.ungrouped} images belong to no group "
            "(give a CSV with a group column, or --group-by-name)"
        )
    return f"{text}\nManifests: {', '.join(str(file) for file in done.files)}\n"


def _table(done: "NewSplits") -> str:
    """Counts by fold, split and class."""
    from tumorboard.reports import terminal
    from tumorboard.reports.document import Cell, Table

    names = done.manifests[0].class_names
    rows: list[list[Cell]] = []
    for fold, manifest in enumerate(done.manifests, start=1):
        before = f"fold {fold} " if len(done.manifests) > 1 else ""
        for split, counts in manifest.counts.items():
            rows.append([before + split, *counts.values(), sum(counts.values())])
    return "\n".join(terminal.table(Table(["split", *names, "all"], rows, "")))


def add_fetch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    fetch = command(
        commands,
        "fetch",
        "download the chest-CT images of the original study from Kaggle, ready for train",
        "  tumorboard fetch chest-ct --out scans\n"
        "  tumorboard audit scans\n"
        "  tumorboard train scans --out runs/first\n"
        "Requires the package kagglehub. The licence is printed first. If Kaggle cannot be reached,\n"
        "the command explains how to download the images by hand.",
        _fetch,
    )
    fetch.add_argument("name", choices=("chest-ct",), metavar="chest-ct", help="the data set")
    fetch.add_argument(
        "--out", type=Path, default=Path("chest-ct"), metavar="FOLDER", help="default: chest-ct"
    )


def _fetch(options: argparse.Namespace) -> None:
    optional.require("fetch", "kagglehub", extra="fetch")
    from tumorboard.progress import Console
    from tumorboard.workflows import datasets

    folder = datasets.fetch(options.out, Console(options.quiet or options.json))
    if options.json:
        write(json.dumps({"data": str(folder), "licence": datasets.LICENCE}) + "\n")
        return
    write(f"Licence: {datasets.LICENCE}\nNext: tumorboard audit {folder}\nImages: {folder}\n")
