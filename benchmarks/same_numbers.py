"""Check that library, `predict`, HTTP and page give the same numbers for the same files, bit for bit.

    python benchmarks/same_numbers.py RUN DATA [--images 200]

Each runs in a process of its own: `predict` and `serve` as commands, the page in Chromium (left out
without playwright or a browser; its numbers are those of the table to download). All four use the
same code to predict, so a difference is an error, exit code 1. Keras rounds otherwise than the joint
graph; its difference is only printed.
"""

import argparse
import csv
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import numpy as np

from tumorboard.workflows.predictor import KERAS, ONNX, RunPredictor, load_run

_COMMAND = (sys.executable, "-m", "tumorboard")
_BATCH = 20  # files at once, as somebody would choose them
Numbers = np.ndarray
"""(files, models x classes + 1): each model's probabilities, then the confidence."""


def main() -> None:
    """Print the largest difference of each from the library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    files = chosen(options.data, options.images)
    predictor = load_run(options.run)
    expected = library(predictor, files)
    with serving(options.run) as url:
        found = {"predict": predict(options.run, predictor, files), "HTTP": over_http(url, predictor, files)}
        if browser():
            found["page"] = page(url, predictor, files)
    same = [report(name, expected, numbers, predictor) for name, numbers in found.items()]
    report(KERAS, expected, predict(options.run, predictor, files, KERAS), predictor)
    sys.exit(not all(same))


def report(name: str, expected: Numbers, found: Numbers, predictor: RunPredictor) -> bool:
    """Print how far the predictions differ; return whether they are equal."""
    classes = len(predictor.class_names)
    answers = [rows[:, :-1].reshape(len(rows), -1, classes).argmax(-1) for rows in (expected, found)]
    others = int((answers[0] != answers[1]).sum())
    difference = float(np.abs(expected - found).max())
    print(f"{name}: largest difference {difference:.1e}, {others} other answers; {len(found)} images")
    return difference == 0


def chosen(data: Path, count: int) -> list[Path]:
    """Choose so many images, spread over the folder."""
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if len(files) < count:
        sys.exit(f"expected {count} images in {data}, found {len(files)}; give --images")
    return files[:: len(files) // count][:count]


def library(predictor: RunPredictor, files: Sequence[Path]) -> Numbers:
    """Predict with `RunPredictor.predict`."""
    rows = []
    for file in files:
        result = predictor.predict(predictor.read(file))
        raw = result.probabilities
        reported = raw[predictor.recommended] if result.calibrated is None else result.calibrated
        rows.append([*np.concatenate([raw[name] for name in predictor.names]), reported.max()])
    return np.array(rows)


def predict(run: Path, predictor: RunPredictor, files: Sequence[Path], engine: str = ONNX) -> Numbers:
    """Predict with `tumorboard predict`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.csv"
        options = ("--out", out, "--engine", engine, "--quiet")
        subprocess.run(
            [*_COMMAND, *map(str, ("predict", run, *files, *options))], check=True, stdout=subprocess.DEVNULL
        )
        return _table(out, predictor, "{}:{}")


def over_http(url: str, predictor: RunPredictor, files: Sequence[Path]) -> Numbers:
    """Predict with the API of `tumorboard serve`."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        return np.array([_asked(connection, predictor, file) for file in files])


def _asked(connection: http.client.HTTPConnection, predictor: RunPredictor, file: Path) -> list[float]:
    connection.request(
        "POST", "/api/predict", file.read_bytes(), {"Content-Type": "application/octet-stream"}
    )
    answer = json.loads(connection.getresponse().read())
    raw = {model["name"]: model["probabilities"] for model in answer["models"]}
    row = [raw[name][class_name] for name in predictor.names for class_name in predictor.class_names]
    return [*row, answer["confidence"]]


def page(url: str, predictor: RunPredictor, files: Sequence[Path]) -> Numbers:
    """Predict with the page: the table that it offers after every few files."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        opened = driver.chromium.launch(executable_path=browser(), args=["--no-sandbox"]).new_page()
        opened.set_default_timeout(60_000)  # for a batch
        tables = [
            _offered(opened, url, files[start : start + _BATCH], Path(folder) / f"{start}.csv")
            for start in range(0, len(files), _BATCH)
        ]
        return np.concatenate([_table(table, predictor, "{}: {} (uncalibrated)") for table in tables])


def _offered(opened, url: str, files: Sequence[Path], out: Path) -> Path:  # type: ignore[no-untyped-def]
    opened.goto(url)
    opened.get_by_text("models; classes").wait_for()
    opened.get_by_label("choose files").set_input_files(files)
    opened.get_by_text(f"All {len(files)} images predicted").wait_for()
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the table").click()
    download.value.save_as(out)
    return out


def _table(file: Path, predictor: RunPredictor, column: str) -> Numbers:
    columns = [
        column.format(name, class_name) for name in predictor.names for class_name in predictor.class_names
    ]
    with file.open(encoding="utf-8", newline="") as lines:
        rows: list[Mapping[str, str]] = list(csv.DictReader(lines))
    return np.array([[float(row[column]) for column in (*columns, "confidence")] for row in rows])


def browser() -> str | None:
    """Return a Chromium that playwright can control."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None) if find_spec("playwright") else None


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """Run `tumorboard serve` and yield its address."""
    command = [*_COMMAND, "serve", str(run), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


if __name__ == "__main__":
    main()
