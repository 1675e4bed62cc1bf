"""The models of a finished run: their predictions, their calibration, and what is refused."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.data import dicoms
from tests.small_models import RESIDUAL, joined, member
from tests.small_predictors import CLASSES, NAMES, calibrate, finished, networks, pixels
from tumorboard import optional, run_folder, storage
from tumorboard.errors import ModelError, RunFolderError, UsageError
from tumorboard.evaluation.calibration import scale_probabilities
from tumorboard.explain import gradcam
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import embedding_model
from tumorboard.models.tta import mirror_averaged
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.export import write_joint_graph
from tumorboard.workflows.predictor import load_run


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / "run")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load_run(finished(tmp_path_factory.mktemp("predictor") / "run").root)


@pytest.fixture(scope="module")
def with_graph(tmp_path_factory):
    made = finished(tmp_path_factory.mktemp("graph") / "run", joint_graph=True)
    calibrate(made, "custom")
    return made


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


def assert_same(found, expected):
    """All that is predicted, the probabilities within 1e-6."""
    for name, row in expected.probabilities.items():
        np.testing.assert_allclose(found.probabilities[name], row, rtol=0, atol=1e-6)
        assert found.probabilities[name].argmax() == row.argmax()
    np.testing.assert_allclose(found.calibrated, expected.calibrated, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.prediction_set, expected.prediction_set)
    assert (found.refer, found.out_of_distribution) == (expected.refer, expected.out_of_distribution)


def test_the_joint_graph_predicts_as_keras_does(with_graph):
    graph, keras = load_run(with_graph.root), load_run(with_graph.root, engine="keras")
    assert (graph.engine, graph.fallback, keras.engine, keras.fallback) == ("onnx", "", "keras", "")
    assert graph.names == keras.names == NAMES
    assert (graph.class_names, graph.image, graph.recommended) == (CLASSES, keras.image, "custom")
    flagged = set()
    for image in [*pixels(20), *(np.full((32, 32, 3), grey, np.uint8) for grey in (0, 255))]:
        found = graph.predict(image)
        assert_same(found, keras.predict(image))
        flagged.add(found.out_of_distribution)
    assert flagged == {True, False}


def test_one_model_of_the_joint_graph_predicts_as_in_the_whole(with_graph):
    whole, one = load_run(with_graph.root), load_run(with_graph.root, ["chained"])
    assert (one.engine, one.names, one.recommended) == ("onnx", ("chained",), "chained")
    image = pixels(1)[0]
    np.testing.assert_array_equal(
        one.predict(image).probabilities["chained"], whole.predict(image).probabilities["chained"]
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "webp", "dcm"])
def test_the_joint_graph_predicts_files_of_every_format_as_keras_does(with_graph, kind, tmp_path):
    file, picture = tmp_path / f"image.{kind}", pixels(1, size=50)[0]
    if kind == "dcm":
        file.write_bytes(dicoms.image(picture[..., 0]))
    else:
        Image.fromarray(picture).save(file)
    graph, keras = load_run(with_graph.root), load_run(with_graph.root, engine="keras")
    assert graph.engine == "onnx"
    assert_same(graph.predict(graph.read(file)), keras.predict(keras.read(file)))


def test_mirrored_models_and_all_forms_of_an_ensemble_are_computed_as_keras_does(tmp_path):
    members = [networks()["pretrained"], networks()["custom"]]
    mirrored = mirror_averaged(member("custom", RESIDUAL)[0])
    models = {form: joined(form, members, form) for form in ("vote", "mean_dense", "concat_dense")}
    models |= {"weighted": joined("weighted", members, "weighted", weights=(0.3, 0.7))}
    models["custom"] = mirrored, networks()["custom"][1]
    run = RunFolder(tmp_path / "run")
    for name, (model, spec) in models.items():
        saving.save(model, spec, run.model(name))
    run_folder.write_checksums(run)
    differences = write_joint_graph(run, models, "weighted").differences
    assert list(differences) == [*models, "weighted:embedding"]
    assert max(differences.values()) < 1e-6
    graph, keras = load_run(run.root), load_run(run.root, engine="keras")
    assert graph.engine == "onnx"
    for image in pixels(5, seed=11):
        found, expected = graph.predict(image).probabilities, keras.predict(image).probabilities
        for name, row in expected.items():
            np.testing.assert_allclose(found[name], row, rtol=0, atol=1e-6)


def damaged(run):
    content = bytearray(run.joint_graph.read_bytes())
    content[len(content) // 2] ^= 4
    run.joint_graph.write_bytes(content)


def of_other_models(run):
    text = run.checksums.read_text()
    run.checksums.write_text(text.replace(run_folder.read_checksums(run)["chained.keras"], "0" * 64))


def of_another_recommended_model(run):
    calibrate(run, "ensemble")
    storage.write_json(run.metrics, {"recommendation": {"model": "ensemble"}, "models": {}})


def hostile(run):
    run.joint_graph.write_bytes(b"no model")
    run_folder.write_checksums(run, run.joint_graph)


def unlisted(run):
    lines = run.checksums.read_text().splitlines(keepends=True)
    run.checksums.write_text("".join(line for line in lines if "all.onnx" not in line))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (damaged, r"all\.onnx is not the file that was trained"),
        (lambda run: run.joint_graph.unlink(), r"all\.onnx, which SHA256SUMS lists, found no file"),
        (
            unlisted,
            r"no such file in SHA256SUMS; make it with tumorboard export \S+ --model all --format",
        ),
        (
            of_another_recommended_model,
            "to be of the run's models, found others; make it again with",
        ),
        (hostile, r"all\.onnx cannot be opened by its runtime"),
    ],
)
def test_keras_predicts_if_the_joint_graph_cannot_be_used_and_the_reason_is_known(tmp_path, change, reason):
    run = finished(tmp_path / "run", joint_graph=True)
    change(run)
    predictor = load_run(run.root)
    assert predictor.engine == "keras"
    assert re.search(reason, predictor.fallback)
    image = pixels(1)[0]
    expected = load_run(run.root, engine="keras").predict(image)
    np.testing.assert_array_equal(
        predictor.predict(image).probabilities["custom"], expected.probabilities["custom"]
    )


def test_a_joint_graph_of_models_that_were_replaced_is_not_used(tmp_path):
    run = finished(tmp_path / "run", joint_graph=True)
    of_other_models(run)
    with pytest.raises(ModelError, match=r"chained\.keras is not the file"):  # Keras refuses it too
        load_run(run.root)
    assert load_run(run.root, ["custom"]).fallback.startswith("expected")


def test_without_onnx_runtime_keras_predicts(with_graph, monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "onnxruntime" else name)
    predictor = load_run(with_graph.root)
    assert predictor.engine == "keras"
    assert "the joint graph needs packages that are not installed" in predictor.fallback


def test_an_unknown_engine_is_refused(with_graph):
    with pytest.raises(UsageError, match=r"expected an engine \(onnx, keras\), found 'torch'"):
        load_run(with_graph.root, engine="torch")


def test_with_the_joint_graph_networks_are_loaded_for_heat_maps_alone(tmp_path):
    run = finished(tmp_path / "run", joint_graph=True)
    predictor, image = load_run(run.root), pixels(1)[0]
    expected = gradcam.heat_map(networks()["chained"][0], image, 1)
    np.testing.assert_array_equal(predictor.heat_map("chained", image, 1), expected)
    for name in NAMES:
        run.model(name).write_bytes(b"changed")
    again = load_run(run.root)
    again.predict(image)
    with pytest.raises(ModelError, match=r"pretrained\.keras is not the file that was trained"):
        again.heat_map("chained", image, 1)


def test_the_command_predicts_without_importing_keras(with_graph, tmp_path):
    Image.fromarray(pixels(1)[0]).save(tmp_path / "a.png")
    command = ["predict", str(with_graph.root), str(tmp_path / "a.png"), "--out", str(tmp_path / "o.csv")]
    heavy = {"tensorflow", "keras", "h5py", "matplotlib", "sklearn", "scipy.stats", "scipy.optimize"}
    script = (
        f"import sys; from tumorboard.cli.main import main; assert main({command!r}) == 0; "
        f"assert 'onnxruntime' in sys.modules; sys.exit(', '.join({heavy!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 file predicted" in done.stdout
    assert "Keras" not in done.stdout
