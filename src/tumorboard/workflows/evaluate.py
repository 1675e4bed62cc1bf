"""Evaluate a run on other images, or any tables of predictions; compare runs with each other."""

import hashlib
import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from tumorboard import progress, run_folder, storage, text_files
from tumorboard.config import Frames
from tumorboard.data.image_cache import Decoded
from tumorboard.data.manifest import DataSource, Manifest, Sample, is_missing
from tumorboard.errors import DataError, RunFolderError, UsageError, display, plural
from tumorboard.evaluation.patients import UNCHOSEN
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.reports.evaluation_report import (
    Evaluation,
    evaluation_json,
    evaluation_report,
    evaluation_summary,
)
from tumorboard.reports.output import write_report
from tumorboard.run_folder import RunFolder, read_json
from tumorboard.workflows import calibrate
from tumorboard.workflows.prepare import decode_images, find_images
from tumorboard.workflows.run_context import (
    read_manifest,
    read_predictions,
    record_test_evaluation,
    require_finished,
)

if TYPE_CHECKING:
    from tumorboard.workflows.predictor import RunPredictor

_OWNER = "data.json"
"""Records which data an evaluation is of."""
_LONGEST_NAME = 255  # bytes of a file's name


def evaluate_data(
    run: str | Path,
    data: str | Path | DataSource,
    *,
    metadata: str | Path | None = None,
    frames: Frames | None = None,
    console: Console | None = None,
) -> Path:
    """Score a run's models on other labelled images; results go to RUN/evaluations/NAME, see `claim_folder`.

    Of data with splits only test is scored, of class folders everything.

    Args:
        run: A finished run's folder; its models are not changed.
        data: Class folders or a manifest CSV; classes as the run's.
        metadata: A table with the column id and others, each of which makes subgroups; group is the patient,
            if the data names none.
        frames: The slices of volumes that are images; None for those of the training.
        console: Where progress is shown; quiet by default.

    Returns:
        The folder with metrics.json, the report and predictions.

    Raises:
        RunFolderError, ModelError: The run cannot be used.
        DataError: The data cannot be used, or has classes that the models do not know.
    """
    from tumorboard.workflows.predictor import KERAS, frames_of_training, load_run

    console, folder, path = console or Console(quiet=True), RunFolder(Path(run)), DataSource.of(data).path
    hashes = run_folder.read_checksums(folder)  # an unfinished run is refused before anything is read
    known = read_manifest(folder)
    frames = frames_of_training(folder, hashes) if frames is None else frames
    loaded = find_images(data, console, frames=frames)
    unknown = sorted(set(loaded.manifest.class_names) - set(known.class_names))
    if unknown:
        raise DataError(
            f"expected the run's classes ({', '.join(known.class_names)[:90]}) in {path.name[:40]}, found "
            f"{unknown[0][:50]!r}; match them with --class-map or --merge",
            unknown,
        )
    samples = loaded.manifest.select("test").samples or loaded.manifest.samples
    part = replace(loaded.manifest, samples=samples, class_names=known.class_names)  # labels as the models'
    columns = read_metadata(Path(metadata), part.ids) if metadata else {}
    groups = groups_of(part, columns.pop("group", {}))
    out = claim_folder(folder, path)
    with (
        progress.graceful(),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache,
        console.overall({"decoding": 5.0, "predicting": 40.0, "report": 10.0}),
    ):
        predictor = load_run(run, engine=KERAS)  # as the run's own test images were predicted
        decoded = decode_images(replace(loaded, manifest=part), Path(cache), predictor.image, console)
        files = {sample.file_sha256 for sample in known.select("test").samples}
        test = {sample.sha256 for sample in decoded.manifest.samples if sample.file_sha256 in files}
        if test:  # the run's own test images are test images wherever they lie
            record_test_evaluation(folder, len(test))
        models = _predict(predictor, decoded, console)
        for name, predictions in models.items():
            storage.write_text(out / f"{name}.csv", predictions.to_csv())
        left_out = [f"Left out: {line}" for line in (*decoded.problems, *map(str, loaded.left_out))]
        evaluation = Evaluation(
            f"{path.name}: {plural(len(decoded.manifest.samples), 'image')}",
            models,
            groups,
            columns,
            calibrate.read(folder),
            (*overlap_notes(decoded.manifest, known), *left_out),
            calibrate.read_patient_rules(folder),
        )
        with console.phase("report"):
            write_evaluation(evaluation, out)
    return out


