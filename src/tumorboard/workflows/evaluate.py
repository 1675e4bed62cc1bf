"""Score a run on other images, or anybody's predictions."""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from tumorboard import progress, storage
from tumorboard.data.image_cache import Decoded
from tumorboard.data.manifest import DataSource, Manifest
from tumorboard.data.manifest import read_rows as table_rows
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.reports.evaluation_report import Evaluation, evaluation_json, evaluation_report
from tumorboard.reports.output import write_report
from tumorboard.run_folder import RunFolder
from tumorboard.storage import shown
from tumorboard.workflows import calibrate
from tumorboard.workflows.prepare import decode, find
from tumorboard.workflows.run_context import read_manifest, record_test_evaluation

if TYPE_CHECKING:
    from tumorboard.data.manifest import Sample
    from tumorboard.workflows.predictor import RunPredictor


def evaluate_data(
    run: Path,
    data: str | Path | DataSource,
    *,
    metadata: Path | None = None,
    console: Console | None = None,
) -> Path:
    """What a run's models make of other labelled images, written to RUN/evaluations/<name of data>/.

    Of data with parts only test is scored, of class folders everything.

    Args:
        run: A finished run's folder; its models are not changed.
        data: Class folders or a manifest CSV; classes as the run's.
        metadata: A CSV with the column id and others, which subgroups are made of.
        console: Where progress is shown; quiet by default.

    Returns:
        The folder with metrics.json, the report and predictions.

    Raises:
        RunFolderError, ModelError: The run cannot be used.
        DataError: The data cannot be used, or has classes that the models do not know.
    """
    from tumorboard.workflows.predictor import load_run  # Keras, seconds to import

    console, folder = console or Console(quiet=True), RunFolder(run)
    known = read_manifest(folder)
    path = DataSource.of(data).path
    loaded = find(data, console)
    part = _scored(loaded.manifest, known.class_names, path)
    out = run / "evaluations" / path.resolve().stem
    with progress.graceful(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        predictor = load_run(run)
        decoded = decode(replace(loaded, manifest=part), Path(cache), predictor.image, console)
        _record_test_evaluations(folder, decoded.manifest, known)
        models = _ask(predictor, decoded, console)
    for name, one in models.items():
        storage.write_text(out / f"{name}.csv", one.to_csv())
    columns = {} if metadata is None else read_metadata(metadata)
    found = Evaluation(
        f"{path.name}: {len(decoded.manifest.samples)} images",
        models,
        part.groups,
        columns,
        calibrate.read(folder),
        overlap(decoded.manifest, known),
    )
    storage.write_text(out / "metrics.json", evaluation_json(found))
    write_report(evaluation_report(found), RunFolder(out))
    return out


def evaluate_predictions(files: Sequence[Path], metadata: Path | None = None) -> Evaluation:
    """Judge tables of predictions of the same samples, made by anything.

    Args:
        files: CSVs with id, label, predicted, probability:<class>…
        metadata: A CSV with the column id and others, which subgroups are made of; group is the patient.

    Raises:
        DataError: A file is no such table, or two are not of the same samples.
    """
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    models = {name: _read(file) for name, file in zip(names, files, strict=True)}
    columns = {} if metadata is None else read_metadata(metadata)
    groups = columns.pop("group", {})
    return Evaluation("Evaluation of predictions", models, groups, columns)


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """By column, its value by sample id.

    Raises:
        DataError: No CSV in UTF-8 with a column id, or an id twice.
    """
    header, *body = table_rows(_text(path), str(path)) or [[]]
    if "id" not in header or len(set(header)) < len(header):
        raise DataError(
            f"expected a column id, and each column once, in {storage.shown(path)}; repair the header"
        )
    ids = [row[header.index("id")] for row in body]
    if len(set(ids)) < len(ids):
        raise DataError(
            f"expected each id once in {storage.shown(path)}, found some more often; keep one row of each"
        )
    return {
        name: dict(zip(ids, (row[place] for row in body), strict=True))
        for place, name in enumerate(header)
        if name != "id"
    }


def overlap(data: Manifest, known: Manifest) -> tuple[str, ...]:
    """What to say of images of the data that the run has seen, by their files' hashes."""
    notes = []
    for split, meaning in (
        ("train", "the models were fitted on them"),
        ("valid", "models and thresholds were chosen on them"),
        ("test", "they were scored before, by the run itself"),
    ):
        hashes = {sample.sha256 for sample in known.part(split).samples}
        n = sum(sample.sha256 in hashes for sample in data.samples)
        if n:
            notes.append(
                f"{n} of these {len(data.samples)} images are files of the run's {split} part: {meaning}."
            )
    return tuple(notes)


def _record_test_evaluations(run: RunFolder, data: Manifest, known: Manifest) -> None:
    """The run's own test images are test images wherever they lie."""
    n = len({one.sha256 for one in data.samples} & {one.sha256 for one in known.part("test").samples})
    if n:
        record_test_evaluation(run, n)


def _scored(found: Manifest, class_names: tuple[str, ...], data: Path) -> Manifest:
    """The part to score, its labels numbered as the models' classes are."""
    strange = sorted(set(found.class_names) - set(class_names))
    if strange:
        raise DataError(
            f"expected the run's classes ({', '.join(class_names)[:90]}) in {data.name[:40]}, found "
            f"{strange[0][:50]!r}; match them with --class-map or --merge",
            strange,
        )
    scored = found.part("test").samples or found.samples
    return replace(found, samples=scored, class_names=class_names)


def _ask(predictor: "RunPredictor", decoded: Decoded, console: Console) -> dict[str, Predictions]:
    """What each model of the board says of all images."""
    part, told = decoded.manifest, []
    with console.task("predicting") as update:
        for number in range(len(part.samples)):
            progress.stop_if_asked()
            told.append(predictor.predict(decoded.images[number]).probabilities)
            update(number + 1, len(part.samples))
    return {
        name: Predictions(part.ids, part.labels, part.class_names, np.stack([one[name] for one in told]))
        for name in predictor.names
    }


def _read(path: Path) -> Predictions:
    return Predictions.from_csv(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"expected a table in UTF-8 at {storage.shown(path)}, found none that can be read; check the path"
        ) from error


def compare(runs: Sequence[Path]) -> Evaluation:
    """The recommended models of two runs or more, on the test images that they share.

    Raises:
        UsageError: Fewer than two runs, or one twice.
        RunFolderError: A run is not finished.
        DataError: The runs have other test images, labels or classes.
    """
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("expected two different run folders or more to compare; give each once")
    answers = [_said(run) for run in runs]  # first: it says which run is not finished
    found, contents = {}, [_contents(run) for run in runs]
    ids = {content: sample.id for sample, content in contents[0]}
    for name, (model, said), listed in zip(_names(runs), answers, contents, strict=True):
        same = {sample.id: ids.get(content, sample.id) for sample, content in listed}
        found[f"{name}: {model}"] = replace(said, ids=tuple(same.get(one, one) for one in said.ids))
    scores = [float((one.labels == one.predicted).mean()) for one in found.values()]
    spread = (
        f"Test accuracy over {len(runs)} runs: mean {mean(scores):.3f}, standard deviation "
        f"{stdev(scores):.3f}, lowest {min(scores):.3f}, highest {max(scores):.3f}."
    )
    groups = {sample.id: sample.group for sample, _ in contents[0] if sample.group}
    caution = (
        "Choosing a run by these numbers would be a choice made on test: its result would then be too good. "
        "Runs that differ in the seed alone are one method; report their mean and spread, not the best."
    )
    return Evaluation("Comparison of runs on test", found, notes=(spread, caution), groups=groups)


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names where they differ, else paths."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def _said(root: Path) -> tuple[str, Predictions]:
    """The recommended model and what it says of test."""
    run = RunFolder(root)
    try:
        model = str(json.loads(run.metrics.read_text("utf-8"))["recommendation"]["model"])
        path = run.predictions(model, "test")
        return model, Predictions.from_csv(path.read_text("utf-8"), str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected a finished run in {shown(root)}, found none that can be read; repeat tumorboard train"
        ) from error


def _contents(root: Path) -> list[tuple["Sample", tuple[str, str, int]]]:
    """Each sample with its hash, its label and which such file it is; its id, a path, may differ by run."""
    from tumorboard.workflows.run_context import read_manifest

    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for sample in read_manifest(RunFolder(root)).samples:
        what = (sample.sha256, sample.label)
        found.append((sample, (*what, seen[what])))
        seen[what] += 1
    return found
