import json
import os
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from tests.small_predictors import CLASSES, IMAGE, NAMES, networks, pixels
from tumorboard import optional, storage
from tumorboard.errors import ModelError, UsageError
from tumorboard.export import exported_model, formats
from tumorboard.models.inference import inference_graph
from tumorboard.models.model_spec import embedding_model

SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "saved-model": ""}
FORMATS = tuple(SUFFIX)


def write(folder, name="ensemble", kind="onnx", images=None):
    model, spec = networks()[name]
    path = folder / f"{name}{SUFFIX[kind]}"
    asked = dict(zip(outputs(kind), (model, embedding_model(model)), strict=False))
    return path, exported_model.export_checked(
        asked, spec, "ab" * 32, kind, path, pixels(4) if images is None else images, True
    )


def outputs(kind):
    return ("probabilities", "embedding")[: 2 if formats.FORMATS[kind].embeds else 1]


def need(kind):
    for package in formats.FORMATS[kind].packages:
        if find_spec(package) is None:  # importing openvino would start its telemetry
            pytest.skip(f"the format {kind} needs {package}")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_answers_as_keras_does(tmp_path, kind):
    need(kind)
    path, check = write(tmp_path, kind=kind)
    assert list(check.differences) == list(outputs(kind))
    assert max(check.differences.values()) < 1e-5
    model, spec = networks()["ensemble"]
    engine = exported_model.open_exported(path, kind, spec.image.size)
    for image in pixels(5, seed=9):
        found = engine.predict_on_batch(image[None])
        for network, answer in zip((model, embedding_model(model)), found, strict=False):
            np.testing.assert_allclose(answer, network.predict_on_batch(image[None]), atol=1e-5)
        assert len(found) == len(outputs(kind))
    facts = json.loads(exported_model.record_path(path).read_text())
    assert facts["class_names"] == list(CLASSES)
    assert facts["image"] == IMAGE.model_dump()
    assert facts["compared"] == {"images": 4, "real": True, "largest_difference": check.differences}
    assert facts["outputs"] == dict(zip(outputs(kind), ([3], [136]), strict=False))
    assert exported_model.is_export(path, kind, "ab" * 32, outputs(kind))
    assert not exported_model.is_export(path, kind, "ab" * 32, ("probabilities", "other"))


@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_exported(tmp_path, name):
    need("openvino")
    assert max(write(tmp_path, name, "openvino")[1].differences.values()) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_an_inference_graph_answers_alike_and_draws_nothing(name):
    model, _ = networks()[name]
    copy = inference_graph({"probabilities": model})
    assert copy.predict_on_batch(pixels(1)) == pytest.approx(model.predict_on_batch(pixels(1)), abs=1e-6)
    assert not [
        layer
        for layer in copy.layers
        if "Random" in type(layer).__name__ or "Dropout" in type(layer).__name__
    ]
    assert copy.trainable_weights == []


