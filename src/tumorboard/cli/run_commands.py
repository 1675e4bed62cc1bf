"""Commands for finished runs: `evaluate`, `compare`, `report`, `predict`, `explain`, `export`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import NOTICE, text_files
from tumorboard.cli.options import (
    add_by,
    add_classes,
    add_frames,
    add_images,
    command,
    data_source,
    frames,
    named_images,
    path_or_address,
    print_results,
    require_data,
    write,
)
from tumorboard.errors import DataError, UsageError, plural

if TYPE_CHECKING:
    from tumorboard.data.left_out import LeftOut
    from tumorboard.reports.evaluation_report import Evaluation
    from tumorboard.workflows.explain import Explained


def add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    evaluate = command(
        commands,
        "evaluate",
        "evaluate a finished run, also on other images, or tables of predictions",
        "  tumorboard evaluate runs/first                          write its report again\n"
        "  tumorboard evaluate runs/first --data other-hospital/   evaluate it on other images\n"
        "  tumorboard evaluate --predictions a.csv b.csv --metadata patients.csv",
        _evaluate,
    )
    evaluate.add_argument(
        "run_folder", type=Path, nargs="?", metavar="RUN", help="the folder of a finished run"
    )
    evaluate.add_argument(
        "--data",
        type=Path,
        metavar="DATA",
        help="labelled images to evaluate the run on: class folders or a manifest CSV",
    )
    evaluate.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        metavar="CSV",
        help="tables of predictions of the same images: columns id, label, predicted, probability:<class>…",
    )
    evaluate.add_argument(
        "--metadata",
        type=Path,
        metavar="CSV",
        help="a table with a column id; every other column defines subgroups",
    )
    _add_out(evaluate)
    add_frames(evaluate, of_run=True)
    add_classes(evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if bool(options.run_folder) == bool(options.predictions) or (options.predictions and options.data):
        raise UsageError("expected either RUN, with or without --data, or --predictions; see --help")
    require_data(options)
    if options.metadata and not (options.data or options.predictions):
        raise UsageError("expected --data with --metadata, found none; give the images, or leave it out")
    if options.out and not options.predictions:
        raise UsageError("expected --out with --predictions alone; results of RUN are written to its folder")
    from tumorboard.progress import Console
    from tumorboard.run_folder import RunFolder
    from tumorboard.workflows.evaluate import evaluate_data, evaluate_predictions
    from tumorboard.workflows.report import report

    if options.predictions:
        _print_evaluation(
            evaluate_predictions(options.predictions, options.metadata, out=options.out), options
        )
    elif options.data:
        out = evaluate_data(
            options.run_folder,
            data_source(options),
            metadata=options.metadata,
            frames=frames(options),
            console=Console(options.quiet or options.json),
        )
        print_results(RunFolder(out), options.json)
    else:
        report(options.run_folder)
        print_results(RunFolder(options.run_folder), options.json)


def add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    compare = command(
        commands,
        "compare",
        "compare the recommended models of several runs on the same test images",
        "  tumorboard compare runs/seed-0 runs/seed-1 runs/seed-2",
        _compare,
    )
    compare.add_argument("run_folders", type=Path, nargs="+", metavar="RUN", help="folders of finished runs")
    _add_out(compare)


def _add_out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write the whole report there")


def _compare(options: argparse.Namespace) -> None:
    from tumorboard.workflows.evaluate import compare

    _print_evaluation(compare(options.run_folders, out=options.out), options)


def _print_evaluation(evaluation: "Evaluation", options: argparse.Namespace) -> None:
    from tumorboard.reports import terminal
    from tumorboard.reports.evaluation_report import evaluation_json, evaluation_summary
    from tumorboard.run_folder import RunFolder

    if options.out:
        print_results(RunFolder(options.out), options.json)
    elif options.json:
        write(evaluation_json(evaluation))
    else:
        text = terminal.render(evaluation_summary(evaluation))
        write(f"{text}\nAll metrics: --out FOLDER, or --json\n")


_SHOWN = 20  # rows; longer tables are not printed


def add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    predict = command(
        commands,
        "predict",
        "predict new images with the models of a finished run: a CSV with one row per file",
        "  tumorboard predict runs/first slice.png other.dcm --out predictions.csv\n"
        "  tumorboard predict runs/first scans/new/ --out new.csv --model ensemble\n"
        "  tumorboard predict runs/first list.csv --out listed.csv\n"
        "  find scans -name '*.png' | tumorboard predict runs/first -\n"
        "  tumorboard predict runs/first patients/ --by folder --out new.csv\n"
        "  tumorboard predict runs/first s3://bucket/scans --out stored.csv   (requires the extra s3)\n"
        "The row of a file that cannot be read holds the reason; the exit code is then 3.\n"
        "Repeat an interrupted command to resume it.",
        _predict,
    )
    add_images(predict, path_or_address)
    add_frames(predict, of_run=True)
    predict.add_argument(
        "--engine",
        choices=("onnx", "keras"),
        default="onnx",
        help="onnx: the run's joint graph, or Keras if there is none (default); keras: the run's networks",
    )
    add_by(
        predict,
        "also write one row per patient, FILE-patients.csv (of volumes without --by too, one row per volume)",
    )
    predict.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        metavar="FILE.csv",
        help="default: predictions.csv",
    )
    predict.add_argument(
        "--ray",
        metavar="local|ADDRESS",
        help="predict in parallel on this machine or a Ray cluster (requires the extra cluster); "
        "--out is then a folder of Parquet parts",
    )


def _predict(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console

    if options.ray:
        from tumorboard.distributed import ray_cluster

        ray_cluster.require()
    from tumorboard.workflows.batch_predict import predict_files

    done = predict_files(
        options.run_folder,
        named_images(options),
        options.out,
        models=options.model,
        engine=options.engine,
        ray=options.ray or "",
        by=options.by,
        frames=frames(options),
        console=Console(options.quiet or options.json),
    )
    if options.json:
        facts = {"files": done.files, "failed": done.failed, "recommended": done.recommended}
        facts |= {"patients": str(done.patients)} if done.patients else {}
        facts |= {"left_out": [entry.to_json() for entry in done.left_out]}
        facts |= {"engine": done.engine, "fallback": done.fallback, "notice": NOTICE}
        write(json.dumps({"predictions": str(done.table), **facts}) + "\n")
    else:
        rows = _cells(done.table) if done.recommended and done.files <= _SHOWN else []
        lines = [f"{row['path']}: {_short(row)}" for row in rows]
        lines += _patient_rows(done.patients) if done.patients else []
        summary = f"{done.files - done.failed} of {plural(done.files, 'file')} predicted"
        summary += f"; prediction and confidence of the model {done.recommended}" if done.recommended else ""
        places = [f"Patients: {done.patients}"] if done.patients else []
        lines += [summary, *([f"Predicted with Keras: {done.fallback}"] if done.fallback else [])]
        lines += [*_left_out_lines(done.left_out), NOTICE, *places, f"Predictions: {done.table}\n"]
        write("\n".join(lines))
    if done.failed:
        raise DataError(
            f"{done.failed} of {plural(done.files, 'file')} could not be read; "
            f"{done.table.name} holds the reasons"
        )


def _left_out_lines(left_out: "Sequence[LeftOut]") -> list[str]:
    more = len(left_out) - _SHOWN
    lines = [f"left out: {entry}" for entry in left_out[:_SHOWN]]
    return [*lines, f"left out in {plural(more, 'more folder')}: see --json"] if more > 0 else lines


def _cells(table: Path) -> list[dict[str, str]]:
    header, *rows = text_files.rows(text_files.read_text(table), str(table))
    return [dict(zip(header.cells, row.cells, strict=True)) for row in rows]


def _patient_rows(table: Path) -> list[str]:
    cells = _cells(table)
    if len(cells) > _SHOWN:
        return [f"{len(cells)} patients"]
    return [
        f"patient {row['patient']}, n = {row['images']}: "
        + (_percent(row["prediction"], row["confidence"]) if row["prediction"] else "no readable image")
        + ", low confidence: refer to a human reader" * (row["refer"] == "yes")
        for row in cells
    ]


def _percent(label: str, confidence: str) -> str:
    return f"{label} ({float(confidence):.0%})"


def _short(row: dict[str, str]) -> str:
    if row["error"]:
        return "could not be read"
    caveats = ["low confidence: refer to a human reader"] * (row["refer"] == "yes")
    caveats += ["out of distribution"] * (row["out_of_distribution"] == "yes")
    return ", ".join([_percent(row["prediction"], row["confidence"]), *caveats])


def add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    explain = command(
        commands,
        "explain",
        "write heat maps of the image regions that a prediction depends on, one per file and model",
        "  tumorboard explain runs/first slice.png --out maps\n"
        "  tumorboard explain runs/first scans/new/ --out maps --model ensemble --class normal\n"
        "  tumorboard explain runs/first patients/ --by folder --out maps\n"
        "Warm colours mark regions that raise the score of the class; their meaning is for a radiologist\n"
        "to judge.",
        _explain,
    )
    add_images(explain)
    add_frames(explain, of_run=True)
    add_by(explain, "explain the predictions for patients by the images that contribute most")
    explain.add_argument(
        "--top", type=int, metavar="N", help="with --by: maps of how many images of each patient (default: 3)"
    )
    explain.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder for the overlays and maps.csv"
    )
    explain.add_argument(
        "--class",
        dest="target",
        default="",
        metavar="NAME",
        help="the class to explain (default: the class that each model predicts)",
    )
    explain.add_argument(
        "--method",
        choices=("gradcam", "occlusion"),
        default="gradcam",
        help="how maps are computed (default: gradcam); occlusion hides parts of the image, and is slower",
    )


def _explain(options: argparse.Namespace) -> None:
    from tumorboard.errors import DataError
    from tumorboard.progress import Console
    from tumorboard.workflows.explain import explain

    done = explain(
        options.run_folder,
        named_images(options),
        options.out,
        models=options.model,
        target=options.target,
        method=options.method,
        by=options.by,
        top=options.top,
        frames=frames(options),
        console=Console(options.quiet or options.json),
    )
    write(_maps_as_json(done) if options.json else _maps_as_text(done))
    if done.failed:
        raise DataError(f"{plural(done.failed, 'file')} could not be read; maps.csv holds the reasons")


def _maps_as_json(done: "Explained") -> str:
    written = {"folder": str(done.folder), "table": str(done.folder / "maps.csv")}
    left_out = [entry.to_json() for entry in done.left_out]
    written |= {"contributions": str(done.contributions)} if done.contributions else {}
    return json.dumps({**asdict(done), **written, "left_out": left_out, "notice": NOTICE}) + "\n"


def _maps_as_text(done: "Explained") -> str:
    lines = [
        f"{name}: with shuffled weights the map is {_compared(value)} (rank correlation {value:.2f})"
        for name, value in done.correlations.items()
    ]
    lines += _left_out_lines(done.left_out)
    if done.contributions:
        decisive = [row for row in _cells(done.contributions) if row["rank"] == "1"]
        lines += [
            f"patient {row['patient']}: {_percent(row['patient_prediction'], row['patient_confidence'])}, "
            f"decided most by {row['path']}"
            for row in decisive[:_SHOWN]
        ]
        lines.append(f"Contribution of each image: {done.contributions}")
    place = f"Maps: {done.folder} ({plural(done.overlays, 'overlay')}, maps.csv)\n"
    return "\n".join([*lines, NOTICE, place])


def _compared(value: float) -> str:
    if value == 0:  # see `correlation_after_shuffling`
        return "flat, or the map of the trained model is: no conclusion"
    return "almost the same: it shows the image rather than what was learned" if value > 0.9 else "different"


FORMATS = ("onnx", "openvino", "litert", "saved-model")


def add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    export = command(
        commands,
        "export",
        "export a model of a finished run for another runtime, and check that its predictions are equal",
        "  tumorboard export runs/first --model ensemble --format onnx\n"
        "  tumorboard export runs/first --format litert --out phone/ensemble.tflite\n"
        "The model takes raw RGB pixels, 0-255; <file>.json describes its input and output.",
        _export,
    )
    export.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")
    export.add_argument(
        "--model",
        default="ensemble",
        metavar="NAME",
        help="default: ensemble; all, in the format onnx, makes the graph again that predict and serve use",
    )
    export.add_argument("--format", required=True, choices=FORMATS, help="the file format")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: RUN/exports/FORMAT/MODEL with the format's suffix"
    )


def _export(options: argparse.Namespace) -> None:
    from tumorboard.export.exported_model import record_path
    from tumorboard.workflows.export import export

    done = export(options.run_folder, options.model, options.format, options.out)
    check = {
        "images": done.check.images,
        "real": done.check.real,
        "differences": dict(done.check.differences),
    }
    if options.json:
        written = {"export": str(done.path), "record": str(record_path(done.path))}
        write(json.dumps({**written, **check, "notice": NOTICE}) + "\n")
        return
    kind = (
        "images of the run" if done.check.real else "random images, because the images of the run are missing"
    )
    differences = ", ".join(f"{name} {value:.1e}" for name, value in done.check.differences.items())
    write(
        f"{options.model} as {options.format}: largest difference from Keras: {differences}; "
        f"on {done.check.images} {kind}\n{NOTICE}\nExport: {done.path}\n"
    )


def add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    report = command(
        commands,
        "report",
        "write the report of a finished run again: report.html, results.md, charts as SVG, PNG and CSV",
        "  tumorboard report runs/first\nThe page needs no network and no script.",
        _report,
    )
    report.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")


def _report(options: argparse.Namespace) -> None:
    from tumorboard.run_folder import RunFolder
    from tumorboard.workflows.report import report

    report(options.run_folder)
    print_results(RunFolder(options.run_folder), options.json)
