"""Images a second of the whole audit, beside cleanvision and imagehash on the same files in the same run.

    pip install cleanvision imagehash        (in an environment of their own, with this package)
    python benchmarks/audit.py DATA

Each tool runs in a process of its own, three times in turn, the best counts; a tool that is not installed
is left out. cleanvision looks for its default issues, near duplicates among them; imagehash computes a
perceptual hash of each file and nothing else. The audit's time holds all of it, from listing the folder
to the last check.
"""

import importlib.util
import resource
import subprocess
import sys
import time
from pathlib import Path

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
    found = {"audit": _audit, "cleanvision": _cleanvision, "imagehash": _imagehash}[tool](data, files)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{tool:12}{len(files) / seconds:8.1f} images/s {seconds:7.1f} s  peak {peak:6.0f} MB  {found}",
        flush=True,
    )


def _audit(data: Path, files: list[Path]) -> str:
    from tumorboard.pipeline.audit import audit_data
    from tumorboard.reporting.audit import summary_line

    return summary_line(audit_data(data).report)


def _cleanvision(data: Path, files: list[Path]) -> str:
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(path) for path in files], verbose=False)
    lab.find_issues(n_jobs=2, verbose=False)
    counts = lab.issue_summary.set_index("issue_type")["num_images"]
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _imagehash(data: Path, files: list[Path]) -> str:
    import imagehash
    from PIL import Image

    hashes = []
    for path in files:
        with Image.open(path) as image:
            hashes.append(str(imagehash.phash(image)))
    return f"{len(hashes) - len(set(hashes))} files share a hash with an earlier one"


if __name__ == "__main__":
    main()
