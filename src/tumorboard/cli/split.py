"""`tumorboard split`: new splits that keep patients and twins together."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard.cli.shared import add_classes, command

if TYPE_CHECKING:
    from tumorboard.pipeline.split import Division, Together


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    split = command(
        commands,
        "split",
        "make new splits of all images: groups and twins stay together; the images are not touched",
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
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.split import split

    done = split(
        options.data,
        options.out,
        folds=options.folds,
        valid=options.valid,
        test=options.test,
        seed=options.seed,
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        window=options.window,
        keep_test=options.keep_test,
        group_by_name=options.group_by_name,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(_as_json(done) if options.json else _as_text(done))


def _as_json(done: "Division") -> str:
    counts = [manifest.counts for manifest in done.manifests]
    files = [str(file) for file in done.files]
    return json.dumps({"files": files, "counts": counts, "together": asdict(done.together)}) + "\n"


def _as_text(done: "Division") -> str:
    where = ", ".join(str(file) for file in done.files)
    return f"{_table(done)}\n\n{_kept(done.together)}\nManifests: {where}\n"


def _kept(found: "Together") -> str:
    lines = [
        f"{found.images} images in {found.components} sets that stay together: {found.groups} groups; "
        f"{found.exact} pictures stored more than once; {found.near} pairs of near twins"
    ]
    if found.ungrouped:
        lines.append(
            f"Patient independence not checked: {found.ungrouped} images belong to no group "
            "(give a CSV with a group column, or --group-by-name)"
        )
    return "\n".join(lines)


def _table(done: "Division") -> str:
    """Counts by fold, split and class."""
    names = done.manifests[0].class_names
    rows = [["split", *names, "all"]]
    for fold, manifest in enumerate(done.manifests, start=1):
        before = f"fold {fold} " if len(done.manifests) > 1 else ""
        for split, counts in manifest.counts.items():
            rows.append([before + split, *map(str, counts.values()), str(sum(counts.values()))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: list[str], widths: list[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells[1:]])
