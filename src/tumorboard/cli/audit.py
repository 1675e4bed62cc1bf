"""`tumorboard audit`: what is wrong with the data, before anything is trained on it."""

import argparse
import json
import sys
from pathlib import Path

from tumorboard.cli.shared import add_class_names, command


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
        "--out", type=Path, metavar="FOLDER", help="write audit.json and pictures of twins side by side"
    )
    audit.add_argument(
        "--mute", action="append", default=[], metavar="CODE", help="a check that you do not want made"
    )
    audit.add_argument("--window", default="", help="grey window of DICOM images, as in train")
    add_class_names(audit)


def _audit(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.errors import FindingsError
    from tumorboard.pipeline.audit import audit_data
    from tumorboard.reporting.audit import audit_text, summary_line

    done = audit_data(
        options.data,
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        mute=options.mute,
        window=options.window,
        out=options.out,
        console=Console(options.quiet or options.json),
    )
    if options.json:
        sys.stdout.write(json.dumps(done.report.to_json()) + "\n")
    else:
        where = f"Full list: {done.file}" if done.file else "Full list, and twins side by side: --out FOLDER"
        sys.stdout.write(f"{audit_text(done.report)}\n{where}\n")
    if done.report.severe:
        raise FindingsError(
            f"expected data without errors or warnings, found {summary_line(done.report).partition(';')[0]}; "
            "mend the data, or --mute the codes that you accept"
        )
