"""Compare the images per second of the audit with those of cleanvision and imagehash.

    pip install cleanvision imagehash        (in an environment of their own, with this package)
    python benchmarks/audit.py DATA

Each tool runs three times in a process of its own, in turn, and the fastest run counts; a tool that
is not installed is left out. Imports are reported separately. cleanvision searches for its default
issues, including near duplicates; imagehash only computes a perceptual hash of each file. The audit
includes everything from listing the folder to the last check.
"""

import contextlib
import importlib.util
import io
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Look = Callable[[Path, list[Path]], str]

TOOLS = ("audit", "cleanvision", "imagehash")


def main() -> None:
    if sys.argv[1] in TOOLS:
        measure(sys.argv[1], Path(sys.argv[2]))
        return
    present = [tool for tool in TOOLS if tool == "audit" or importlib.util.find_spec(tool)]
    print(f"left out, not installed: {', '.join(set(TOOLS) - set(present)) or 'none'}")
    for _ in range(3):
        for tool in present:
            subprocess.run([sys.executable, __file__, tool, sys.argv[1]], check=True)


def measure(tool: str, data: Path) -> None:
    files = [path for path in data.rglob("*") if path.is_file()]
    begun = time.perf_counter()
    look = {"audit": _audit, "cleanvision": _cleanvision, "imagehash": _imagehash}[tool]()
    imported = time.perf_counter()
    found = look(data, files)
    seconds = time.perf_counter() - imported
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{tool:12}{len(files) / seconds:7.1f} images/s {seconds:6.1f} s, after {imported - begun:.1f} s of "
        f"imports, peak {peak:.0f} MB: {found}",
        flush=True,
    )


def _audit() -> Look:
    from tumorboard.reports.audit import summary_line
    from tumorboard.workflows.audit import audit_data

    return lambda data, files: summary_line(audit_data(data).report)


def _cleanvision() -> Look:
    from cleanvision import Imagelab

    def look(data: Path, files: list[Path]) -> str:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            lab = Imagelab(filepaths=[str(path) for path in files], verbose=False)
            lab.find_issues(n_jobs=2, verbose=False)
        counts = lab.issue_summary.set_index("issue_type")["num_images"]
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    return look


def _imagehash() -> Look:
    import imagehash
    import scipy.fftpack  # noqa: F401  # imagehash imports it at its first hash
    from PIL import Image

    def look(data: Path, files: list[Path]) -> str:
        hashes = []
        for path in files:
            with Image.open(path) as image:
                hashes.append(str(imagehash.phash(image)))
        return f"{len(hashes) - len(set(hashes))} files share a hash with an earlier one"

    return look


if __name__ == "__main__":
    main()
