"""Files through the board on a Ray cluster, into Parquet parts: a row a file, nothing twice, nothing lost.

A part is named after its place in the list of files and says which versions of them it is of. So a part that
is there is finished, whoever wrote it, until one of its files changes.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorboard import progress, run_folder, storage
from tumorboard.data import object_store
from tumorboard.data.object_store import Source
from tumorboard.distributed import ray_cluster
from tumorboard.errors import DataError, RunFolderError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.batch_predict import digest_of, prediction_row, write_parquet
from tumorboard.workflows.predictor import load_run

PART = 250  # files in a part


@dataclass(frozen=True)
class Part:
    """Some files, and the table that their rows go to.

    Attributes:
        table: A Parquet file.
        files: Those of its rows, in their order.
        versions: A digest of `stores.version` of each, taken before any of them is read.
    """

    table: Path
    files: tuple[Source, ...]
    versions: str


def predict_on_cluster(
    run: Path, sources: Sequence[Path | str], out: Path, *, models: Sequence[str] = (), console: Console
) -> tuple[int, int]:
    """Write `out/part-000000.parquet`, ... by actors that load the models once.

    Args:
        run: A finished run, under the same path on every machine.
        sources: Files, folders, CSVs with a column `path`, the same; as text, addresses in a store.
        out: A new folder, or one of an interrupted call, which goes on where that one stopped.
        models: Of the run; all by default.
        console: Where progress is shown.

    Returns:
        The number of files, and of those that could not be read.

    Raises:
        DataError: Nothing to predict. A bad image is no error here, but a row that says why.
        RunFolderError: `out` was begun with other files or models, or is in use.
    """
    absolute = [source.absolute() if isinstance(source, Path) else source for source in sources]
    total, digest = _described(run, absolute, models)
    if not total:
        raise DataError(f"expected images in {sources[0]}, found no file; check the path")
    with progress.graceful():
        _begin(out, {"plan": {"files": total, "part": PART, "digest": digest}})
        with run_folder.locked(RunFolder(out)):
            missing = (part for part in parts(absolute, out.absolute()) if not _is_made(part))
            _spread(run.absolute(), models, missing, -(-total // PART), console)
    return total, _failed(out)


def parts(sources: Sequence[Path | str], out: Path) -> Iterator[Part]:
    """All files in their order, cut into parts."""
    files = object_store.sources(sources)
    for number in itertools.count():
        some = tuple(itertools.islice(files, PART))
        if not some:
            return
        versions = hashlib.sha256("\0".join(map(object_store.version, some)).encode()).hexdigest()
        yield Part(out / f"part-{number:06d}.parquet", some, versions)


def _is_made(part: Part) -> bool:
    """Whether its table is of its files as they are now."""
    import pyarrow
    from pyarrow import parquet

    if not part.table.is_file():
        return False
    try:
        told = parquet.read_schema(part.table).metadata or {}
    except pyarrow.ArrowInvalid:  # damaged
        return False
    return bool(told.get(b"versions", b"").decode("utf-8", "replace") == part.versions)


def _described(run: Path, sources: Sequence[Path | str], models: Sequence[str]) -> tuple[int, str]:
    """The number of files, and a digest of their names and of the models; memory does not grow."""
    digest, total = digest_of(RunFolder(run), json.dumps(sorted(models))), 0
    for source in object_store.sources(sources):
        digest.update(os.fsencode(str(source)) + b"\0")
        total += 1
    return total, digest.hexdigest()


def _begin(out: Path, plan: dict[str, Any]) -> None:
    """Write down what the folder is of; refuse one that is of something else."""
    state = RunFolder(out).fingerprint
    if state.is_file() and json.loads(state.read_text("utf-8")) != plan:
        raise RunFolderError(
            f"{storage.shown(out)} was begun with other files or models; choose another --out, "
            "or repeat the command as it was"
        )
    if not state.is_file() and out.is_dir() and any(out.iterdir()):
        raise RunFolderError(
            f"expected a new folder at {storage.shown(out)}, found files; choose another --out"
        )
    storage.write_json(state, plan)


def _failed(out: Path) -> int:
    """Rows with an error, part by part."""
    from pyarrow import compute, parquet

    tables = (parquet.read_table(file, columns=["error"]) for file in sorted(out.glob("part-*.parquet")))
    return sum(compute.sum(compute.not_equal(one["error"], "")).as_py() for one in tables)


class Predictor:
    """The board in a process of its own."""

    def __init__(self, run: Path, models: Sequence[str]) -> None:
        self._predictor = load_run(run, models)

    def write(self, part: Part) -> None:
        """Write a part, whole or not at all.

        One with a file that could not be read now says no versions: a repeated call makes it again.
        """
        rows = [prediction_row(self._predictor, source) for source in part.files]
        versions = "" if any("again" in row for row in rows) else part.versions
        write_parquet(part.table, self._predictor, rows, {"versions": versions})


def _spread(run: Path, models: Sequence[str], missing: Iterator[Part], number: int, console: Console) -> None:
    """Give every idle actor the next part; no more parts are in memory than there are actors."""
    import ray

    threads = max(1, _threads(run))
    actor = ray.remote(Predictor).options(
        num_cpus=threads,
        max_restarts=ray_cluster.RETRIES,
        max_task_retries=ray_cluster.RETRIES,
        runtime_env=ray_cluster.runtime_environment(),
    )
    first = list(itertools.islice(missing, ray_cluster.task_slots(threads)))
    waiting = {(one := actor.remote(run, tuple(models))).write.remote(part): one for part in first}
    try:
        with ray_cluster.original_errors(), console.task("predicting parts") as update:
            _collect(waiting, missing, lambda done: update(done, number))
    finally:
        for one in waiting.values():
            ray.kill(one)


def _collect(waiting: dict[Any, Any], missing: Iterator[Part], progress: Callable[[int], None]) -> None:
    import ray

    done = 0
    while waiting:
        for ref in ray_cluster.wait_for_some(waiting):
            ray.get(ref)
            idle, done = waiting.pop(ref), done + 1
            progress(done)
            if part := next(missing, None):
                waiting[idle.write.remote(part)] = idle


def _threads(run: Path) -> int:
    file = RunFolder(run).environment
    found = json.loads(file.read_text("utf-8")).get("threads", 1) if file.is_file() else 1
    return int(found)