def groups_of(part: Manifest, named: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each image: as the data names it, or else as metadata do.

    Args:
        part: The images. A volume without a patient is one by itself unless metadata name its patient.
        named: Group by image id, of metadata.
    """
    if any(sample.given_group for sample in part.samples):
        return part.groups
    return part.groups | {name: group for name, group in named.items() if group}


def claim_folder(run: RunFolder, data: Path) -> Path:
    """Return the folder of a run's results on `data`, which results on no other data get.

    It is named after the data; if that name is in use for other data, after the folder above it as well; if
    that is in use too, after a digest of the whole path.

    Raises:
        StorageError: The disk is full or not writable.
    """
    place = data.resolve()
    name = place.stem if place.is_file() else place.name
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()
    record, names = {"path_sha256": digest}, [name, f"{place.parent.name}_{name}"]
    names = [text for text in names if text and len(os.fsencode(text)) <= _LONGEST_NAME]
    folders = [run.root / "evaluations" / text for text in (*names, f"data_{digest}")]
    with storage.exclusive(run.root / "evaluations"):  # two commands may want one name at once
        for folder in folders:
            if (folder / _OWNER).is_file() and read_json(folder / _OWNER) == record:
                return folder
        folder = next(folder for folder in folders if not folder.exists() or folder == folders[-1])
        storage.write_json(folder / _OWNER, record)
    return folder


def _predict(predictor: "RunPredictor", decoded: Decoded, console: Console) -> dict[str, Predictions]:
    """Predict all images, one per call as everywhere else."""
    part, rows = decoded.manifest, []
    with console.task("predicting") as update:
        for number in range(len(part.samples)):
            progress.stop_if_asked()
            rows.append(predictor.predict(decoded.images[number]).probabilities)
            update(number + 1, len(part.samples))
    return {
        name: Predictions(part.ids, part.labels, part.class_names, np.stack([row[name] for row in rows]))
        for name in predictor.names
    }


def overlap_notes(data: Manifest, known: Manifest) -> tuple[str, ...]:
    """Return a note per split of the run that shares files with the data, compared by their hashes."""
    notes = []
    for split, meaning in (
        ("train", "models were fitted on them"),
        ("valid", "models were chosen on them"),
        ("test", "the run has scored them before"),
    ):
        files = {sample.file_sha256 for sample in known.select(split).samples}
        shared = [sample for sample in data.samples if sample.file_sha256 in files]
        if shared:
            slices = ", or slices of volumes there" * any("#" in sample.sha256 for sample in shared)
            count = f"{len(shared)} of {len(data.samples)} images"
            notes.append(f"{count} are in the run's {split} split{slices}: {meaning}.")
    return tuple(notes)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write metrics.json and the report to a folder.

    Raises:
        StorageError: The disk is full or not writable.
    """
    storage.write_text(out / "metrics.json", evaluation_json(evaluation))
    write_report(evaluation_report(evaluation), RunFolder(out), evaluation_summary(evaluation))


def evaluate_predictions(
    files: Sequence[str | Path], metadata: str | Path | None = None, *, out: str | Path | None = None
) -> Evaluation:
    """Score tables of predictions of the same samples, made by any model.

    Args:
        files: CSVs with id, label, predicted, probability:<class>…
        metadata: A table with the column id and others, each of which makes subgroups; group is the patient.
        out: The folder of the report.

    Raises:
        UsageError: A file twice.
        DataError: A file is no such table, or two are not of the same samples.
        StorageError: `out` cannot be written.
    """
    tables = [Path(file) for file in files]
    if len({table.resolve() for table in tables}) < len(tables):
        raise UsageError("expected tables of different models, found one file twice; give each once")
    names = [table.stem for table in tables]
    if len(set(names)) < len(names):
        names = [str(table) for table in tables]
    models = {
        name: Predictions.from_csv(text_files.read_text(table), str(table))
        for name, table in zip(names, tables, strict=True)
    }
    columns = read_metadata(Path(metadata), next(iter(models.values())).ids) if metadata else {}
    groups = columns.pop("group", {})
    evaluation = Evaluation("Evaluation of predictions", models, groups, columns)
    if out:
        write_evaluation(evaluation, Path(out))
    return evaluation


def read_metadata(path: Path, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read a table of metadata of images.

    Args:
        path: A table with the column id, or a path for it, and others; rows of other images are ignored.
        ids: Of the images.

    Returns:
        By column, the value of each of these ids that has a row; a column that names patients is "group".

    Raises:
        DataError: No such table, an id twice, or no row of any of these images.
    """
    table = text_files.rows(text_files.read_text(path), str(path))
    header = next(table, text_files.Row(1, [])).cells
    places = text_files.places(header, str(path), ["id"], ["group"])
    known, values = set(ids), {}
    for line, cells in table:
        name = cells[places["id"]]
        # As it stands, or as other programs and Windows write it.
        candidates = [name, text_files.clean(name), text_files.clean(name).replace("\\", "/")]
        candidates += [unicodedata.normalize(form, candidates[-1]) for form in ("NFC", "NFD")]
        image = next((candidate for candidate in candidates if candidate in known), name)
        if image in values:
            raise DataError(
                f"expected each id once in {display(path)}, found {display(image)!r} again in line {line}; "
                "keep one row of each"
            )
        values[image] = cells
    if not known & values.keys():
        example = display(next(iter(values), ""))
        raise DataError(
            f"expected ids of the images in {display(path)}, such as {display(ids[0])!r}, found none, "
            f"but {example!r}; write the ids as the predictions have them"
        )
    names = [
        "group" if place == places.get("group") else text_files.clean(name)
        for place, name in enumerate(header)
    ]
    return {
        name: {image: _value(values[image][place]) for image in ids if image in values}
        for place, name in enumerate(names)
        if name and place != places["id"]
    }


def _value(cell: str) -> str:
    """Return the value of a cell; "" where it is missing, however that is written."""
    return "" if is_missing(text_files.clean(cell)) else text_files.clean(cell)


def compare(runs: Sequence[str | Path], *, out: str | Path | None = None) -> Evaluation:
    """Compare the recommended models of two runs or more on the test images that they share.

    Args:
        runs: The run folders.
        out: The folder of the report.

    Raises:
        UsageError: Fewer than two runs, or one twice.
        RunFolderError: A run is not finished.
        DataError: The runs have other test images, labels or classes.
        StorageError: `out` cannot be written.
    """
    folders = [RunFolder(Path(run)) for run in runs]
    if len(folders) < 2 or len({folder.root.resolve() for folder in folders}) < len(folders):
        raise UsageError("expected two different run folders or more to compare; give each once")
    recommended = [_recommended_model(folder) for folder in folders]
    names = [folder.root.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    contents = [_by_content(folder) for folder in folders]
    models, rules = {}, {}
    for name, model, folder, content in zip(names, recommended, folders, contents, strict=True):
        predictions = read_predictions(folder, model, "test")
        # A sample's id is a path, which may differ by run: a file gets the id that the first run gave it.
        first_ids = {sample.id: contents[0][key].id for key, sample in content.items() if key in contents[0]}
        ids = tuple(first_ids.get(sample_id, sample_id) for sample_id in predictions.ids)
        models[f"{name}: {model}"] = replace(predictions, ids=ids)
        rules[f"{name}: {model}"] = calibrate.read_patient_rules(folder).get(model, UNCHOSEN)
    accuracies = [float((p.labels == p.predicted).mean()) for p in models.values()]
    spread = (
        f"Test accuracy of {len(runs)} runs: mean {mean(accuracies):.3f}, SD {stdev(accuracies):.3f}, "
        f"lowest {min(accuracies):.3f}, highest {max(accuracies):.3f}."
    )
    caution = (
        "A run chosen by these numbers is chosen on test; its result is then too good. "
        "Runs that differ in the seed alone are one method; report their mean and spread, not the best."
    )
    groups = {sample.id: sample.group for sample in contents[0].values() if sample.group}
    evaluation = Evaluation(
        "Comparison of runs on test",
        models,
        notes=(spread, caution),
        groups=groups,
        patient_rules=rules,
    )
    if out:
        write_evaluation(evaluation, Path(out))
    return evaluation


def _recommended_model(run: RunFolder) -> str:
    require_finished(run)
    try:
        return str(read_json(run.metrics)["recommendation"]["model"])
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected a finished run with a recommended model in {display(run.root)}, found none; "
            "repeat tumorboard train"
        ) from error


def _by_content(run: RunFolder) -> dict[tuple[str, str, int], Sample]:
    """Return the run's samples by hash, label and number among the files of that hash and label."""
    count: Counter[tuple[str, str]] = Counter()
    samples = {}
    for sample in read_manifest(run).samples:
        content = (sample.sha256, sample.label)
        samples[(*content, count[content])] = sample
        count[content] += 1
    return samples
