"""What can run code from a file is called in one place, or nowhere."""

import ast
from pathlib import Path

import pytest

import tumorboard

SOURCE = Path(tumorboard.__file__).parent
LOADER = SOURCE / "models" / "saving.py"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "torch"}
CALLS = {
    "load_model",
    "extractall",
    "eval",
    "exec",
    "unsafe_load",
    "enable_unsafe_deserialization",
    "unpack_archive",
}


def unsafe(tree):
    """The unsafe uses in a file, by line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = {alias.name.partition(".")[0] for alias in node.names}
            if MODULES & (named | {(getattr(node, "module", "") or "").partition(".")[0]}):
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            flags = {one.arg: one.value for one in node.keywords}
            told = {key: getattr(value, "value", None) for key, value in flags.items()}
            if name in CALLS or told.get("allow_pickle") is True or told.get("safe_mode", True) is not True:
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unsafe_is_called(path):
    found = list(unsafe(ast.parse(path.read_text("utf-8"))))
    if path == LOADER:
        assert [line for _, line in found] == ["keras.saving.load_model(path, compile=False, safe_mode=True)"]
    else:
        assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from torch import load",
        "import yaml.loader",
        "keras.models.load_model(p)",
        "np.load(p, allow_pickle=True)",
        "archive.extractall(p)",
        "eval(text)",
        "keras.saving.deserialize_keras_object(x, safe_mode=False)",
    ],
)
def test_the_check_finds_what_it_looks_for(line):
    assert list(unsafe(ast.parse(line)))
