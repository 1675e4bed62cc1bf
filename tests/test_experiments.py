import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tumorboard.config import load
from tumorboard.errors import DataError, RecipeError
from tumorboard.evaluation.intervals import wilson
from tumorboard.evaluation.metrics import accuracy
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")


def imported(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = imported("misaligned_ensemble", monkeypatch)
    monkeypatch.setattr(module, "RESHUFFLES", 20)
    return module


def guesses(count: int, seed: int) -> Predictions:
    """A model that is right more often than not; the labels depend on the id alone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    logits = rng.normal(size=(count, len(CLASSES)))
    logits[np.arange(count), labels] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(tuple(f"{n:04d}.png" for n in range(count)), labels, CLASSES, probabilities)


def run_of(root: Path, count: int = 400) -> Path:
    rows = (
        ("pretrained", "train", 2),
        ("custom", "train", 3),
        ("pretrained", "test", 0),
        ("custom", "test", 1),
    )
    for model, split, seed in rows:
        file = RunFolder(root).predictions(model, split)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(guesses(count, seed).to_csv().encode())
    return root


def test_quick_members_score_above_chance_by_id_and_at_chance_by_position(
    experiment: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {line.name: line for line in experiment.main([])}
    printed = capsys.readouterr().out
    for ensemble in ("average", "average + Dense"):
        good, bad = lines[f"{ensemble}, joined by id"], lines[f"{ensemble}, joined by position"]
        n = 60
        assert wilson(round(good.figures[1] * n), n)[0] > 0.3
        assert bad.low < 0.25 < bad.high
        assert bad.figures[1] == pytest.approx(0.25, abs=0.05)
        assert f"| {good.figures[1]:.3f} |" in printed
        assert f"| {bad.figures[1]:.3f} |" in printed


def test_dense_on_misaligned_rows_learns_nothing_but_the_class_frequencies(
    experiment: ModuleType, tmp_path: Path
) -> None:
    lines = {line.name: line for line in experiment.main(["--run", str(run_of(tmp_path))])}
    *_, train_loss, test_loss = lines["average + Dense, joined by position"].figures
    assert (train_loss, test_loss) == pytest.approx((np.log(4), np.log(4)), abs=0.05)
    assert lines["average + Dense, joined by id"].figures[3] < 0.8


def test_by_id_every_reshuffle_gives_the_figure_of_the_unshuffled_rows(
    experiment: ModuleType, tmp_path: Path
) -> None:
    line = experiment.main(["--run", str(run_of(tmp_path))])[2]
    first, second = guesses(400, 0), guesses(400, 1)
    expected = accuracy(first.labels, (first.probabilities + second.probabilities).argmax(axis=1))
    assert line.name == "average, joined by id"
    assert line.figures[1] == line.low == line.high == pytest.approx(expected)


def test_predictions_of_other_samples_are_refused(experiment: ModuleType, tmp_path: Path) -> None:
    root = run_of(tmp_path)
    RunFolder(root).predictions("custom", "test").write_bytes(guesses(399, 1).to_csv().encode())
    with pytest.raises(DataError, match="0399"):
        experiment.main(["--run", str(root)])


def test_a_variant_changes_the_settings_that_it_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    script, default = imported("custom_settings", monkeypatch), load("default")
    text = "models.custom.training.batch=16 models.custom.augmentation.fill='nearest' image.size=128"
    expected = default.model_dump()
    expected["models"]["custom"]["training"]["batch"] = 16
    expected["models"]["custom"]["augmentation"]["fill"] = "nearest"
    expected["image"]["size"] = 128
    assert script.variant(default, text).model_dump() == expected
    assert script.variant(default, "") == default
    with pytest.raises(RecipeError, match=r"batches.*known here"):
        script.variant(default, "models.custom.training.batches=16")
