"""calibration.json and patients.json of a run: from validation alone, and a threshold for unlike images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_models import RESIDUAL, member, pixels
from tests.small_runs import draw, prepared
from tumorboard.data.image_cache import Rows
from tumorboard.data.manifest import Manifest
from tumorboard.errors import RunFolderError
from tumorboard.evaluation import patients, selective_prediction
from tumorboard.evaluation.out_of_distribution import OutOfDistribution
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import embedding_model
from tumorboard.predictions import Predictions
from tumorboard.workflows import calibrate
from tumorboard.workflows.run_context import RunContext

MODELS = ("custom", "pretrained", "ensemble", "chained")


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    """A run whose models have said what they think of validation."""
    draw(tmp_path / "data")
    context = prepared(tmp_path)
    (context.run.root / "predictions").mkdir()
    (context.run.root / "models").mkdir()
    part = context.manifest.select("valid")
    for number, name in enumerate(MODELS):
        rows = np.random.default_rng(number).dirichlet(np.ones(3), len(part.samples))
        one = Predictions(part.ids, part.labels, part.class_names, rows)
        context.run.predictions(name, "valid").write_text(one.to_csv())
    return context


def test_every_model_is_calibrated_on_its_validation_predictions_and_comes_back(context: RunContext) -> None:
    calibrate.calibrate(context)
    content = json.loads(context.run.calibration.read_text())
    assert content["format"] == 1
    assert set(content["models"]) == set(MODELS)
    assert content["models"]["custom"]["conformal"] == {"alpha": 0.1, "quantile": None, "n": 6}
    assert content["models"]["custom"]["out_of_distribution"] is None  # 6 images allow no threshold at 5 %
    found = calibrate.read(context.run)
    assert found["custom"] == selective_prediction.fit_calibration(context.predictions("custom", "valid"))


def test_what_is_written_stays_and_what_is_damaged_is_named(context: RunContext) -> None:
    calibrate.calibrate(context)
    before = context.run.calibration.read_bytes()
    context.run.predictions("custom", "valid").unlink()
    calibrate.calibrate(context)
    assert context.run.calibration.read_bytes() == before
    context.run.calibration.write_text('{"models": {"custom": 3}}')
    with pytest.raises(RunFolderError, match=r"calibration\.json"):
        calibrate.read(context.run)


def test_the_rule_per_patient_is_chosen_on_validation_and_comes_back(context: RunContext) -> None:
    calibrate.calibrate(context)
    rules = calibrate.read_patient_rules(context.run)
    assert set(rules) == set(MODELS)
    assert rules["custom"].method == "mean"
    assert "0 patients of several images" in rules["custom"].reason

    valid = context.predictions("custom", "valid")
    rng, C = np.random.default_rng(0), 3
    labels = np.repeat(np.arange(20) % C, 3)
    made = Predictions(
        tuple(f"{row}.png" for row in range(60)), labels, valid.class_names, rng.dirichlet(np.ones(C), 60)
    )
    groups = {name: str(row // 3) for row, name in enumerate(made.ids)}
    fitted = {"custom": replace(selective_prediction.fit_calibration(made), temperature=2.0)}
    calibrate.write_patient_rules(context.run, {"custom": made}, fitted, groups)
    assert calibrate.read_patient_rules(context.run) == {"custom": patients.fit_rule(made, groups, 2.0)}
    assert "(20 patients)" in json.loads(context.run.patients.read_text())["custom"]["reason"]


@pytest.mark.parametrize(
    "text",
    [
        '{"custom": 3}',
        '{"custom": {"method": "mean", "reason": "", "quantile": 2}}',
        '{"custom": {"method": "mean", "reason": "", "refer_below": "high"}}',
        '{"custom": {"method": "mean", "reason": "", "n": -1}}',
        '{"custom": {"method": "mean", "reason": "", "n": 2.5}}',
        '{"custom": {"method": "mean", "reason": "", "alpha": 0}}',
        '{"custom": {"method": "mean", "reason": "", "alpha": 1}}',
        '{"custom": {"method": "best", "reason": ""}}',
        "[]",
    ],
)
def test_a_damaged_rule_per_patient_is_named(context: RunContext, text: str) -> None:
    assert calibrate.read_patient_rules(context.run) == {}  # of an earlier version
    context.run.patients.write_text(text)
    with pytest.raises(RunFolderError, match=r"patients\.json"):
        calibrate.read_patient_rules(context.run)


def test_unlike_images_are_told_by_the_recommended_models_embedding(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, spec = member("custom", RESIDUAL)
    saving.save(
        model,
        replace(spec, class_names=context.manifest.select("valid").class_names),
        context.run.model("custom"),
    )
    images = Rows(pixels(40), np.arange(40))
    monkeypatch.setattr(RunContext, "images", lambda self, split: images)
    one = context.manifest.select("train")
    many = replace(one, samples=tuple(one.samples[i % len(one.samples)] for i in range(40)))
    monkeypatch.setattr(Manifest, "select", lambda self, split: many)
    limit = calibrate._fit_outlier_detector(context, "custom")
    found = OutOfDistribution.from_bytes(context.run.out_of_distribution("custom").read_bytes(), "it")
    scores = found.score(probabilities(embedding_model(model), images))
    assert limit == pytest.approx(np.sort(scores)[38], rel=1e-4)
