"""Make a release: set its version, date the changelog, build dist/ with a bill of materials, commit and tag.

make release VERSION=1.2.3

Nothing is published.
"""

import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_FILE = Path("src/tumorboard/__init__.py")  # the only place of the version; pyproject.toml reads it
CHANGELOG = Path("CHANGELOG.md")
WEIGHTS = Path("src/tumorboard/models/weights/efficientnet_lite0.json")
_VERSION = re.compile(r'^__version__ = ".*"$', re.MULTILINE)


def main(version: str) -> None:
    prepare(ROOT, version, datetime.datetime.now(datetime.UTC).date().isoformat())
    try:
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        _run(sys.executable, "-m", "build")
        with tempfile.TemporaryDirectory() as folder:
            add_to_wheel(bill_of_materials(version), *(ROOT / "dist").glob("*.whl"), Path(folder))
    except BaseException:
        _run("git", "restore", ".")
        raise
    _run("git", "commit", "--quiet", "--all", "--message", f"Release {version}")
    _run("git", "tag", "--annotate", f"v{version}", "--message", f"Tumorboard {version}")
    print(f"Built in dist/, committed and tagged as v{version}. To publish:")
    print("  git push --follow-tags\n  python -m pip install twine && python -m twine upload dist/*")


def prepare(root: Path, version: str, date: str) -> None:
    """Set the version and date its section of the changelog; ends with a message if it cannot be released."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        sys.exit(f"expected a version such as 1.2.3, found {version!r}; type make release VERSION=1.2.3")
    if changes := _run("git", "status", "--porcelain", root=root):
        sys.exit(f"expected nothing that is not committed, found\n{changes}commit or remove it")
    if _run("git", "tag", "--list", f"v{version}", root=root):
        sys.exit(f"expected a new version, found the tag v{version}; choose the next one")
    changelog = (root / CHANGELOG).read_text("utf-8")
    heading = f"## {version} (unreleased)\n"
    if not changelog.partition(heading)[2].partition("\n## ")[0].strip():
        sys.exit(f"expected changes under {heading.strip()!r} in {CHANGELOG}, found none; write them")
    (root / CHANGELOG).write_text(changelog.replace(heading, f"## {version} ({date})\n"), "utf-8")
    package = (root / VERSION_FILE).read_text("utf-8")
    (root / VERSION_FILE).write_text(_VERSION.sub(f'__version__ = "{version}"', package), "utf-8")


def bill_of_materials(version: str) -> str:
    """Return CycloneDX JSON: the pinned dependencies, and the weights that the wheel contains."""
    options = ("--pyproject", "pyproject.toml", "--mc-type", "library", "--output-reproducible")
    command = ("-W", "ignore", "-m", "cyclonedx_py", "requirements", "requirements.txt", *options)
    bill = json.loads(_run(sys.executable, *command))
    bill["metadata"]["component"]["version"] = version
    weights = json.loads((ROOT / WEIGHTS).read_text("utf-8"))
    bill["components"].append(
        {
            "type": "machine-learning-model",
            "name": "efficientnet-lite0",
            "description": f"{weights['source']}; {weights['change']}",
            "hashes": [{"alg": "SHA-256", "content": weights["sha256"]}],
            "licenses": [{"license": {"id": weights["licence"]}}],
        }
    )
    return json.dumps(bill, indent=2)


def add_to_wheel(bill: str, wheel: Path, folder: Path) -> None:
    """Put the bill of materials where PEP 770 has it, and write the wheel's list of files again."""
    _run(sys.executable, "-m", "wheel", "unpack", str(wheel), "--dest", str(folder))
    [unpacked] = folder.iterdir()
    [information] = unpacked.glob("*.dist-info")
    (information / "sboms").mkdir()
    (information / "sboms" / "tumorboard.cdx.json").write_text(bill, "utf-8")
    _run(sys.executable, "-m", "wheel", "pack", str(unpacked), "--dest-dir", str(wheel.parent))


def _run(*command: str, root: Path = ROOT) -> str:
    return subprocess.run(command, cwd=root, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
