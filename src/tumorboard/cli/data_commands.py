"""`tumorboard audit`: what is wrong with the data, before anything is trained on it."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import optional
from tumorboard.cli.options import add_class_names, add_classes, command, data_source

if TYPE_CHECKING:
    from tumorboard.workflows.split import NewSplits


def add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    audit = command(
        commands,
        "audit",
        "look for leaks between splits, wrong labels, shortcuts and bad files; train nothing",
        "  tumorboard audit scans/ --out audits/scans\n"
        "  tumorboard audit scans/ --mute TB102 --mute TB408\n"
        "Ends with exit code 9 if there are errors or warnings that are not muted.",
        _audit,
    )
    audit.add_argument(
        "data", type=Path, help="folder with train/valid/test of class folders, or class folders, or a CSV"
    )
    audit.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write audit.json, and duplicates side by side"
    )
    audit.add_argument(
        "--mute", action="append", default=[], metavar="CODE", help="a check that you do not want made"
    )
    audit.add_argument("--window", default="", help="grey window of DICOM images, as in train")
    add_class_names(audit)


def _audit(options: argparse.Namespace) -> None:
    from tumorboard.errors import FindingsError
    from tumorboard.progress import Console
    from tumorboard.reports import terminal
    from tumorboard.reports.audit import audit_report, summary_line
    from tumorboard.workflows.audit import audit_data

    done = audit_data(
        data_source(options),
        mute=options.mute,
        window=options.window,
        out=options.out,
        console=Console(options.quiet or options.json),
    )
    if options.json:
        sys.stdout.write(json.dumps(done.report.to_json()) + "\n")
    else:
        where = (
            f"Full list: {done.file}" if done.file else "Full list, and duplicates side by side: --out FOLDER"
        )
        sys.stdout.write(f"{terminal.render(audit_report(done.report))}\n{where}\n")
    if done.report.severe:
        raise FindingsError(
            f"expected data without errors or warnings, found {summary_line(done.report).partition(';')[0]}; "
            "mend the data, or --mute the codes that you accept"
        )


def add_split(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    split = command(
        commands,
        "split",
        "make new splits of all images: duplicates and groups stay together; the images are not touched",
        "  tumorboard split scans/ --out splits/manifest.csv\n"
        "  tumorboard split scans/ --out splits/manifest.csv --folds 5\n"
        "Train on what it writes: tumorboard train splits/manifest.csv --out runs/first",
        _split,
    )
    split.add_argument("data", type=Path, help="class folders, with or without splits, or a CSV")
    split.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the new manifest")
    split.add_argument(
        "--folds", type=int, default=0, metavar="K", help="K manifests; each image is test in one of them"
    )
    split.add_argument(
        "--valid", type=float, default=0.15, metavar="F", help="share of all images (default: 0.15)"
    )
    split.add_argument("--test", type=float, metavar="F", help="share of all images (default: 0.2)")
    split.add_argument(
        "--keep-test",
        action="store_true",
        help="leave out the given test images: deal the others",
    )
    split.add_argument(
        "--group-by-name",
        default="",
        metavar="REGEX",
        help="images of a class whose file names have the same in the expression's brackets are one group, "
        r"as a patient: '^\d+(?: \((\d+)\))?\.png$' puts '7.png' with '8.png', '7 (2).png' with '8 (2).png'",
    )
    split.add_argument("--seed", type=int, default=0, help="same seed, same splits")
    split.add_argument("--window", default="", help="grey window of DICOM images, as in train")
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
        keep_test=options.keep_test,
        group_by_name=options.group_by_name,
        console=Console(options.quiet or options.json),
    )
    if not options.json:
        sys.stdout.write(_as_text(done))
        return
    counts = [manifest.counts for manifest in done.manifests]
    content = {"files": [str(file) for file in done.files], "counts": counts, "tied": asdict(done.tied)}
    sys.stdout.write(json.dumps(content) + "\n")


def _as_text(done: "NewSplits") -> str:
    tied = done.tied
    text = (
        f"{_table(done)}\n\n{tied.images} images in {tied.components} sets that stay together: {tied.groups} "
        f"groups; {tied.identical} images stored more than once; {tied.near_duplicates} pairs of near "
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
    from tumorboard.progress import text_table

    names = done.manifests[0].class_names
    rows = [["split", *names, "all"]]
    for fold, manifest in enumerate(done.manifests, start=1):
        before = f"fold {fold} " if len(done.manifests) > 1 else ""
        for split, counts in manifest.counts.items():
            rows.append([before + split, *map(str, counts.values()), str(sum(counts.values()))])
    return text_table(rows, numbers=True)


def add_fetch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    fetch = command(
        commands,
        "fetch",
        "download the chest-CT slices of the original study from Kaggle, as train takes them",
        "  tumorboard fetch chest-ct --out scans\n"
        "  tumorboard audit scans\n"
        "  tumorboard train scans --out runs/first\n"
        "It needs the package kagglehub. The licence is shown first.\n"
        "Without a way to Kaggle it says what to download by hand.",
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
        sys.stdout.write(json.dumps({"data": str(folder), "licence": datasets.LICENCE}) + "\n")
        return
    sys.stdout.write(f"Licence: {datasets.LICENCE}\nNext: tumorboard audit {folder}\nImages: {folder}\n")
