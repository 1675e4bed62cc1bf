import base64
import gc
import io
import json
import os
import signal
import weakref

import nibabel
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.data import dicoms
from tests.data.pictures import saved
from tumorboard import config
from tumorboard.data import sandbox
from tumorboard.data.image_reader import read_input
from tumorboard.errors import ModelError
from tumorboard.server import app
from tumorboard.server.uploads import MAX_BYTES, MAX_JSON_BYTES

from .fake_server import CLASSES, NAMES, FakePrediction, FakePredictor, fake_state


@pytest.fixture
def client(tmp_path):
    with TestClient(app.build(fake_state(tmp_path)), raise_server_exceptions=False) as client:
        yield client


def test_a_closed_application_keeps_no_models(tmp_path, slice_png):
    """FastAPI's caches keep the functions of its routes for ever."""
    state = fake_state(tmp_path)
    models = weakref.ref(state.predictor)
    with TestClient(app.build(state)) as client:
        assert client.get("/api/run").status_code == 200
        assert client.post("/api/predict", content=slice_png).status_code == 200
    gc.collect()
    assert models() is None


def predicted(client, *contents):
    """The replies for files, and that for the patient whose files they are."""
    replies = [client.post("/api/predict", content=content).json() for content in contents]
    body = {"images": [reply["models"] for reply in replies]}
    return replies, client.post("/api/patient", json=body)


def test_images_of_a_patient_have_a_joint_answer(client, slice_png):
    green = saved(Image.new("RGB", (32, 32), (90, 160, 20)), "PNG")
    replies, answer = predicted(client, slice_png, green)
    joint = answer.json()
    mean = np.mean([list(reply["probabilities"].values()) for reply in replies], axis=0)
    assert list(joint["probabilities"].values()) == pytest.approx(mean.tolist(), abs=1e-12)
    assert (joint["prediction"], joint["calibrated"], joint["method"]) == ("normal", True, "mean")
    of_images = [reply["probabilities"]["normal"] for reply in replies]
    assert joint["contributions"] == pytest.approx(of_images, abs=1e-12)
    raw = np.mean([list(reply["models"][3]["probabilities"].values()) for reply in replies], axis=0)
    assert list(joint["models"][3]["probabilities"].values()) == pytest.approx(raw.tolist(), abs=1e-12)
    assert joint["refer"] is (joint["confidence"] < 0.4)


