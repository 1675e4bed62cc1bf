"""Show why the study's ensemble was at chance level: two models joined by position and by id.

    python experiments/misaligned_ensemble.py                      two simple models on synthetic slices
    python experiments/misaligned_ensemble.py --run RUN            `pretrained` and `custom` of a finished run

The notebook read a data set three times, for the labels and for each model's predictions; the data
set was reshuffled on every pass. docs/misaligned-ensemble.md discusses the output.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tumorboard import config
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.manifest import Manifest, Sample, load
from tumorboard.data.synthetic import draw
from tumorboard.errors import DataError
from tumorboard.evaluation.metrics import accuracy, log_loss
from tumorboard.predictions import Predictions, aligned
from tumorboard.run_folder import RunFolder

SPLITS = ("train", "test")
RESHUFFLES = 100  # how often the three passes are drawn anew: one draw of a chance level says little


class Passes(NamedTuple):
    """The results of three passes over one data set, each with its ids and in an order of its own."""

    truth: Predictions
    first: Predictions
    second: Predictions


Rows = tuple[np.ndarray, np.ndarray]  # labels (N,), mean probabilities of the two models (N, C)
Join = Callable[[Passes], Rows]


@dataclass(frozen=True)
class Line:
    """Accuracy and loss on train and test: medians over reshuffles, and 95% of the test accuracies."""

    name: str
    figures: tuple[float, float, float, float]
    low: float
    high: float


def by_position(passes: Passes) -> Rows:
    """Join row 1 with row 1 and so on, whatever the images, as the notebook did."""
    return passes.truth.labels, (passes.first.probabilities + passes.second.probabilities) / 2


def by_id(passes: Passes) -> Rows:
    """Join by id, as Tumorboard does."""
    return by_position(Passes(*aligned(*passes)))


def reshuffled(first: Predictions, second: Predictions, rng: np.random.Generator) -> Passes:
    """Make three passes over a data set that reshuffles on every pass."""
    return Passes(*(_in_order(one, rng.permutation(len(one))) for one in (first, first, second)))


def _in_order(one: Predictions, rows: np.ndarray) -> Predictions:
    ids = tuple(one.ids[row] for row in rows)
    return Predictions(ids, one.labels[rows], one.class_names, one.probabilities[rows])


def averaged(train: Rows, rows: Rows) -> np.ndarray:
    """Return the mean (the study's form B); nothing is fitted."""
    return rows[1]


def dense(train: Rows, rows: Rows) -> np.ndarray:
    """Fit `mean_dense` on train: a softmax layer on the mean (4 x 4 weights and 4 biases for 4 classes)."""
    layer = LogisticRegression(C=10, max_iter=1000).fit(train[1], train[0])
    return layer.predict_proba(rows[1])


def measure(
    name: str, join: Join, combine: Callable[[Rows, Rows], np.ndarray], passes: Sequence[dict[str, Passes]]
) -> Line:
    """Score one ensemble on every reshuffle, with the rows it was given (the notebook knew no others)."""
    scores = []
    for one in passes:
        rows = {split: join(one[split]) for split in SPLITS}
        said = {split: combine(rows["train"], rows[split]) for split in SPLITS}
        accuracies = [accuracy(rows[split][0], said[split].argmax(axis=1)) for split in SPLITS]
        scores.append([*accuracies, *(log_loss(rows[split][0], said[split]) for split in SPLITS)])
    low, high = np.quantile([score[1] for score in scores], (0.025, 0.975))
    return Line(name, tuple(np.median(scores, axis=0).tolist()), float(low), float(high))


def compare(members: dict[str, tuple[Predictions, Predictions]], seed: int = 0) -> list[Line]:
    """Score both models and both ensembles, joined by id and by position, from (first, second) by split."""
    rng = np.random.default_rng(seed)
    passes = [{s: reshuffled(*members[s], rng) for s in SPLITS} for _ in range(RESHUFFLES)]
    return [
        measure("first model alone", lambda p: by_id(Passes(p.truth, p.first, p.first)), averaged, passes),
        measure("second model alone", lambda p: by_id(Passes(p.truth, p.second, p.second)), averaged, passes),
        measure("average, joined by id", by_id, averaged, passes),
        measure("average, joined by position", by_position, averaged, passes),
        measure("average + Dense, joined by id", by_id, dense, passes),
        measure("average + Dense, joined by position", by_position, dense, passes),
    ]


def quick_members(folder: Path) -> dict[str, tuple[Predictions, Predictions]]:
    """Fit two small models on synthetic slices of 32 x 32 pixels, in place of any two networks."""
    manifest = load(draw(folder)).manifest
    rule = config.Image(size=32, interpolation="box")
    samples, pixels = _readable(manifest, rule)
    kept = Manifest(tuple(samples), manifest.class_names)
    is_train = np.array([sample.split == "train" for sample in samples])
    first = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    second = ExtraTreesClassifier(300, min_samples_leaf=3, random_state=0)
    said = [m.fit(pixels[is_train], kept.labels[is_train]).predict_proba(pixels) for m in (first, second)]
    whole = [Predictions(kept.ids, kept.labels, kept.class_names, p.astype(np.float64)) for p in said]
    rows = {split: np.flatnonzero([s.split == split for s in samples]) for split in SPLITS}
    return {s: (_in_order(whole[0], rows[s]), _in_order(whole[1], rows[s])) for s in SPLITS}


def _readable(manifest: Manifest, rule: config.Image) -> tuple[list[Sample], np.ndarray]:
    """Return the readable samples (one is damaged on purpose) and their pixels (N, size * size), 0-1."""
    samples, pixels = [], []
    for sample in manifest.samples:
        try:
            image = to_input(read_image(sample.path).pixels, rule)
        except DataError:
            continue
        samples.append(sample)
        pixels.append(image[..., 0].ravel() / 255)
    return samples, np.array(pixels)


def run_members(run: Path, models: Sequence[str]) -> dict[str, tuple[Predictions, Predictions]]:
    """Return the predictions of two models of a finished run."""
    files = {s: [RunFolder(run).predictions(model, s) for model in models] for s in SPLITS}
    read = {s: [Predictions.from_csv(f.read_bytes().decode(), str(f)) for f in files[s]] for s in SPLITS}
    return {s: (one, two) for s, (one, two) in read.items()}


def table(lines: Sequence[Line]) -> str:
    """Return a Markdown table of the lines."""
    head = "| rows and ensemble | train acc | test acc | 95% of reshuffles | train loss | test loss |"
    rows = [
        f"| {line.name} | {a:.3f} | {b:.3f} | {line.low:.3f} to {line.high:.3f} | {c:.3f} | {d:.3f} |"
        for line in lines
        for a, b, c, d in [line.figures]
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> list[Line]:
    parser = argparse.ArgumentParser(description="Rows joined by position against rows joined by id.")
    parser.add_argument("--run", type=Path, help="a finished run, instead of two quick models")
    parser.add_argument("--models", nargs=2, default=("pretrained", "custom"), metavar="MODEL")
    given = parser.parse_args(arguments)
    if given.run:
        members = run_members(given.run, given.models)
    else:
        with tempfile.TemporaryDirectory() as folder:
            members = quick_members(Path(folder) / "data")
    counts = {split: len(members[split][0]) for split in SPLITS}
    classes = len(members["train"][0].class_names)
    print(f"{counts['train']} train and {counts['test']} test images; {RESHUFFLES} reshuffles\n")
    lines = compare(members)
    print(table(lines))
    print(f"\nchance with {classes} equally frequent classes: accuracy {1 / classes:.3f}, ", end="")
    print(f"loss ln {classes} = {np.log(classes):.3f}")
    return lines


if __name__ == "__main__":
    main()
