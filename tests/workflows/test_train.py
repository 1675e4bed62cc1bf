"""The main context from end to end, in this process; test_train_interrupted.py kills it."""

import contextlib
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from tests.small_runs import CLASSES, COUNTS, MODELS, RECIPE, SPLITS, bits, draw
from tumorboard import backend, config, run_folder
from tumorboard.cli.main import main
from tumorboard.data.left_out import ignored, is_output
from tumorboard.data.manifest import DataSource
from tumorboard.progress import Step, Work
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import build_models
from tumorboard.workflows.fingerprint import is_finished
from tumorboard.workflows.predictor import load_run


@dataclass
class Finished:
    """A run, what it printed, and in which order models were saved and parts predicted."""

    root: Path
    run: Path
    code: int
    out: str
    err: str
    order: list[str]


def carried_out(root: Path, *flags: str) -> Finished:
    out, err, order, enter = io.StringIO(), io.StringIO(), [], Work.enter
    (root / "recipe.toml").write_text(RECIPE)
    command = ["train", root / "data", "--out", root / "run", "--recipe", root / "recipe.toml", *flags]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(
            build_models,
            "_save",
            _noting(build_models._save, order, lambda context, model, *_: f"save {model.name}"),
        )
        patch.setattr(
            build_models,
            "probabilities",
            _noting(build_models.probabilities, order, lambda model, *_: f"ask {model.name}"),
        )
        steps: list[Step] = []
        patch.setattr(Work, "enter", lambda *args: steps.append(enter(*args)) or steps[-1])
        code = main(list(map(str, command)))
    assert [step.title for step in steps if not step.weight] == []  # every step is in the plan
    return Finished(root, root / "run", code, out.getvalue(), err.getvalue(), order)


def _noting(inner, order, name):  # type: ignore[no-untyped-def]
    def noting(*args, **options):  # type: ignore[no-untyped-def]
        order.append(name(*args))
        return inner(*args, **options)

    return noting


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("finished")
    draw(root / "data")
    # A drawing of train lies in test as well, as in the study's own data.
    shutil.copy(root / "data/train/bar/bar0.png", root / "data/test/bar/bar0.png")
    return carried_out(root)