WRONG = {
    "no image": {"images": []},
    "a model is missing": {"images": [[{"name": "ensemble", "prediction": "", "probabilities": {}}]]},
    "not JSON": None,
    "no share": {
        "images": [
            [{"name": n, "prediction": "", "probabilities": dict.fromkeys(CLASSES, 0.9)} for n in NAMES]
        ]
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_patient_of_other_numbers_is_refused(client, name):
    content = json.dumps(WRONG[name]) if WRONG[name] else "{"
    answer = client.post("/api/patient", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "/api/predict" in answer.json()["detail"]
    assert client.post("/api/patient", content=bytes(MAX_JSON_BYTES + 1)).status_code == 413
    assert client.post("/api/patient", data={"a": "b"}).status_code == 415


FILM = dicoms.frames(np.arange(1, 8)[:, None, None] * np.full((7, 8, 8), 9000), center=32768, width=65536)


def nifti(values):
    return nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)).to_bytes()


@pytest.mark.parametrize("content", [FILM, nifti(np.random.default_rng(0).normal(50, 9, (9, 9, 7)))])
def test_a_volume_is_predicted_slice_by_slice_as_training_chose(content, tmp_path):
    state = fake_state(tmp_path, image=config.Image(size=32, frames=3))
    with TestClient(app.build(state)) as client:
        first = client.post("/api/predict", content=content).json()
        assert (first["slice"], first["slices"]) == (2, [2, 4, 6])
        others = [client.post(f"/api/predict?slice={n}", content=content).json() for n in (4, 7)]
        assert [(reply["slice"], reply["slices"]) for reply in others] == [(4, [2, 4, 6]), (7, [2, 4, 6])]
        assert len({reply["preview"] for reply in (first, *others)}) == 3
        assert first["patient"] == others[0]["patient"] != None  # noqa: E711
        assert "file-" in first["patient"]
        assert client.post("/api/explain?slice=6", content=content).status_code == 200
        missing = client.post("/api/predict?slice=8", content=content)
        assert missing.status_code == 422
        assert "so without" in missing.json()["detail"]
        assert client.post("/api/predict?slice=-1", content=content).status_code == 422
        damaged = client.post("/api/predict", content=content[:-20])
        assert damaged.status_code == 422
        assert "cut off" in damaged.json()["detail"]


def test_other_images_have_no_slices(slice_png, tmp_path):
    with TestClient(app.build(fake_state(tmp_path, image=config.Image(size=32, frames="all")))) as client:
        for content in (slice_png, dicoms.image([1, 2], center=1, width=9)):
            reply = client.post("/api/predict", content=content).json()
            assert (reply["slice"], reply["slices"], reply["patient"]) == (None, [], None)


def test_a_run_that_was_trained_without_volumes_refuses_them(client):
    reply = client.post("/api/predict", content=FILM)
    assert reply.status_code == 422
    assert "7 frames, which do not stand for one image; choose with --frames" in reply.json()["detail"]
    assert client.post("/api/predict?slice=3", content=FILM).json()["slice"] == 3


def test_a_patient_of_a_dicom_file_is_a_pseudonym(client, slice_png, caplog):
    scan = np.arange(64, dtype=np.uint16).reshape(8, 8)
    jane, again, joe = (
        dicoms.image(scan * n, patient=p) for n, p in ((1, "Jane 4711"), (2, "Jane 4711"), (1, "Joe"))
    )
    replies, joint = predicted(client, jane, again, joe, slice_png)
    names = [reply["patient"] for reply in replies]
    assert names[0] == names[1] != names[2]
    assert names[3] is None
    assert "4711" not in json.dumps(replies) + joint.text + caplog.text


def picture(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_the_reply_is_the_prediction_bit_for_bit(client, slice_png):
    pixels = read_input(slice_png, FakePredictor().image)
    expected = FakePredictor().predict(pixels)
    reply = client.post("/api/predict", content=slice_png).json()
    assert [model["name"] for model in reply["models"]] == list(NAMES)
    for model in reply["models"]:
        assert list(model["probabilities"]) == list(CLASSES)
        assert list(model["probabilities"].values()) == expected.probabilities[model["name"]].tolist()
    assert (reply["model"], reply["prediction"], reply["calibrated"]) == ("ensemble", "normal", True)
    assert reply["prediction_set"] == [CLASSES[index] for index in np.flatnonzero(expected.prediction_set)]
    assert (reply["refer"], reply["out_of_distribution"]) == (False, False)
    np.testing.assert_array_equal(picture(reply["preview"]), pixels)


def test_there_is_one_confidence_the_highest_calibrated_probability(client, slice_png):
    expected = FakePredictor().predict(read_input(slice_png, FakePredictor().image))
    reply = client.post("/api/predict", content=slice_png).json()
    assert reply["probabilities"] == dict(zip(CLASSES, expected.calibrated.tolist(), strict=True))
    assert reply["confidence"] == max(reply["probabilities"].values()) == expected.calibrated.max()
    assert reply["confidence"] != expected.probabilities["ensemble"].max()


def test_without_a_calibration_the_confidence_is_marked(tmp_path, slice_png, monkeypatch):
    rows = {name: np.array([0.2, 0.7, 0.1]) for name in NAMES}
    monkeypatch.setattr(FakePredictor, "predict", lambda _self, _pixels: FakePrediction(rows))
    with TestClient(app.build(fake_state(tmp_path))) as client:
        reply = client.post("/api/predict", content=slice_png).json()
    assert (reply["confidence"], reply["calibrated"]) == (0.7, False)
    assert reply["probabilities"] == reply["models"][2]["probabilities"]
    assert reply["prediction_set"] is reply["refer"] is reply["out_of_distribution"] is None


def test_the_run_is_described(client):
    about = client.get("/api/run").json()
    assert about["recommended"] == "ensemble"
    assert [accuracy["n"] for accuracy in about["models"][0]["test_accuracy"]] == [60, 56]
    assert about["notice"].startswith("Research software")
    assert about["report"] is False


def test_a_heat_map_is_a_layer_that_is_clear_where_it_is_cold(client, slice_png):
    answer = client.post("/api/explain?model=custom&target=normal", content=slice_png)
    assert answer.json()["empty"] is False
    layer = picture(answer.json()["layer"])
    assert layer.shape == (32, 32, 4)
    assert layer[0, 0, 3] == 0
    assert layer[16, 16, 3] == 255
    nothing = client.post(f"/api/explain?target={CLASSES[-1]}", content=slice_png)
    assert nothing.json()["empty"] is True


def test_a_model_that_was_changed_since_the_start_is_one_line(tmp_path, slice_png):
    """Without a traceback in the terminal: `raise_server_exceptions` would raise it here."""

    def changed(*_):
        raise ModelError("custom.keras is not the file that was trained")

    state = fake_state(tmp_path)
    state.heat_maps.layer = changed
    with TestClient(app.build(state)) as client:
        answer = client.post("/api/explain?model=custom", content=slice_png)
    assert answer.status_code == 422
    assert answer.json() == {"detail": "custom.keras is not the file that was trained"}


def test_dicom_takes_windows_and_says_when_one_differs(client):
    content = dicoms.image(np.arange(1024).reshape(32, 32) * 2, intercept=-1024, slope=1, center=0, width=500)
    plain = client.post("/api/predict", content=content).json()
    lung = client.post("/api/predict?window=lung", content=content).json()
    assert plain["windowed"]
    assert app.OTHER_WINDOW not in plain["notes"]
    assert app.OTHER_WINDOW in lung["notes"]
    assert plain["preview"] != lung["preview"]


def deep(factor, offset=0):
    values = np.arange(1024).reshape(32, 32) * factor + offset
    return saved(Image.fromarray(values.astype(np.uint16)), "PNG")


def test_grey_of_16_bits_is_read_as_in_training_or_through_a_window(client):
    refused = client.post("/api/predict", content=deep(4))
    assert refused.status_code == 422
    assert "up to 4092, whose depth neither it nor the training images tell" in refused.json()["detail"]
    windowed = client.post("/api/predict?window=2048,4096", content=deep(4)).json()
    assert windowed["windowed"]
    assert app.OTHER_WINDOW in windowed["notes"]
    assert client.post("/api/predict", content=deep(64)).json()["notes"] == []


def test_a_picture_that_loses_its_levels_says_so_on_the_page(client):
    notes = client.post("/api/predict", content=deep(1, offset=32_000)).json()["notes"]  # HU plus 32,768
    assert "loses most of its grey levels" in notes[0]
    assert "32168,1500" in notes[0]


REFUSED = {
    "empty": (b"", {}, 422),
    "no image": (b"hello", {}, 422),
    "form": (b"a=1&" * 1000, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "multipart": (b"--x\r\n" * 100, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "gzip": (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415),
    "announced": (b"x", {"Content-Length": str(4 << 30)}, 413),
    "large": (bytes(MAX_BYTES + 1), {}, 413),
    "large, in chunks": ([bytes(MAX_BYTES), b"x"], {}, 413),  # which announce no length
    "length": (b"x", {"Content-Length": "many"}, 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_one_line(name, client):
    content, headers, status = REFUSED[name]
    answer = client.post("/api/predict", content=content, headers=headers)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert "\n" not in answer.json()["detail"]
    assert len(answer.json()["detail"]) <= 300


@pytest.mark.parametrize("window", ["lungs", "1,0", "nan,1", "x" * 50, "\0"])
def test_a_window_that_is_none_is_refused(window, client, slice_png):
    assert client.post("/api/predict", params={"window": window}, content=slice_png).status_code == 422


def test_an_unknown_model_is_refused(client, slice_png):
    assert client.post("/api/explain?model=x", content=slice_png).status_code == 422
    assert client.post("/api/explain?target=x", content=slice_png).status_code == 422


def test_a_bomb_is_refused_before_it_is_decoded(client):
    file = io.BytesIO()
    Image.new("1", (5001, 5000)).save(file, "PNG")
    answer = client.post("/api/predict", content=file.getvalue())
    assert answer.status_code == 422
    assert "more than the 25,000,000 allowed" in answer.json()["detail"]


def test_when_all_places_are_taken_the_client_is_told_when_to_repeat(tmp_path, slice_png):
    opened = fake_state(tmp_path)
    opened.slots.count = 0
    with TestClient(app.build(opened)) as client:
        answer = client.post("/api/predict", content=slice_png)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_a_decoder_that_is_killed_costs_one_answer(tmp_path, slice_png, monkeypatch):
    opened = fake_state(tmp_path)
    with TestClient(app.build(opened)) as client:
        assert client.post("/api/predict", content=slice_png).status_code == 200
        os.kill(opened.decoders.pids[0], signal.SIGKILL)
        ended = client.post("/api/predict", content=slice_png)
        assert (ended.status_code, list(ended.json())) == (500, ["detail"])
        assert client.post("/api/predict", content=slice_png).status_code == 200


def test_a_machine_that_starts_no_decoder_is_not_a_damaged_file(tmp_path, slice_png, monkeypatch):
    monkeypatch.setattr(sandbox.sys, "executable", "/no/python")
    with TestClient(app.build(fake_state(tmp_path))) as client:
        answer = client.post("/api/predict", content=slice_png)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["detail"].startswith("cannot start a decoding process")


def test_nor_is_one_that_starts_no_decoder_of_dicom_frames(tmp_path, monkeypatch):
    opened = fake_state(tmp_path)
    refusal = {"not_started": "cannot start a decoding process"}, b""
    monkeypatch.setattr(opened.decoders, "ask", lambda _request, _content: refusal)
    with TestClient(app.build(opened)) as client:
        assert client.post("/api/predict", content=b"x").status_code == 503


def test_an_unforeseen_failure_says_nothing_of_its_inside(tmp_path, slice_png, monkeypatch):
    def broken(_self, _pixels):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(FakePredictor, "predict", broken)
    with TestClient(app.build(fake_state(tmp_path)), raise_server_exceptions=False) as client:
        answer = client.post("/api/predict", content=slice_png)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_every_error_is_documented_as_what_it_is(client):
    schema = client.get("/openapi.json").json()
    for path in ("/api/predict", "/api/patient", "/api/explain"):
        answers = schema["paths"][path]["post"]["responses"]
        assert {"400", "403", "413", "415", "421", "422", "500", "503"} <= set(answers)
        for status, answer in answers.items():
            if status != "200":
                assert json.dumps(answer).count("#/components/schemas/Problem") == 1


def test_nothing_is_written(client, slice_png, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    before = sorted(tmp_path.rglob("*"))
    for _ in range(20):  # more than there are slots, each of which is free again
        assert client.post("/api/predict", content=slice_png).status_code == 200
        assert client.post("/api/predict", content=slice_png[:100]).status_code == 422
    assert sorted(tmp_path.rglob("*")) == before


def test_the_report_is_shown_in_a_box(tmp_path):
    opened = fake_state(tmp_path)
    with TestClient(app.build(opened)) as client:
        missing = client.get("/report")
        opened.run.report.write_text("<h1>Report</h1>")
        shown = client.get("/report")
    assert (missing.status_code, shown.status_code) == (404, 200)
    assert "tumorboard report" in missing.text
    assert shown.headers["content-security-policy"].startswith("sandbox")
