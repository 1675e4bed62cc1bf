import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.archives import archive, configured, declared, linked, outside, saved, weighted
from tests.paths import PATHS
from tests.small_models import CLASSES, IMAGE, NOTEBOOK, member
from tests.small_predictors import networks
from tumorboard import storage
from tumorboard.errors import ModelError, TumorboardError
from tumorboard.models import safe_loading, saving
from tumorboard.models.model_spec import ModelSpec
from tumorboard.models.safe_loading import inspect


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("parts"))


def packed(path, parts, compression=zipfile.ZIP_STORED):
    path.write_bytes(archive(parts, compression))
    return path


def refused(path, match):
    # Not in the path, which has the name of the test in it.
    with pytest.raises(ModelError, match=f"found .*(?:{match})") as caught:
        inspect(path)
    message = str(caught.value)
    assert path.name in message
    assert len(message) <= 300
    assert "\n" not in message


def first_array(content):
    names = []
    content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names[0]


@pytest.mark.parametrize("name", networks())
def test_our_own_models_pass(name, tmp_path):
    networks()[name][0].save(tmp_path / "m.keras")
    inspect(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "damaged archive"),
        (b"PK\x03\x04 and more", "damaged archive"),
        (b"\x80\x04K\x01.", "damaged archive"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, content, match):
    (tmp_path / "m.keras").write_bytes(content)
    refused(tmp_path / "m.keras", match)


def test_compressed_parts_are_refused_unread(parts, tmp_path):
    refused(
        packed(tmp_path / "m.keras", parts | {"config.json": b" " * 10**8}, zipfile.ZIP_DEFLATED),
        "compressed",
    )


def test_missing_and_doubled_parts_are_refused(parts, tmp_path):
    refused(packed(tmp_path / "m.keras", {"config.json": parts["config.json"]}), "parts missing or twice")
    packed(tmp_path / "m.keras", parts)
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    refused(tmp_path / "m.keras", "parts missing or twice")


@settings(max_examples=100)
@given(st.lists(PATHS, min_size=100, max_size=100))
def test_of_ten_thousand_paths_none_but_our_parts_is_let_in(names):
    for name in names:
        _let_in_if_ours(name)


def _let_in_if_ours(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part in [*safe_loading._PARTS, name]:
            info = zipfile.ZipInfo("x")
            info.filename = part
            archive.writestr(info, b"") if part != name or part not in safe_loading._PARTS else None
    with zipfile.ZipFile(file) as archive:
        if sorted(archive.namelist()) != safe_loading._PARTS:
            with pytest.raises(safe_loading._Unfit):
                safe_loading.check_parts(archive)


def _set(key, value):
    return lambda config, dense: dense["config"].update({key: value})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_set("units", 10**9), "units = 1000000000"),
        (_set("units", -1), "units = -1"),
        (_set("units", "8"), "units = 8"),
        (_set("name", "../../evil"), "called '../../evil'"),
        (_set("name", "a/b"), "called 'a/b'"),
        (_set("activation", "os:system"), "activation 'os:system'"),
        (_set("activation", {"class_name": "function", "config": "system", "module": "os"}), "damaged|class"),
        (_set("activation", ["relu"]), "damaged archive"),
        (lambda config, dense: dense.update(class_name="Lambda"), "keras.layers.Lambda"),
        (lambda config, dense: dense.update(module="os"), "class 'os.Dense'"),
        (lambda config, dense: dense.update(module={}), "class"),
        (lambda config, dense: dense.pop("class_name"), "class"),
        (_set("kernel_initializer", {"class_name": "__lambda__", "config": {}}), "__lambda__"),
        (
            _set("kernel_initializer", {"module": "builtins", "class_name": "function", "config": "exec"}),
            "builtins",
        ),
        (lambda config, dense: config.update(compile_config={"optimizer": "adam"}), "compiled"),
        (lambda config, dense: config.update(class_name="TorchModuleWrapper"), "no functional model"),
    ],
)
def test_a_hostile_config_is_refused(parts, tmp_path, change, match):
    refused(packed(tmp_path / "m.keras", configured(parts, change)), match)


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b"[" * 10**6, b"null"], ids=lambda text: text[:4])
def test_a_config_that_is_none_is_refused(parts, tmp_path, text):
    refused(packed(tmp_path / "m.keras", parts | {"config.json": text}), "damaged|no functional model")


def test_no_layer_that_we_do_not_make_is_let_in():
    strangers = {name for name in dir(keras.layers) if name[0].isupper()} - set(safe_loading._LAYERS)
    assert {"Lambda", "TFSMLayer", "TorchModuleWrapper", "StringLookup", "JaxLayer"} <= strangers
    functional = {"class_name": "Functional", "module": "keras.src.models.functional"}
    for name in strangers:
        config = functional | {"layers": [{"module": "keras.layers", "class_name": name}]}
        with pytest.raises(safe_loading._Unfit, match=name):
            safe_loading.check_config(config, 1)


def _fill(value):
    def change(content):
        content[first_array(content)][...] = value

    return change


def _inflate(content):
    content.create_dataset("zeros", data=np.zeros(10**6, np.float32), compression="gzip")


def _virtual(content):
    layout = h5py.VirtualLayout((1,), np.float32)
    layout[0] = h5py.VirtualSource("/etc/passwd", "x", (1,))[0]
    content.create_virtual_dataset("virtual", layout)