def records(run: Path, model: str, split: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, labels and probabilities of a file, read without the code under test."""
    with (run / "predictions" / f"{model}-{split}.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    names = [column.removeprefix("probability:") for column in header[3:]]
    labels = np.array([names.index(row[1]) for row in rows])
    return [row[0] for row in rows], labels, np.array([[float(cell) for cell in row[3:]] for row in rows])


def test_every_file_for_people_is_known_as_an_output_wherever_it_lies(
    finished: Finished, tmp_path: Path
) -> None:
    assert is_output(finished.run)
    for pattern in ("*.*", "figures/*", "predictions/*", "models/*.json", "models/*.keras"):
        for file in finished.run.glob(pattern):
            shutil.copy(file, tmp_path / file.name)
    known = {file.name for file in tmp_path.iterdir() if is_output(file)}
    states = {"recipe.toml", "environment.json", "calibration.json", "test_evaluations.json"}
    states |= {"leak_meter.json", "patients.json"}
    assert {file.name for file in tmp_path.iterdir() if not ignored(file)} - known == states


def test_the_run_folder_holds_every_file_that_its_page_promises(finished: Finished) -> None:
    assert finished.code == 0
    assert json.loads((finished.run / "environment.json").read_text())["device"]
    promised = {
        "recipe.toml",
        "manifest.csv",
        "environment.json",
        "audit.json",
        "leak_meter.json",
        "calibration.json",
        "patients.json",
        "SHA256SUMS",
        "test_evaluations.json",
    }
    promised |= {"metrics.json", "results.md", "summary.txt", "report.html", "model-card.md", "checklist.md"}
    charts = {f"{kind}-{name}" for kind in ("roc", "pr", "reliability") for name in MODELS}
    fitted = [name for name in MODELS if (finished.run / f"history/{name}.csv").is_file()]
    charts |= {f"learning-{metric}-{name}" for metric in ("loss", "accuracy") for name in fitted}
    charts |= {f"confusion-{split}-{name}" for split in SPLITS for name in MODELS}
    charts |= {"coverage-accuracy", "accuracy-test"}
    promised |= {f"figures/{chart}.{kind}" for chart in charts for kind in ("svg", "csv", "png")}
    promised |= {f"models/{name}.{kind}" for name in MODELS for kind in ("keras", "json")}
    if backend.name() == "tensorflow":  # which exports the joint graph
        promised |= {"models/all.onnx", "models/all.onnx.json"}
    promised |= {f"history/{name}.csv" for name in MODELS}
    promised |= {f"predictions/{name}-{split}.csv" for name in MODELS for split in SPLITS}
    found = {str(path.relative_to(finished.run)) for path in finished.run.rglob("*") if path.is_file()}
    beside = {"state/fingerprint.json", "state/phases.json", "state/.turn-phases.json.lock", ".lock"}
    beside |= {"state/progress.json"}
    assert found == promised | beside
    assert all((finished.run / name).stat().st_size for name in promised)


def test_checksums_verify(finished: Finished) -> None:
    lines = (finished.run / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 2 * len(MODELS) + 2
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((finished.run / name).read_bytes()).hexdigest() == digest


def test_every_model_says_its_part_of_every_sample_once(finished: Finished) -> None:
    for split, count in COUNTS.items():
        ids = [f"{split}/{name}/{name}{number}.png" for name in CLASSES for number in range(count)]
        for model in MODELS:
            found, labels, probabilities = records(finished.run, model, split)
            assert found == ids
            assert [f"/{CLASSES[label]}/" in one for label, one in zip(labels, ids, strict=True)] == [
                True
            ] * len(ids)
            np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_the_joint_graph_predicts_what_the_results_say(finished: Finished) -> None:
    predictor = load_run(finished.run)
    assert predictor.engine == "onnx"
    for split in SPLITS:
        ids, *_ = records(finished.run, MODELS[0], split)
        found = [predictor.predict(predictor.read(finished.root / "data" / name)) for name in ids]
        for model in MODELS:
            _, _, expected = records(finished.run, model, split)
            probabilities = np.stack([prediction.probabilities[model] for prediction in found])
            np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(probabilities.argmax(1), expected.argmax(1))


def test_metrics_are_those_of_the_predictions(finished: Finished) -> None:
    metrics = json.loads((finished.run / "metrics.json").read_text())
    for model in MODELS:
        for split in SPLITS:
            _, labels, probabilities = records(finished.run, model, split)
            predicted = probabilities.argmax(1)
            found = metrics["models"][model]["splits"][split]
            p = np.clip(probabilities, np.finfo(float).eps, 1 - np.finfo(float).eps)
            expected = -np.log(p[np.arange(len(labels)), labels]).mean()
            assert found["loss"]["value"] == pytest.approx(expected, abs=1e-12)
            assert expected == pytest.approx(
                log_loss(labels, probabilities / probabilities.sum(1)[:, None]), abs=1e-6
            )
            assert found["accuracy"]["value"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
            balanced = balanced_accuracy_score(labels, predicted)
            assert found["balanced_accuracy"]["value"] == pytest.approx(balanced, abs=1e-12)
            assert found["n"] == len(labels)
        accuracies = [metrics["models"][model]["splits"][split]["accuracy"]["value"] for split in SPLITS]
        balance = 1 - (max(accuracies) - min(accuracies))
        scores = metrics["models"][model]["description_scores"]
        assert scores["composite"] == pytest.approx((balance + sum(accuracies) / 3) / 2, abs=1e-12)


def test_no_number_anywhere_is_nan_or_infinite(finished: Finished) -> None:
    def refuse(text: str) -> float:
        raise ValueError(text)

    for path in finished.run.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
    for path in (finished.run / "history").iterdir():
        assert np.isfinite(np.loadtxt(path, delimiter=",", skiprows=1)).all()


def test_histories_and_contracts_agree(finished: Finished) -> None:
    patience = {"custom": True, "pretrained": False, "ensemble": True, "chained": False}
    for model in MODELS:
        rows = list(csv.DictReader((finished.run / "history" / f"{model}.csv").read_text().splitlines()))
        details = json.loads((finished.run / "models" / f"{model}.json").read_text())["details"]
        assert details["epochs"] == len(rows)
        assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
        accuracies = [float(row["val_accuracy"]) for row in rows]
        best = accuracies.index(max(accuracies)) + 1 if patience[model] else len(rows)
        assert details["best_epoch"] == best
        _, labels, probabilities = records(finished.run, model, "valid")  # of the saved model
        assert (probabilities.argmax(1) == labels).mean() == pytest.approx(accuracies[best - 1], abs=1e-6)


def test_an_image_of_train_that_lies_in_test_too_is_left_out_of_a_second_figure(finished: Finished) -> None:
    results = (finished.run / "results.md").read_text()
    assert "without near duplicates" in results
    assert str(3 * COUNTS["test"] - 1) in results


def test_results_come_on_standard_output_and_the_last_line_names_them(finished: Finished) -> None:
    summary = (finished.run / "summary.txt").read_text()
    assert "Recommended model: " in summary
    report = finished.run / "report.html"
    assert finished.out == f"{summary}Report: {report}\nResults: {finished.run}\n"
    assert max(map(len, summary.splitlines())) <= 80


def test_progress_on_standard_error_is_of_the_whole_run(finished: Finished) -> None:
    lines = [re.match(r" *(\d+)%  \d:\d\d:\d\d elapsed.*; (.*)", line) for line in finished.err.splitlines()]
    shown = [(int(line[1]), line[2]) for line in lines if line]
    percents = [percent for percent, _ in shown]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    phases = ("prepare", "audit", "loading Keras", *MODELS, "calibration", "test", "leak meter", "report")
    assert [text for _, text in shown if text.endswith(" done")] == [f"{phase} done" for phase in phases]
    assert "Traceback" not in finished.err
    assert set(json.loads((finished.run / "state/phases.json").read_text())) == {
        *phases[:-1],
        "results",
        "joint graph",
        "charts",
    }


def test_test_is_opened_after_the_last_model_is_saved_and_only_then(finished: Finished) -> None:
    last = max(number for number, what in enumerate(finished.order) if what.startswith("save"))
    before, after = finished.order[:last], finished.order[last:]
    asked = Counter(before)
    assert all(asked[f"ask {name}"] == 2 for name in MODELS[:-1])  # train and validation
    assert after == ["save chained", "ask chained", "ask chained", *(f"ask {name}" for name in MODELS)]
    assert len(json.loads((finished.run / "test_evaluations.json").read_text())) == 1


def test_finished_work_is_recognised_without_keras(finished: Finished) -> None:
    script = "import sys; from tumorboard.cli.main import main; code = main(sys.argv[1:]); "
    script += "sys.exit(99 if {'keras', 'scipy', 'matplotlib'} & set(sys.modules) else code)"
    command = [
        "train",
        finished.root / "data",
        "--out",
        finished.run,
        "--recipe",
        finished.root / "recipe.toml",
    ]
    ran = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, finished.out), ran.stderr
    assert ran.stderr.endswith(" is finished; nothing is trained again\n")


@pytest.mark.parametrize("name", ["models/custom.keras", "report.html", "predictions/ensemble-test.csv"])
def test_a_run_that_lacks_a_file_is_not_finished(finished: Finished, tmp_path: Path, name: str) -> None:
    run = RunFolder(shutil.copytree(finished.run, tmp_path / "run"))
    source, recipe = DataSource(finished.root / "data"), config.load(str(finished.root / "recipe.toml"))
    assert is_finished(run, source, recipe)
    (run.root / name).unlink()
    assert not is_finished(run, source, recipe)


def test_a_second_command_makes_nothing_again_and_answers_as_json(finished: Finished) -> None:
    kept = [path for name in ("models", "history", "predictions") for path in (finished.run / name).iterdir()]
    kept += [finished.run / name for name in ("SHA256SUMS", "test_evaluations.json")]
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept if path.name != "SHA256SUMS"
    }
    sums = (finished.run / "SHA256SUMS").read_bytes()
    metrics = (finished.run / "metrics.json").read_text()
    again = carried_out(finished.root, "--json")
    assert again.order == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert (finished.run / "SHA256SUMS").read_bytes() == sums
    assert (finished.run / "metrics.json").read_text() == metrics
    printed = json.loads(again.out)
    assert printed.pop("results") == str(finished.run)
    assert printed.pop("report") == str(finished.run / "report.html")
    assert printed == json.loads(metrics)
    assert again.err == ""


def test_other_pixels_and_labels_in_test_change_no_bit_of_models_and_recommendation(
    finished: Finished, tmp_path: Path
) -> None:
    shutil.copytree(finished.root / "data", tmp_path / "data")
    for path in (tmp_path / "data/test").rglob("*.png"):
        path.unlink()
    draw(tmp_path / "data", seed=99, splits=("test",))
    bar, noise = (tmp_path / "data/test" / name for name in ("bar", "noise"))
    bar.rename(tmp_path / "held")
    noise.rename(bar)
    (tmp_path / "held").rename(noise)
    other = carried_out(tmp_path, "--quiet")
    assert other.code == 0
    open_parts = ("train", "valid")
    assert bits(other.run, open_parts) == bits(finished.run, open_parts)
    assert bits(other.run) != bits(finished.run)
    one, two = (json.loads((run / "metrics.json").read_text()) for run in (other.run, finished.run))
    assert one["recommendation"] == two["recommendation"]
    assert [m["fit_verdict"] for m in one["models"].values()] == [
        m["fit_verdict"] for m in two["models"].values()
    ]


def test_a_model_file_that_was_damaged_is_made_again(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    run = RunFolder(tmp_path / "run")
    run.model("pretrained").write_bytes(b"damaged")
    again = carried_out(tmp_path, "--quiet")
    assert again.order == ["save pretrained"]
    assert bits(run.root) == bits(finished.run)
    with run_folder.locked(run):
        pass


def test_the_folder_of_a_repeated_study_is_refused_in_one_line(tmp_path, capsys):  # type: ignore[no-untyped-def]
    (tmp_path / "study" / "data").mkdir(parents=True)
    (tmp_path / "study" / "data" / "manifest.csv").write_text("path,label\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "study")]) == 6
    err = capsys.readouterr().err
    assert "several runs" in err
    assert "--folds" in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
