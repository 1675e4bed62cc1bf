"""Shared by several benchmarks: small runs, commands as processes with their peaks, tables in a page."""

import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import tomli_w

from tumorboard.data.synthetic import draw

CODE = "import sys; from tumorboard.cli.main import main; sys.exit(main(sys.argv[1:]))"
_ON_RAY = """
import os, sys, ray
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from tumorboard.cli.main import main
from tumorboard.distributed.ray_cluster import here
ray.init(**here(), num_cpus={}, log_to_driver=False, logging_level="error")
sys.exit(main([*sys.argv[1:], "--ray", "local"]))
"""


@dataclass
class Done:
    """What a command used.

    Attributes:
        seconds: Wall-clock time.
        memory: Peak of the process itself in MB, without mapped files, which the system can free.
        child: The same of its largest child process.
        read: By all processes, in MB, from files and sockets.
        disk: Peak of its `--out` folder, in MB.
    """

    seconds: float = 0
    memory: float = 0
    child: float = 0
    read: float = 0
    disk: float = 0


def data(folder: Path, images_per_class: int) -> Path:
    """Draw images of four classes."""
    return draw(folder / f"data-{images_per_class}", images_per_class=images_per_class)


def recipe(folder: Path, epochs: float = 1.0) -> Path:
    """Return the demo's recipe with one thread and a share of its epochs."""
    plan = tomllib.loads((resources.files("tumorboard") / "recipes" / "demo.toml").read_text("utf-8"))
    trainings = [model["training"] for model in (*plan["models"].values(), plan["chained"])]
    for training in trainings:
        training["epochs"] = max(1, round(training["epochs"] * epochs))
    file = folder / "recipe.toml"
    file.write_text(tomli_w.dumps({"threads": 1} | plan), "utf-8")
    return file


def small_run(folder: Path) -> Path:
    """Make a finished run with the demo's networks, hardly trained: its predictions cost the same."""
    run = folder / "run"
    if not (run / "results.md").is_file():
        train(data(folder, 16), run, recipe(folder, 0.05))
    return run


def train(images: Path, out: Path, settings: Path, *flags: object, cpus: int = 0) -> Done:
    """Run `train`; one of the synthetic files is damaged."""
    return command("train", images, "--out", out, "--recipe", settings, "--skip-bad", *flags, cpus=cpus)


def command(*words: object, cpus: int = 0, accept: tuple[int, ...] = (0,)) -> Done:
    """Run a `tumorboard` command, with so many Ray processors unless that is 0."""
    begun = time.perf_counter()
    process = begin(*words, cpus=cpus)
    out = Path(str(words[words.index("--out") + 1])) if "--out" in words else None
    watch = Watch(process.pid, out)
    if process.wait() not in accept:
        sys.exit(f"tumorboard {words[0]} ended with exit code {process.returncode}")
    watch.done.seconds = time.perf_counter() - begun
    return watch.stop()


def begin(*words: object, cpus: int = 0) -> "subprocess.Popen[bytes]":
    """Start a command without waiting, in a process group of its own."""
    code = _ON_RAY.format(cpus) if cpus else CODE
    line = [sys.executable, "-c", code, *map(str, words), "--quiet"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)


class Watch:
    """Measure a process and its children twice per second; Linux only."""

    def __init__(self, pid: int, out: Path | None = None) -> None:
        self.done = Done()
        self._pid, self._out, self._over = pid, out, threading.Event()
        self._read: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> Done:
        """Return what was measured."""
        self._over.set()
        self._thread.join()
        return self.done

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            family, done = below(self._pid), self.done
            sizes = {pid: _number(f"/proc/{pid}/status", "RssAnon:") / 1e3 for pid in family}
            done.memory = max(done.memory, sizes.pop(self._pid))
            done.child = max(done.child, *sizes.values(), 0)
            self._read |= {pid: _number(f"/proc/{pid}/io", "rchar:") / 1e6 for pid in family if lives(pid)}
            done.read = sum(self._read.values())
            if self._out and self._out.is_dir():
                done.disk = max(done.disk, size(self._out))


def size(folder: Path) -> float:
    """Return the size of all files below a folder; some may vanish meanwhile."""
    found = 0
    for file in folder.rglob("*"):
        try:
            found += file.stat().st_size
        except OSError:
            continue
    return found / 1e6


def copies(images: Path, folder: Path, count: int) -> Path:
    """Copy the files of the test split repeatedly, under other names."""
    found = sorted((images / "test").rglob("*.png"))
    folder.mkdir()
    for number in range(count):
        shutil.copyfile(found[number % len(found)], folder / f"synthetic_{number:06d}.png")
    return folder


def below(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def lives(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _number(file: str, name: str) -> int:
    """Return the value of a line of /proc; 0 for a process that has ended."""
    try:
        return int(Path(file).read_text().partition(name)[2].split()[0])
    except (OSError, IndexError):
        return 0


def write(page: Path | None, marker: str, text: str) -> None:
    """Print the text, and write it between `<!-- marker -->` and `<!-- /marker -->` of the page."""
    print(text)
    if page:
        before, _, rest = page.read_text("utf-8").partition(f"<!-- {marker} -->\n")
        _, end, after = rest.partition(f"<!-- /{marker} -->")
        if not end:
            sys.exit(f"expected the markers {marker} in {page}")
        page.write_text(f"{before}<!-- {marker} -->\n{text}\n{end}{after}", "utf-8")
