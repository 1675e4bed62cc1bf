"""What several commands share: how they look in --help, their common flags, how results are shown."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import NOTICE

if TYPE_CHECKING:
    from tumorboard.data.manifest import DataSource
    from tumorboard.run_folder import RunFolder


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    """A command with a help page that teaches: what it does, an example, the notice."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{example}\n\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="no progress, only the results")
    parser.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    return parser


def add_settings(command: argparse.ArgumentParser) -> None:
    """The flags that choose and change a recipe."""
    command.add_argument(
        "--recipe", default="default", help="default, notebook, notebook-fast, or a TOML file"
    )
    command.add_argument(
        "--backbone", help="of the pretrained models, e.g. efficientnet-lite0 (embedded), resnet50"
    )
    command.add_argument("--weights", metavar="imagenet|none|FILE", help="of the backbone")
    command.add_argument("--seed", type=int, help="same seed, same bits on a CPU")
    command.add_argument(
        "--window",
        metavar="lung|mediastinum|CENTER,WIDTH",
        help="grey window of DICOM images, as --window=-600,1500; without it the window in each file",
    )


def add_classes(command: argparse.ArgumentParser) -> None:
    """The flags that say what a class folder is, and what happens to files that are no images."""
    add_class_names(command)
    command.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be read")


def add_class_names(command: argparse.ArgumentParser) -> None:
    """The flags that say what a class folder is."""
    command.add_argument(
        "--class-map",
        action="append",
        default=[],
        metavar="NAME=FOLDER,…",
        help="these folders are class NAME",
    )
    command.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="NAME=CLASS,…",
        help="ask a coarser question: these classes are one",
    )


def data_source(options: argparse.Namespace) -> "DataSource":
    """The images of a command that has the flags of `add_class_names` or `add_classes`."""
    from tumorboard.data.class_matching import parse_groups
    from tumorboard.data.manifest import DataSource

    return DataSource(
        options.data,
        parse_groups(options.class_map),
        parse_groups(options.merge),
        getattr(options, "skip_bad", False),
    )


def path_or_address(text: str) -> Path | str:
    """An address in a store stays text: a path would lose one of its slashes."""
    return text if "://" in text else Path(text)


def add_images(command: argparse.ArgumentParser, kind: Callable[[str], Path | str] = Path) -> None:
    """A run, its models, and new images for them."""
    command.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")
    command.add_argument(
        "images",
        type=kind,
        nargs="+",
        metavar="FILES|FOLDER|LIST.csv",
        help="PNG, JPEG, BMP, TIFF, WebP, DICOM; folders of any depth; a CSV with a column path",
    )
    command.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="this one only; repeat it for several"
    )


def show(folder: "RunFolder", as_json: bool) -> None:
    """Print the most important results; the last line names the file with all of them."""
    if as_json:
        metrics = json.loads(folder.metrics.read_text("utf-8"))
        sys.stdout.write(json.dumps({"results": str(folder.results), **metrics}) + "\n")
        return
    sys.stdout.write(f"{folder.summary.read_text('utf-8')}\nResults: {folder.results}\n")
