"""Run the benchmarks and write their output into benchmarks/RESULTS.md, between markers.

    python benchmarks/page.py DATA [--run RUN] [--only training growth] [--page benchmarks/RESULTS.md]

Each benchmark runs in a process of its own; its output is also printed. Without --run, engines.py
and cold.py are left out, because they need a finished run. Sections of other benchmarks stay as they are.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
TITLES = {
    "training": "The study's training loop against ours",
    "cached_trunk": "To a validation accuracy: the whole backbone against the cached trunk",
    "engines": "Prediction: ours, plain `model.predict`, OpenVINO and ONNX Runtime, decoding apart",
    "cold": "`predict` of one file from cold, with the joint graph and with Keras",
    "arithmetic": "Arithmetic of each phase against a matrix product",
    "growth": "Time and memory by the number of images",
}


def main() -> None:
    """Run the benchmarks, print and write their output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, help="a finished run, for engines.py and cold.py")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--page", type=Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    inputs = {"growth": [], "engines": [options.run], "cold": [options.run, _first_image(options.data)]}
    for name in options.only:
        given = inputs.get(name, [options.data])
        if None in given:
            print(f"{name}: left out, for there is no --run")
            continue
        text = _output([str(HERE / f"{name}.py"), *map(str, given)])
        shown = f"python benchmarks/{name}.py {' '.join(one.name for one in given)}".strip()
        body = f"### {TITLES[name]}\n\n    {shown}\n\n{_machine()}\n\n```\n{text.strip()}\n```"
        options.page.write_text(placed(options.page.read_text("utf-8"), name, body), "utf-8")


def _first_image(data: Path) -> Path | None:
    return next((file for file in sorted(data.rglob("*")) if file.suffix in (".png", ".jpg", ".dcm")), None)


def placed(page: str, name: str, body: str) -> str:
    """Return the page with this body between the markers of that name; at its end if it has none yet."""
    begin, end = f"<!-- benchmark {name} -->", f"<!-- /benchmark {name} -->"
    section = f"{begin}\n{body}\n{end}"
    if begin not in page:
        return f"{page.rstrip()}\n\n{section}\n"
    return re.sub(f"{begin}.*?{end}", lambda _: section, page, flags=re.DOTALL)


def _output(command: list[str]) -> str:
    lines = []
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return "".join(lines)


def _machine() -> str:
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    keras = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow-cpu") if _installed(name))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, {platform.machine()}, {keras}; "
        f"load average afterwards {load}."
    )


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    main()
