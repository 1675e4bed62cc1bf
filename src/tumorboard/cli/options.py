"""Shared by several commands: the layout of --help, common flags, and how results are printed."""

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tumorboard import NOTICE, text_files
from tumorboard.errors import DataError, StorageError, UsageError, display, for_terminal

if TYPE_CHECKING:
    from tumorboard.config import Frames, Recipe
    from tumorboard.data.manifest import DataSource
    from tumorboard.run_folder import RunFolder


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    """Add a command whose --help tells what it does, with an example and the notice."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{example}\n\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the argument that names the labelled images."""
    command.add_argument(
        "data",
        type=Path,
        help="class folders, with or without train/valid/test folders above them, or a manifest CSV",
    )


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add the flags that choose and change a recipe."""
    command.add_argument(
        "--recipe",
        default="default",
        help="settings: default, probe, notebook, notebook-fast, or a TOML file",
    )
    command.add_argument(
        "--backbone",
        help="backbone of the pretrained models, e.g. resnet50; efficientnet-lite0 needs no download",
    )
    command.add_argument("--weights", metavar="imagenet|none|FILE", help="weights of the backbone")
    command.add_argument(
        "--seed", type=int, help="random seed; on a CPU the same seed gives identical results"
    )
    command.add_argument(
        "--window",
        metavar="lung|mediastinum|CENTER,WIDTH",
        help="grey window of DICOM and other images of more than 8 bits, e.g. --window=-600,1500 "
        "(default: the window stored in each file)",
    )
    add_frames(command)
    add_keep_together(command)


def add_by(command: argparse.ArgumentParser, effect: str) -> None:
    """Add the flag that says which images are of one patient."""
    command.add_argument(
        "--by",
        default="",
        metavar="folder|dicom|COLUMN",
        help=f"{effect}: the images of a folder, of one DICOM PatientID (or series), or with the same text "
        "in this column of LIST.csv are of one patient",
    )


def add_frames(command: argparse.ArgumentParser, of_run: bool = False) -> None:
    """Add the flag that says which slices of a volume are images; `of_run`: by default those of training."""
    default = "those of the training" if of_run else "none: such a file is an error"
    command.add_argument(
        "--frames",
        metavar="all|middle|N",
        help="which slices of a volume (DICOM of several frames, NIfTI, a DICOM series) are images: all, the "
        f"middle one, or N at even distances (default: {default})",
    )


def frames(options: argparse.Namespace) -> "Frames | None":
    """Return the slices that --frames names; None if it is not given.

    Raises:
        UsageError: Not a number, and no word that is known.
    """
    from tumorboard.config import parse_frames

    return None if options.frames is None else parse_frames(options.frames)


def recipe_of(options: argparse.Namespace) -> "Recipe":
    """Return the recipe with what the flags of `add_settings` and of the data change.

    Raises:
        RecipeError: No such recipe, or a value out of range.
        UsageError: As `frames`.
    """
    from tumorboard.config import load

    return load(options.recipe).with_options(
        options.backbone,
        options.weights,
        options.seed,
        options.window,
        options.keep_together,
        frames(options),
    )


def add_keep_together(command: argparse.ArgumentParser) -> None:
    """Add the flag that says which images a new split does not separate."""
    command.add_argument(
        "--keep-together",
        choices=("found", "given"),
        help="images that no new split separates: found (default): groups (patients), also those that file "
        "names tell, and near duplicates; given: only groups that the data names, and identical images",
    )


def add_classes(command: argparse.ArgumentParser) -> None:
    """Add the flags that define classes, and what happens to files that cannot be read."""
    add_class_names(command)
    command.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be read")


def add_class_names(command: argparse.ArgumentParser) -> None:
    """Add the flags that define classes and groups."""
    command.add_argument(
        "--class-map",
        action="append",
        default=[],
        metavar="NAME=FOLDER,…",
        help="the folders that hold class NAME, in any split",
    )
    command.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="NAME=CLASS,…",
        help="merge these classes into one class NAME",
    )
    command.add_argument(
        "--group-column",
        default="",
        metavar="NAME",
        help="the column of a manifest CSV that names the patient (default: group, patient, patient_id, "
        "subject, subject_id or case_id)",
    )
    command.add_argument(
        "--group-by-folder",
        action="store_true",
        help="each folder in a class folder holds the images of one patient",
    )
    command.add_argument(
        "--group-by-name",
        default="",
        metavar="REGEX",
        help="images of one class are of one patient if this expression captures the same text in their "
        r"file names: with '^\d+(?: \((\d+)\))?', '7.png' and '8.png' are of one patient, '7 (2).png' and "
        "'8 (2).png' of another; tumorboard audit names the expression that fits",
    )
    command.add_argument(
        "--groups-across-classes",
        action="store_true",
        help="with --group-by-name: images of different classes can be of one patient",
    )
    command.add_argument(
        "--exclude",
        type=Path,
        metavar="LIST",
        help="leave out the images in this list: a CSV with a column path, or a .txt with one path per line, "
        "relative to the data (to the folder of a manifest CSV), as tumorboard audit names them",
    )


def data_source(options: argparse.Namespace) -> "DataSource":
    """Return the images of a command that has the flags of `add_class_names` or `add_classes`."""
    from tumorboard.data.class_matching import parse_groups
    from tumorboard.data.manifest import DataSource

    return DataSource(
        options.data,
        parse_groups(options.class_map),
        parse_groups(options.merge),
        getattr(options, "skip_bad", False),
        options.group_column,
        options.group_by_folder,
        options.group_by_name,
        options.groups_across_classes,
        _excluded(options.exclude),
    )


def require_data(options: argparse.Namespace) -> None:
    """Check that the flags that say how images are read come with --data.

    Raises:
        UsageError: One comes without.
    """
    names = ("frames", "class_map", "merge", "skip_bad", "group_column", "group_by_folder", "group_by_name")
    unused = [name for name in (*names, "groups_across_classes", "exclude") if getattr(options, name)]
    if unused and not options.data:
        flag = f"--{unused[0].replace('_', '-')}"
        raise UsageError(f"expected --data with {flag}, found none; give the images, or leave it out")


def _excluded(file: Path | None) -> list[str]:
    """Return the ids in a list for --exclude.

    Raises:
        DataError: No such list, or an empty one.
    """
    if file is None:
        return []
    names = text_files.paths(text_files.read_text(file), str(file), file.parent, lines=True)
    ids = [PurePosixPath(name).as_posix() for name in names]  # `find` writes ./a.png
    if not ids:
        raise DataError(
            f"expected images to leave out in {display(file)}, found none; add their paths, or leave out "
            "--exclude"
        )
    return ids


def path_or_address(text: str) -> Path | str:
    """Keep an address in a store as text: a path would lose one of its slashes."""
    return text if "://" in text else Path(text)


def add_images(command: argparse.ArgumentParser, kind: Callable[[str], Path | str] = Path) -> None:
    """Add a run, its models, and new images for them."""
    command.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")
    command.add_argument(
        "images",
        type=kind,
        nargs="+",
        metavar="FILES|FOLDER|LIST|-",
        help="images (PNG, JPEG, BMP, TIFF, WebP, DICOM, NIfTI), folders of any depth, lists (a CSV with a "
        "column path, or a .txt with one path per line), or - for a list on standard input",
    )
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="use only this model; repeat the flag for several",
    )


def named_images(options: argparse.Namespace) -> list[Path | str]:
    """Return the images of a command that has the arguments of `add_images`; `-` is a list on standard input.

    Raises:
        DataError: Standard input is closed, empty, or no list.
    """
    images: list[Path | str] = []
    for image in options.images:
        if str(image) != "-":
            images.append(image)
            continue
        source, content = "standard input", sys.stdin.buffer.read() if sys.stdin else b""
        # Names on this disk need not be UTF-8, and are kept as they are.
        text = text_files.decoded(content, source) if b"\0" in content else os.fsdecode(content)
        names = list(text_files.paths(text, source, Path(), lines=True))
        if not names:
            raise DataError("expected a list of paths on standard input, found nothing; give one per line")
        images += [name if "://" in name else text_files.located(Path(), name) for name in names]
    return images


def write(text: str) -> None:
    """Write results to standard output.

    Raises:
        StorageError: It cannot be written: a closed pipe, a full disk.
    """
    try:
        sys.stdout.write(for_terminal(text))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        reason = f"cannot write to standard output: {error.strerror}; the files of the command are complete"
        raise StorageError(reason) from error


def print_results(folder: "RunFolder", as_json: bool, further: str = "") -> None:
    """Print the summary of a run or evaluation; the last line names its folder."""
    if as_json:
        metrics = json.loads(folder.metrics.read_text("utf-8"))
        written = {"results": str(folder.root), "report": str(folder.report)}
        write(json.dumps({**written, **metrics}) + "\n")
        return
    summary = folder.summary.read_text("utf-8")
    write(f"{summary}{further}Report: {folder.report}\nResults: {folder.root}\n")


def program() -> str:
    """Return how to start this program again: its path, unless it is the one that is found on PATH."""
    path = sys.argv[0]
    if path.endswith("__main__.py"):
        return f"{shlex.quote(sys.executable)} -m tumorboard"
    on_path = shutil.which("tumorboard")
    if on_path and Path(on_path).resolve() == Path(path).resolve():
        return "tumorboard"
    return shlex.quote(path)