def _text(content):
    content.create_dataset("text", data="code")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_fill(np.nan), "NaN or infinity in the weights"),
        (_fill(-np.inf), "NaN or infinity in the weights"),
        (declared, "larger than it is, '/huge'"),
        (_inflate, "larger than it is, '/zeros'"),
        (linked, "a link at"),
        (_virtual, "no array of numbers at '/virtual'"),
        (outside, "no array of numbers at '/outside'"),
        (_text, "no array of numbers at '/text'"),
    ],
)
def test_hostile_weights_are_refused(parts, tmp_path, change, match):
    refused(packed(tmp_path / "m.keras", weighted(parts, change)), match)


def test_too_many_weights_and_too_large_a_file_are_refused(parts, tmp_path, monkeypatch):
    path = packed(tmp_path / "m.keras", parts)
    monkeypatch.setattr(safe_loading, "MAX_PARAMETERS", 100)
    refused(path, "more than 100 weights")
    monkeypatch.setattr(safe_loading, "MAX_BYTES", 1000)
    refused(path, "bytes, more than")


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["Lambda", "os", "builtins", "__lambda__", "../x", "relu"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["class_name", "module", "config", "name"]), st.text(max_size=4), max_size=3
    ),
)


def _places(value, place=()):
    """The way to everything in a config."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*place, key))


@settings(max_examples=500)
@given(data=st.data())
def test_a_changed_config_is_let_in_with_our_classes_or_refused_in_a_line(data, parts):
    config = json.loads(parts["config.json"])
    *way, last = data.draw(st.sampled_from([place for place in _places(config) if place]))
    target = config
    for key in way:
        target = target[key]
    target[last] = data.draw(STRANGE)
    try:
        safe_loading.check_config(config, 1000)
    except (
        safe_loading._Unfit,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
    ):  # what `inspect` turns into a line
        return
    named = [one for one in safe_loading.nested_objects(config) if "class_name" in one]
    assert {(one.get("module") or "", one["class_name"]) for one in named} <= safe_loading.ALLOWED


def test_a_file_with_flipped_bits_or_a_missing_end_is_refused_in_a_line(parts, tmp_path):
    """Also without a hash: the archive's own sums see it."""
    path = packed(tmp_path / "m.keras", parts)
    whole = path.read_bytes()
    for seed in range(200):
        content, rng = bytearray(whole), np.random.default_rng(seed)
        for where in rng.integers(len(content), size=4):
            content[where] ^= 1 << int(rng.integers(8))
        path.write_bytes(content[: len(content) - int(rng.integers(3)) * int(rng.integers(2000))])
        refused(path, "")


def bomb(path):
    """A model that passes every look from outside, and asks Keras for 51 GB: Flatten, then Dense."""
    saving.save(*member("m", NOTEBOOK), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    by_class = {one["class_name"]: one for one in config["config"]["layers"]}
    by_class["InputLayer"]["config"]["batch_shape"] = [None, 40000, 40000, 3]
    for one in config["config"]["layers"]:
        one.pop("build_config", None)
        if one["class_name"] == "Dense":
            one["config"]["units"] = 4096
    file = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        weights["wide"] = np.zeros(4096, np.float32)
    parts |= {"config.json": json.dumps(config).encode(), "model.weights.h5": file.getvalue()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    spec = ModelSpec("m", "custom", CLASSES, IMAGE).to_json() | {"sha256": storage.sha256(path)}
    storage.write_json(saving.spec_path(path), spec)
    return path


@pytest.mark.slow
def test_a_good_model_passes_and_a_bomb_ends_its_own_process(tmp_path):
    saving.save(*member("custom", NOTEBOOK), tmp_path / "custom.keras")
    safe_loading.load_in_child(tmp_path / "custom.keras")
    path = bomb(tmp_path / "m.keras")
    inspect(path)
    with pytest.raises(ModelError, match=r"m\.keras .*(limited memory|OOM|[Mm]emory)"):
        safe_loading.load_in_child(path)


@pytest.mark.parametrize(
    ("code", "said", "match"),
    [
        (5, b"started\nm.keras is no model", "m.keras is no model"),
        (-9, b"started\n", "it ended with -9"),
        (1, b"started\nx", "ended with 1"),
    ],
)
def test_what_the_other_process_met_is_told(tmp_path, monkeypatch, code, said, match):
    answer = safe_loading.subprocess.CompletedProcess([], code, said, b"")
    monkeypatch.setattr(safe_loading.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(ModelError, match=match):
        safe_loading.load_in_child(tmp_path / "m.keras")


def test_a_process_that_does_not_start_says_nothing_of_the_model(tmp_path, monkeypatch):
    output = b"Traceback\nModuleNotFoundError: No module named 'x'\n"
    answer = safe_loading.subprocess.CompletedProcess([], 1, b"", output)
    monkeypatch.setattr(safe_loading.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(TumorboardError, match=r"cannot start .*m.keras in: .*No module named 'x'") as raised:
        safe_loading.load_in_child(tmp_path / "m.keras")
    assert not isinstance(raised.value, ModelError)


def test_a_process_that_does_not_end_is_given_up(tmp_path, monkeypatch):
    def late(*_, **__):
        raise safe_loading.subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(safe_loading.subprocess, "run", late)
    with pytest.raises(ModelError, match="could not be loaded within"):
        safe_loading.load_in_child(tmp_path / "m.keras")


def test_the_other_process_answers_with_the_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(safe_loading, "limit_memory_and_time", lambda: None)
    assert saving.main(tmp_path / "m.keras") == 5
    assert "expected a model at" in capsys.readouterr().out
    saving.save(*member("custom", NOTEBOOK), tmp_path / "custom.keras")
    assert saving.main(tmp_path / "custom.keras") == 0
