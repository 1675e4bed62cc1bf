import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import tumorboard
from tumorboard.cli import main

ROOT = Path(__file__).parents[1]
WITHOUT_KNOWN_HOLES = {
    "keras": "3.15.1",  # CVE-2026-1462, CVE-2026-1669 and those before
    "pillow": "12.3",
    "pydicom": "3.0.2",
    "onnx": "1.21",
    "torch": "2.6",  # CVE-2025-32434
    "starlette": "1.3.1",  # CVE-2026-54283
    "python-multipart": "0.0.27",
}
"""Of packages that read what strangers send, the first version without the holes that were known in 2026."""


@pytest.mark.parametrize("name", tumorboard.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(tumorboard, name) is not None
    assert name in dir(tumorboard)


def test_every_command_is_a_function_and_the_building_blocks_are_there() -> None:
    (commands,) = (action.choices for action in main._parser()._actions if action.choices)
    verbs = set(commands) - {"serve", "ui", "completion"}  # these are for people at a terminal
    blocks = {"load_model", "load_recipe", "load_run", "read_input", "probabilities", "score"}
    promised = (
        verbs | blocks | {"cross_validate", "evaluate_predictions", "Predictions", "aligned", "DataSource"}
    )
    assert promised <= set(tumorboard.__all__)
    assert list(tumorboard.__all__) == list(dict.fromkeys(tumorboard.__all__))


@pytest.mark.parametrize("name", [name for name in tumorboard.__all__ if name.islower()])
def test_a_path_may_be_given_as_text(name: str) -> None:
    function = getattr(tumorboard, name)
    parameters = inspect.signature(function).parameters.values() if callable(function) else ()
    types = [set(re.findall(r"\w+", str(parameter.annotation))) for parameter in parameters]
    assert all("str" in names for names in types if "Path" in names), types


@pytest.mark.parametrize("name", ["audit", "explain", "export"])
def test_a_verb_is_not_hidden_by_the_package_of_its_name(name: str) -> None:
    package = importlib.import_module(f"tumorboard.{name}")
    assert inspect.ismodule(package)
    assert inspect.isfunction(getattr(tumorboard, name))


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'learn'"):
        _ = tumorboard.learn


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, tumorboard; sys.exit(bool({'keras', 'numpy', 'tensorflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(tumorboard.__path__, "tumorboard."):
        importlib.import_module(module.name)


def test_recipes_types_and_weights_are_shipped() -> None:
    package = resources.files("tumorboard")
    for name in ("py.typed", "recipes/default.toml", "recipes/notebook.toml", "models/weights/README.md"):
        assert (package / name).is_file(), name


def test_the_weights_are_the_ones_on_record() -> None:
    folder = resources.files("tumorboard") / "models" / "weights"
    weights = (folder / "efficientnet_lite0.weights.h5").read_bytes()
    record = json.loads((folder / "efficientnet_lite0.json").read_text())
    assert hashlib.sha256(weights).hexdigest() in json.dumps(record)


def test_notice_and_command_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"tumorboard": "tumorboard.__main__:main"}
    assert "not a medical device" in tumorboard.NOTICE
    assert "not a medical device" in project["description"]


def requirements(*lines: str) -> list[Requirement]:
    """Without comments and options of pip."""
    return [Requirement(line.split("#")[0]) for line in lines if line and line[0] not in "#-"]


def test_every_pin_is_newer_than_the_known_holes() -> None:
    pins = [
        pin for file in ROOT.glob("requirements*.txt") for pin in requirements(*file.read_text().split("\n"))
    ]
    assert {"keras", "pillow", "pydicom", "onnx", "starlette"} <= {pin.name for pin in pins}
    for pin in pins:
        (exact,) = pin.specifier
        assert exact.operator == "==", pin
        assert Version(exact.version) >= Version(WITHOUT_KNOWN_HOLES.get(pin.name.lower(), "0")), pin


def test_no_package_is_accepted_with_a_known_hole() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [package for extra in project["optional-dependencies"].values() for package in extra]
    accepted = requirements(*project["dependencies"], *extras)
    assert {"keras", "pillow", "pydicom", "onnx", "starlette"} <= {package.name for package in accepted}
    for package in accepted:
        least = max(Version(bound.version) for bound in package.specifier)
        assert least >= Version(WITHOUT_KNOWN_HOLES.get(package.name, "0")), package
