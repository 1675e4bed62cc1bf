"""Strangers' models that would run code, ask the network or take all memory: each is one line, no more."""

import base64
import marshal
import pickle
import socket
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.models.archives import archive, configured, declared, linked, outside, saved, weighted
from tests.small_predictors import CLASSES, IMAGE
from tumorboard import storage
from tumorboard.errors import ModelError
from tumorboard.models import safe_loading, saving
from tumorboard.models.model_spec import ModelSpec

CANARY = Path("canary")  # what every one of them would leave
TOUCH = f"touch {CANARY}"
CODE = base64.b64encode(marshal.dumps(compile(f"open('{CANARY}', 'w')", "x", "eval"))).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
POPEN = {"module": "subprocess", "class_name": "Popen", "config": {"args": TOUCH, "shell": True}}
UNSAFE = {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}
FETCH = {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://192.0.2.1/x.tar"}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("parts"))


def layer(class_name, package="keras.layers", /, **config):
    """In the place of the Dense layer, another one."""
    return lambda config_, dense: dense.update(module=package, class_name=class_name, config=config)


def setting(**values):
    """In the Dense layer, other settings."""
    return lambda config, dense: dense["config"].update(values)


def key(**values):
    """Beside the Dense layer's settings."""
    return lambda config, dense: dense.update(values)


def whole(**values):
    """Of the whole model."""
    return lambda config, dense: config.update(values)


HIDDEN = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": LAMBDA}}
CONFIGS = {
    "Lambda with code": layer("Lambda", function=LAMBDA),
    "Lambda by name": layer("Lambda", function="os.system", arguments={"command": TOUCH}),
    "Lambda in a model": layer("Functional", "keras", layers=[HIDDEN], input_layers=[], output_layers=[]),
    "Lambda in a wrapper": layer("TimeDistributed", layer=HIDDEN),
    "module os": layer("system", "os", command=TOUCH),
    "module subprocess": key(**POPEN),
    "module builtins": layer("exec", "builtins", source=f"open('{CANARY}', 'w')"),
    "a function of Keras that fetches": key(**FETCH),
    "a function of Keras that unlocks": key(**UNSAFE),
    "TorchModuleWrapper": layer("TorchModuleWrapper", module=base64.b64encode(pickle.dumps(1)).decode()),
    "TFSMLayer": layer("TFSMLayer", filepath="saved"),
    "StringLookup of a file": layer("StringLookup", vocabulary="/etc/passwd"),
    "StringLookup of an address": layer("StringLookup", vocabulary="http://192.0.2.1/words"),
    "IntegerLookup": layer("IntegerLookup", vocabulary="/etc/passwd"),
    "TextVectorization": layer("TextVectorization", vocabulary="/etc/passwd"),
    "JaxLayer": layer("JaxLayer", call_fn=LAMBDA),
    "FlaxLayer": layer("FlaxLayer", module=POPEN),
    "registered elsewhere": key(registered_name="evil>Dense", module=None, class_name="Dense2"),
    "name that climbs": setting(name="../../canary"),
    "name from the root": setting(name="/canary"),
    "activation": setting(activation=SYSTEM),
    "activation with code": setting(activation=LAMBDA),
    "initializer": setting(kernel_initializer=POPEN),
    "regularizer": setting(kernel_regularizer=SYSTEM),
    "constraint": setting(kernel_constraint=LAMBDA),
    "dtype": setting(dtype=POPEN),
    "input shape": key(build_config=POPEN),
    "compiled": whole(compile_config={"optimizer": POPEN}),
    "another model class": whole(module="os", class_name="system", config={"command": TOUCH}),
}


class Touch:
    def __reduce__(self):
        return (__import__("os").system, (TOUCH,))


def soft(content):
    content["soft"] = h5py.SoftLink("/canary")


def contents(parts):
    """Files that run code in some loader, by name."""
    yield from ((name, archive(configured(parts, change))) for name, change in CONFIGS.items())
    yield from ((one.__name__, archive(weighted(parts, one))) for one in (linked, outside, soft))
    yield "pickle", pickle.dumps(Touch())
    yield "whole HDF5 model", parts["model.weights.h5"]
    yield "pickle in an archive", archive({"archive/data.pkl": pickle.dumps(Touch())})
    yield "path that climbs", archive(parts | {"../canary": b""})
    yield "saved model in an archive", archive({"saved_model.pb": b"\x08\x01", "variables/x": b""})


def planted(content, name="m"):
    """A file with a spec that fits it, so that the file itself is looked at."""
    path = Path(f"{name}.keras")
    path.write_bytes(content)
    spec = ModelSpec("chained", "chained", CLASSES, IMAGE).to_json() | {"sha256": storage.sha256(path)}
    storage.write_json(saving.spec_path(path), spec)
    return path


def in_one_line(path):
    with pytest.raises(ModelError) as caught:
        saving.load_untrusted(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_file_unchanged_is_loaded(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(safe_loading, "load_in_child", lambda path: None)
    assert saving.load_untrusted(planted(archive(parts)))[0].name == "chained"


def test_seventy_hostile_files_run_nothing_and_ask_nobody(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(safe_loading, "load_in_child", lambda path: pytest.fail("it was given to Keras"))
    asked = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, lambda *words, **_: asked.append(words))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: asked.append(words))
    (tmp_path / "x").mkdir()
    paths = [planted(content, name) for name, content in contents(parts)]
    spelled = [*paths, *(tmp_path / "x" / ".." / path for path in paths)]
    for path in spelled:
        in_one_line(path)
    for address in (
        "hf://someone/model",
        "https://192.0.2.1/m.keras",
        "m.pkl",
        "m.pt",
        "m.h5",
        "saved_model",
    ):
        in_one_line(address)
    assert len(spelled) >= 60
    assert asked == []
    assert not [one for one in tmp_path.rglob("*") if "canary" in one.name]
    assert not Path("/canary").exists()


def wide(config, dense):
    """What passes every look from outside, and asks Keras for terabytes."""
    for one in config["config"]["layers"]:
        one.pop("build_config", None)
        if one["class_name"] == "InputLayer":
            one["config"]["batch_shape"] = [None, 400_000, 400_000, 3]


def zeros(content):
    content.create_dataset("zeros", data=np.zeros(10**7), compression="gzip")


def bombs(parts):
    yield archive(configured(parts, setting(units=10**9)))
    yield archive(configured(parts, setting(units=10**30)))
    yield archive(configured(parts, layer("Conv2D", filters=10**8, kernel_size=[3, 3])))
    yield archive(configured(parts, layer("Conv2D", filters=8, kernel_size=[10**5, 10**5])))
    yield archive(configured(parts, layer("Embedding", input_dim=10**9, output_dim=10**3)))
    yield archive(configured(parts, wide))
    yield archive(weighted(parts, declared))
    yield archive(
        weighted(parts, lambda h5: h5.create_dataset("zeros", data=np.zeros(10**7), compression="gzip"))
    )
    yield archive(parts | {"config.json": b" " * 10**8 + parts["config.json"]}, zipfile.ZIP_DEFLATED)
    yield archive(parts | {"assets/words.txt": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    yield archive(parts | {"config.json": b"[" * 10**6})
    yield archive(
        {"config.json": parts["config.json"], "model.weights.npz": bytes(10**8)}, zipfile.ZIP_DEFLATED
    )


@pytest.mark.slow
def test_twelve_bombs_do_not_grow_the_process(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ready = list(bombs(parts))
    assert len(ready) == 12
    before = resident()
    for content in ready:
        in_one_line(planted(content))
        assert resident() - before < 200e6


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
