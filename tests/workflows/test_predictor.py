"""The models of a finished run: their predictions, their calibration, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.small_predictors import CLASSES, NAMES, calibrate, finished, networks, pixels
from tumorboard.errors import ModelError, RunFolderError, UsageError
from tumorboard.evaluation.calibration import scale_probabilities
from tumorboard.explain import gradcam
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import embedding_model
from tumorboard.workflows.predictor import load_run


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / "run")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load_run(finished(tmp_path_factory.mktemp("predictor") / "run").root)


def test_it_knows_its_models_and_the_recommended_one(predictor):
    assert predictor.names == NAMES
    assert predictor.recommended == "custom"
    assert predictor.class_names == CLASSES
    assert predictor.image.size == 32


def test_a_prediction_is_that_of_each_model_bit_for_bit(predictor):
    for image in pixels(3, seed=1):
        prediction = predictor.predict(image)
        for name, (model, _) in networks().items():
            np.testing.assert_array_equal(
                prediction.probabilities[name], probabilities(model, image[None])[0]
            )
        told = (
            prediction.calibrated,
            prediction.prediction_set,
            prediction.refer,
            prediction.out_of_distribution,
        )
        assert told == (None, None, None, None)


def test_heat_maps_are_those_of_grad_cam(predictor):
    image = pixels(1)[0]
    expected = gradcam.heat_map(networks()["chained"][0], image, 1)
    np.testing.assert_array_equal(predictor.heat_map("chained", image, 1), expected)


def test_a_file_and_its_bytes_are_read_alike(predictor, tmp_path):
    picture = pixels(1, size=50)[0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    from_file = predictor.read(tmp_path / "a.png")
    assert from_file.shape == (32, 32, 3)
    np.testing.assert_array_equal(from_file, predictor.read((tmp_path / "a.png").read_bytes()))


def test_calibration_is_applied_to_the_recommended_model(run):
    calibrate(run, "custom")
    predictor, image = load_run(run.root, ["custom"]), pixels(1)[0]
    prediction = predictor.predict(image)
    expected = scale_probabilities(prediction.probabilities["custom"][None], 2.0)[0]
    np.testing.assert_array_equal(prediction.calibrated, expected)
    np.testing.assert_array_equal(prediction.prediction_set, 1 - expected <= 0.7)
    assert prediction.refer == (expected.max() < 0.4)
    assert prediction.out_of_distribution is False
    assert predictor.predict(np.full_like(image, 255)).out_of_distribution is True


@pytest.mark.parametrize(("threshold", "abstains"), [(1.0, True), (0.0, False), (None, None)])
def test_it_asks_a_human_below_the_threshold(run, threshold, abstains):
    calibrate(run, "custom", refer_below=threshold, out_of_distribution=None)
    prediction = load_run(run.root, ["custom"]).predict(pixels(1)[0])
    assert prediction.refer is abstains
    assert prediction.out_of_distribution is None


def test_a_model_without_calibration_says_so(run):
    calibrate(run, "custom", conformal={"alpha": 0.1, "quantile": None, "n": 3})
    assert load_run(run.root, ["custom"]).predict(pixels(1)[0]).prediction_set is None
    assert load_run(run.root, ["chained"]).predict(pixels(1)[0]).calibrated is None


def test_without_metrics_the_ensemble_is_recommended(run):
    run.metrics.unlink()
    assert load_run(run.root, ["ensemble", "custom"]).recommended == "ensemble"
    assert load_run(run.root, ["custom"]).recommended == "custom"


def test_an_unknown_model_is_named(run):
    with pytest.raises(UsageError, match=r"pretrained, custom, ensemble, chained\), found 'best'"):
        load_run(run.root, ["best"])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="expected a finished run"):
        load_run(tmp_path)


@pytest.mark.parametrize("file", ["custom.keras", "custom.json", "custom.ood.npz"])
def test_a_changed_file_is_named(run, file):
    calibrate(run, "custom")
    path = run.root / "models" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{file} is not the file that was trained"):
        load_run(run.root, ["custom"])


def test_a_missing_or_unlisted_model_is_named(run):
    run.checksums.write_text(run.checksums.read_text().replace("models/custom.json", "models/other.json"))
    with pytest.raises(ModelError, match=r"custom\.json in the run's SHA256SUMS, found it not listed"):
        load_run(run.root, ["custom"])
    run.model("chained").unlink()
    with pytest.raises(ModelError, match=r"chained\.keras, which SHA256SUMS lists"):
        load_run(run.root, ["chained"])


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"refer_below": 1.5}, {"conformal": {"alpha": 0.1, "quantile": -1, "n": 9}}],
)
def test_an_impossible_calibration_is_named(run, change):
    calibrate(run, "custom", **change)
    with pytest.raises(RunFolderError, match=r"calibration\.json, found others"):
        load_run(run.root, ["custom"])


@pytest.mark.parametrize("text", ["{", "[]", '{"models": {"custom": {"temperature": "hot"}}}'])
def test_a_damaged_calibration_is_named(run, text):
    (run.root / "calibration.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"calibration\.json"):
        load_run(run.root, ["custom"])


def test_embeddings_are_the_models_own_or_its_members():
    shapes = {name: embedding_model(model).output.shape[1:] for name, (model, _) in networks().items()}
    assert shapes == {"pretrained": (8,), "custom": (128,), "ensemble": (136,), "chained": (8,)}


def test_metrics_that_name_no_models_do_not_hide_them(run):
    run.metrics.write_text(json.dumps({}))
    assert set(load_run(run.root).names) == set(NAMES)
