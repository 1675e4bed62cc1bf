"""`make release`: what it refuses, what it changes, and the wheel with its bill of materials."""

import csv
import io
import json
import runpy
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import tumorboard

ROOT = Path(__file__).parents[1]
RELEASE = runpy.run_path(str(ROOT / "tools" / "release.py"))
PACKAGE = 'NAME = "x"\n\n__version__ = "0.1.0"\n'
CHANGES = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- More.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n"


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for file, content in ((RELEASE["VERSION_FILE"], PACKAGE), (RELEASE["CHANGELOG"], CHANGES)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    return tmp_path


def test_a_release_sets_the_version_and_dates_its_changes(repository: Path) -> None:
    RELEASE["prepare"](repository, "0.2.0", "2026-02-03")
    assert (repository / RELEASE["VERSION_FILE"]).read_text() == PACKAGE.replace("0.1.0", "0.2.0")
    assert (repository / RELEASE["CHANGELOG"]).read_text() == CHANGES.replace("unreleased", "2026-02-03")


@pytest.mark.parametrize(
    ("version", "state", "message"),
    [
        ("", "", "a version such as 1.2.3"),
        ("0.2", "", "a version such as 1.2.3"),
        ("0.3.0", "", r"changes under '## 0.3.0 \(unreleased\)'"),
        ("0.1.0", "", r"changes under '## 0.1.0 \(unreleased\)'"),
        ("0.2.0", "empty", r"changes under '## 0.2.0 \(unreleased\)'"),
        ("0.2.0", "tagged", "the tag v0.2.0"),
        ("0.2.0", "changed", "README.md"),
    ],
)
def test_what_cannot_be_released_is_refused(repository: Path, version: str, state: str, message: str) -> None:
    if state == "tagged":
        git(repository, "tag", "v0.2.0")
    if state == "changed":
        (repository / "README.md").touch()
    if state == "empty":
        (repository / RELEASE["CHANGELOG"]).write_text(CHANGES.replace("- More.\n", ""))
        git(repository, "commit", "--quiet", "--all", "--message", "x")
    with pytest.raises(SystemExit, match=message):
        RELEASE["prepare"](repository, version, "2026-02-03")
    assert (repository / RELEASE["VERSION_FILE"]).read_text() == PACKAGE


def test_the_version_of_this_package_can_be_set() -> None:
    assert RELEASE["_VERSION"].findall((ROOT / RELEASE["VERSION_FILE"]).read_text()) == [
        f'__version__ = "{tumorboard.__version__}"'
    ]


def test_the_wheel_has_the_version_the_weights_the_licences_and_the_bill_of_materials(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    (tmp_path / "unpacked").mkdir()
    RELEASE["add_to_wheel"](json.dumps({"bomFormat": "CycloneDX"}), wheel, tmp_path / "unpacked")
    with zipfile.ZipFile(wheel) as archive:
        information = f"tumorboard-{tumorboard.__version__}.dist-info"
        names = [row[0] for row in csv.reader(io.StringIO(archive.read(f"{information}/RECORD").decode()))]
        assert sorted(names) == sorted(archive.namelist())
        metadata = message_from_string(archive.read(f"{information}/METADATA").decode())
        bill = json.loads(archive.read(f"{information}/sboms/tumorboard.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    assert metadata["Version"] == tumorboard.__version__
    assert {f"{information}/licenses/LICENSE", f"{information}/licenses/NOTICE"} <= set(names)
    assert "tumorboard/models/weights/efficientnet_lite0.weights.h5" in names