@pytest.mark.parametrize(("number", "output"), list(enumerate(outputs("onnx"))))
@pytest.mark.parametrize("wrong", [np.nan, 2e-4])
def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch, number, output, wrong):
    need("onnx")
    onnx = formats.FORMATS["onnx"]

    def off(path, size):
        return lambda image: [
            one + wrong if i == number else one for i, one in enumerate(onnx.open(path, size)(image))
        ]

    monkeypatch.setitem(formats.FORMATS, "onnx", replace(onnx, open=off))
    with pytest.raises(ModelError, match=f"{output} differs from Keras by (nan|2.0e-04)"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_predicts_another_class_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(exported_model, "LIMIT", 1.0)
    onnx = formats.FORMATS["onnx"]

    def shifted_classes(path, size):
        return lambda image: [np.roll(output, 1, axis=1) for output in onnx.open(path, size)(image)]

    monkeypatch.setitem(formats.FORMATS, "onnx", replace(onnx, open=shifted_classes))
    with pytest.raises(
        ModelError, match=r"probabilities predicts another class than Keras for [1-4] of 4 im"
    ):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_fails_is_one_line(tmp_path, monkeypatch):
    def fail(*_):
        raise NameError("name 'tensorflow' is not defined")

    monkeypatch.setitem(formats.FORMATS, "onnx", replace(formats.FORMATS["onnx"], write=fail))
    with pytest.raises(ModelError, match="cannot be written as onnx: name 'tensorflow' is not defined"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_onnx_of_other_operators_or_with_other_files_is_refused(tmp_path):
    import onnx

    path, _ = write(tmp_path)
    content = onnx.load(path)
    content.graph.node[0].op_type = "Loop"
    onnx.save(content, tmp_path / "loop.onnx")
    with pytest.raises(ModelError, match=r"loop\.onnx cannot be opened: .* found 'Loop'"):
        exported_model.open_exported(tmp_path / "loop.onnx", "onnx", IMAGE.size)
    onnx.save(onnx.load(path), tmp_path / "parts.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="found 'weights in another file'"):
        exported_model.open_exported(tmp_path / "parts.onnx", "onnx", IMAGE.size)
    content = onnx.load(path)
    content.graph.node[0].domain = "com.example"
    onnx.save(content, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="expected operators of Tumorboard's networks"):
        exported_model.open_exported(tmp_path / "foreign.onnx", "onnx", IMAGE.size)


def test_a_folder_whose_name_is_not_utf_8_gets_a_graph(tmp_path):
    need("onnx")
    folder = tmp_path / os.fsdecode(b"Universit\xe4t")
    folder.mkdir()
    _, check = write(folder)
    assert max(check.differences.values()) <= exported_model.LIMIT


def test_onnx_predicts_alike_whatever_the_threads_and_the_batch(tmp_path, monkeypatch):
    path, _ = write(tmp_path)
    images = pixels(5, seed=3)
    outputs = []
    for threads in ("", "1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        network = exported_model.open_exported(path, "onnx", IMAGE.size)
        outputs.append(network.predict_on_batch(images)[0])
        outputs.append(np.concatenate([network.predict_on_batch(image[None])[0] for image in images]))
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_large_values_are_compared_in_their_own_measure():
    expected = np.array([[400.0, 1.0]], np.float32)
    assert exported_model.difference(expected, expected + np.float32([0, 0.02])) == pytest.approx(
        5e-5, rel=0.01
    )
    assert exported_model.difference(expected / 400, expected / 400 + 0.5) == pytest.approx(0.5)


def test_an_older_export_outlives_a_failed_one(tmp_path, monkeypatch):
    need("onnx")
    path, _ = write(tmp_path)
    before = storage.sha256(path)
    monkeypatch.setattr(exported_model, "LIMIT", 0.0)
    with pytest.raises(ModelError):
        write(tmp_path)
    assert storage.sha256(path) == before
    assert exported_model.is_export(path, "onnx", "ab" * 32, outputs("onnx"))


def test_a_changed_file_is_no_export(tmp_path):
    need("onnx")
    path, _ = write(tmp_path)
    assert not exported_model.is_export(path, "onnx", "cd" * 32, outputs("onnx"))
    assert not exported_model.is_export(path, "openvino", "ab" * 32, outputs("openvino"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not exported_model.is_export(path, "onnx", "ab" * 32, outputs("onnx"))
    exported_model.record_path(path).write_text("[]")
    assert not exported_model.is_export(path, "onnx", "ab" * 32, outputs("onnx"))


def test_a_file_without_the_embedding_is_no_export(tmp_path):
    need("onnx")
    path, _ = write(tmp_path)
    facts = json.loads(exported_model.record_path(path).read_text())
    del facts["outputs"]["embedding"]
    exported_model.record_path(path).write_text(json.dumps(facts))
    assert not exported_model.is_export(path, "onnx", "ab" * 32, outputs("onnx"))
    del facts["outputs"]  # as files were before
    exported_model.record_path(path).write_text(json.dumps(facts))
    assert not exported_model.is_export(path, "onnx", "ab" * 32, outputs("onnx"))


def test_a_file_that_is_none_is_one_line(tmp_path):
    need("onnx")
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"no\.onnx cannot be opened by its runtime"):
        exported_model.open_exported(tmp_path / "no.onnx", "onnx", IMAGE.size)


def test_the_facts_stand_in_the_files_that_have_room_for_them(tmp_path):
    need("onnx")
    need("openvino")
    import onnx

    path, _ = write(tmp_path)
    content = onnx.load(path)
    assert [one.name for one in content.graph.output] == list(outputs("onnx"))
    facts = json.loads({one.key: one.value for one in content.metadata_props}["tumorboard"])
    assert facts["outputs"] == {"probabilities": [3], "embedding": [136]}
    assert (facts["class_names"], facts["model_sha256"]) == (list(CLASSES), "ab" * 32)
    path, _ = write(tmp_path, kind="openvino")
    content = formats.openvino().Core().read_model(path)
    assert [one.any_name for one in content.outputs] == list(outputs("onnx"))
    assert json.loads(content.get_rt_info(["tumorboard"]).astype(str))["class_names"] == list(CLASSES)


def test_openvino_is_imported_without_its_telemetry():
    need("openvino")
    formats.openvino()
    from openvino.tools.ovc import telemetry_utils

    assert sys.modules["openvino_telemetry"] is None
    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")


@pytest.mark.parametrize(
    ("kind", "out"), [("onnx", "model.xml"), ("saved-model", "model.pb"), ("litert", "model")]
)
def test_a_name_that_does_not_fit_is_refused(tmp_path, kind, out):
    need(kind)
    model, spec = networks()["custom"]
    with pytest.raises(UsageError, match="expected --out"):
        exported_model.export_checked(
            {"probabilities": model}, spec, "", kind, tmp_path / out, pixels(1), True
        )


def test_a_folder_is_not_overwritten(tmp_path):
    (tmp_path / "custom").mkdir()
    with pytest.raises(UsageError, match="found a folder"):
        write(tmp_path, "custom", "saved-model")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name != "pip" else name)
    with pytest.raises(UsageError, match=r'pip install "openvino>=\S+"$'):
        formats.find("openvino")
    with pytest.raises(UsageError, match="expected a format of onnx, openvino, litert, saved-model"):
        formats.find("pickle")


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr("tumorboard.backend.name", lambda: "jax")
    with pytest.raises(UsageError, match="found the backend 'jax'; set KERAS_BACKEND=tensorflow"):
        formats.find("saved-model")
