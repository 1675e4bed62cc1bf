"""`tumorboard evaluate`: figures with their intervals, of a run or of anybody's predictions."""

import argparse
import contextlib
import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import NOTICE
from tumorboard.cli.options import add_classes, add_images, command, data_source, path_or_address, show
from tumorboard.errors import DataError, UsageError

if TYPE_CHECKING:
    from tumorboard.reports.evaluation_report import Evaluation
    from tumorboard.workflows.explain import Explained


def add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    evaluate = command(
        commands,
        "evaluate",
        "score a finished run, on other images too, or anybody's predictions",
        "  tumorboard evaluate runs/first                          its results again, from its predictions\n"
        "  tumorboard evaluate runs/first --data other-hospital/   every model on other labelled images\n"
        "  tumorboard evaluate --predictions a.csv b.csv --metadata patients.csv",
        _evaluate,
    )
    evaluate.add_argument(
        "run_folder", type=Path, nargs="?", metavar="RUN", help="the folder of a finished run"
    )
    evaluate.add_argument(
        "--data", type=Path, metavar="DATA", help="class folders or a manifest CSV to score"
    )
    evaluate.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        metavar="CSV",
        help="tables with id, label, predicted, probability:<class>…, of the same samples",
    )
    evaluate.add_argument(
        "--metadata", type=Path, metavar="CSV", help="a column id and others: figures for every subgroup"
    )
    add_classes(evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if bool(options.run_folder) == bool(options.predictions) or (options.predictions and options.data):
        raise UsageError("expected either RUN, with --data if you like, or --predictions; see --help")
    _refuse_unread(options)
    if options.predictions:
        _judge_files(options)
    elif options.data:
        _judge_data(options)
    else:
        _judge_again(options)


def _refuse_unread(options: argparse.Namespace) -> None:
    """Flags that the other arguments leave without effect."""
    reading = {"--class-map": options.class_map, "--merge": options.merge, "--skip-bad": options.skip_bad}
    given = [flag for flag, value in reading.items() if value and not options.data]
    given += ["--metadata"] if options.metadata and not (options.data or options.predictions) else []
    if given:
        raise UsageError(f"expected --data with {given[0]}, found none; give the images, or leave it out")


def _judge_files(options: argparse.Namespace) -> None:
    from tumorboard.workflows.evaluate import evaluate_predictions

    _print_evaluation(evaluate_predictions(options.predictions, options.metadata), options.json)


def _judge_data(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.run_folder import RunFolder
    from tumorboard.workflows.evaluate import evaluate_data

    out = evaluate_data(
        options.run_folder,
        data_source(options),
        metadata=options.metadata,
        console=Console(options.quiet or options.json),
    )
    show(RunFolder(out), options.json)


def _judge_again(options: argparse.Namespace) -> None:
    from tumorboard.run_folder import RunFolder
    from tumorboard.workflows.report import report

    report(options.run_folder)
    show(RunFolder(options.run_folder), options.json)


def add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    compare = command(
        commands,
        "compare",
        "compare the recommended models of several runs on the same test images, with tests",
        "  tumorboard compare runs/seed-0 runs/seed-1 runs/seed-2",
        _compare,
    )
    compare.add_argument("run_folders", type=Path, nargs="+", metavar="RUN", help="folders of finished runs")


def _compare(options: argparse.Namespace) -> None:
    from tumorboard.workflows.evaluate import compare

    _print_evaluation(compare(options.run_folders), options.json)


def _print_evaluation(evaluation: "Evaluation", as_json: bool) -> None:
    from tumorboard.reports import markdown
    from tumorboard.reports.evaluation_report import evaluation_json, evaluation_report

    text = evaluation_json(evaluation) if as_json else markdown.render(evaluation_report(evaluation))
    sys.stdout.write(text)


_SHOWN = 20  # rows; more are for the table


def add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    predict = command(
        commands,
        "predict",
        "write what a finished run's models say of new images, a row a file",
        "  tumorboard predict runs/first slice.png other.dcm --out predictions.csv\n"
        "  tumorboard predict runs/first scans/new/ --out new.csv --model ensemble\n"
        "  tumorboard predict runs/first list.csv --out listed.csv\n"
        "  tumorboard predict runs/first s3://bucket/scans --out stored.csv   (the extra s3)\n"
        "A file that cannot be read gets a row that says why; the exit code is 3 then.\n"
        "Repeat an interrupted command to resume it.",
        _predict,
    )
    add_images(predict, path_or_address)
    predict.add_argument(
        "--engine",
        choices=("keras", "openvino", "onnx"),
        default="keras",
        help="what the models run on; an export is made and checked on first use; default: keras",
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
        help="spread the files over this machine or a Ray cluster (the extra cluster); "
        "--out is then a folder of Parquet parts",
    )


def _predict(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.workflows.batch_predict import predict_files

    done = predict_files(
        options.run_folder,
        options.images,
        options.out,
        models=options.model,
        engine=options.engine,
        ray=options.ray or "",
        console=Console(options.quiet or options.json),
    )
    if options.json:
        facts = {"files": done.files, "failed": done.failed, "recommended": done.recommended}
        sys.stdout.write(json.dumps({"predictions": str(done.table), **facts, "notice": NOTICE}) + "\n")
    else:
        lines = _rows(done.table) if done.recommended and done.files <= _SHOWN else []
        summary = f"{done.files - done.failed} of {done.files} files predicted"
        summary += f"; prediction and confidence are those of {done.recommended}" if done.recommended else ""
        sys.stdout.write("\n".join([*lines, summary, NOTICE, f"Predictions: {done.table}\n"]))
    if done.failed:
        raise DataError(
            f"{done.failed} of {done.files} files could not be read; their rows in {done.table.name} say why"
        )


def _rows(table: Path) -> list[str]:
    with table.open(encoding="utf-8", newline="") as file:
        return [f"{row['path']}: {_short(row)}" for row in csv.DictReader(file)]


def _short(row: dict[str, str]) -> str:
    if row["error"]:
        return "could not be read"
    doubts = ["ask a human"] * (row["refer"] == "yes")
    doubts += ["unlike the training images"] * (row["out_of_distribution"] == "yes")
    return ", ".join([f"{row['prediction']} ({float(row['confidence']):.0%})", *doubts])


def add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    explain = command(
        commands,
        "explain",
        "write heat maps of where a finished run's models look, one overlay per file and model",
        "  tumorboard explain runs/first slice.png --out maps\n"
        "  tumorboard explain runs/first scans/new/ --out maps --model ensemble --class normal\n"
        "A warm region speaks for the class; its meaning is for a radiologist to judge.",
        _explain,
    )
    add_images(explain)
    explain.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="overlays and maps.csv go here"
    )
    explain.add_argument(
        "--class",
        dest="target",
        default="",
        metavar="NAME",
        help="default: the class that each model predicts",
    )
    explain.add_argument(
        "--method",
        choices=("gradcam", "occlusion"),
        default="gradcam",
        help="occlusion hides parts of the image: slower, without any gradient, a check of the other",
    )


def _explain(options: argparse.Namespace) -> None:
    from tumorboard.errors import DataError
    from tumorboard.progress import Console
    from tumorboard.workflows.explain import explain

    done = explain(
        options.run_folder,
        options.images,
        options.out,
        models=options.model,
        target=options.target,
        method=options.method,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(_maps_as_json(done) if options.json else _maps_as_text(done))
    if done.failed:
        raise DataError(f"{done.failed} files could not be read; their rows in maps.csv say why")


def _maps_as_json(done: "Explained") -> str:
    return json.dumps({**asdict(done), "folder": str(done.folder), "notice": NOTICE}) + "\n"


def _maps_as_text(done: "Explained") -> str:
    lines = [
        f"{name}: with shuffled weights the map is {_compared(value)} (rank correlation {value:.2f})"
        for name, value in done.correlations.items()
    ]
    return "\n".join([*lines, NOTICE, f"Maps: {done.folder} ({done.overlays} overlays, maps.csv)\n"])


def _compared(value: float) -> str:
    if value == 0:  # see `correlation_after_shuffling`
        return "flat, or the model's own is, which proves nothing"
    return (
        "almost the same, so it shows the image more than what was learned" if value > 0.9 else "another one"
    )


FORMATS = ("onnx", "openvino", "litert", "saved-model")


def add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    export = command(
        commands,
        "export",
        "write a finished run's model for another runtime, and keep it only if it answers as Keras does",
        "  tumorboard export runs/first --model ensemble --format onnx\n"
        "  tumorboard export runs/first --format litert --out phone/ensemble.tflite\n"
        "The file takes raw pixels, 0-255 RGB; beside it <file>.json says what else it expects.",
        _export,
    )
    export.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")
    export.add_argument("--model", default="ensemble", metavar="NAME", help="default: ensemble")
    export.add_argument("--format", required=True, choices=FORMATS, help="what it is for")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: RUN/exports/FORMAT/MODEL with the format's suffix"
    )


def _export(options: argparse.Namespace) -> None:
    from tumorboard.workflows.export import export

    done = export(options.run_folder, options.model, options.format, options.out)
    told = {"images": done.check.images, "real": done.check.real, "differences": dict(done.check.differences)}
    if options.json:
        sys.stdout.write(json.dumps({"export": str(done.path), **told, "notice": NOTICE}) + "\n")
        return
    kind = "images of the run" if done.check.real else "random images, for the run's own are gone"
    differences = ", ".join(f"{name} {value:.1e}" for name, value in done.check.differences.items())
    sys.stdout.write(
        f"{options.model} as {options.format}: largest difference from Keras: {differences}; "
        f"on {done.check.images} {kind}\n{NOTICE}\nExport: {done.path}\n"
    )


def add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    report = command(
        commands,
        "report",
        "write a finished run's results anew: report.html, results.md, charts as SVG, PNG and CSV",
        "  tumorboard report runs/first\nThe page needs nothing else: no network, no script.",
        _report,
    )
    report.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")


def _report(options: argparse.Namespace) -> None:
    from tumorboard.workflows.report import report

    path = report(options.run_folder)
    sys.stdout.write(json.dumps({"report": str(path)}) + "\n" if options.json else f"Report: {path}\n")


def add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    serve = command(
        commands,
        "serve",
        "serve a page on this machine where images are dropped and predicted, and a JSON API",
        "  tumorboard serve runs/first\n"
        "  curl --data-binary @slice.png -H 'Content-Type: application/octet-stream' \\\n"
        "       http://127.0.0.1:8080/api/predict\n"
        "Stop it with Ctrl-C. Nothing that is uploaded is kept.",
        _serve,
    )
    serve.add_argument("folder", type=Path, metavar="RUN", help="a finished run folder")
    serve.add_argument("--port", type=int, default=8080, help="0 takes a free one; default 8080")
    serve.add_argument("--host", default="127.0.0.1", help="another address needs --token-file")
    serve.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds a secret that every request must show"
    )


def _serve(options: argparse.Namespace) -> None:
    from tumorboard.server import server

    token = _token(options.token_file)
    server.check_access(options.host, token)
    with contextlib.closing(server.listen(options.host, options.port)) as listener:
        state = server.open_state(options.folder)
        server.serve(state, options.host, listener, token, lambda url: _announce(url, bool(token), options))


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the token from {file}: {error}") from error


def _announce(url: str, token: bool, options: argparse.Namespace) -> None:
    if options.json:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
    else:
        hint = "?token=TOKEN" if token else ""
        sys.stdout.write(f"Open {url}{hint} (Ctrl-C stops it)\n")
    sys.stdout.flush()
