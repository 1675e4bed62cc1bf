"""Predict files on a Ray cluster into Parquet parts: one row per file, nothing twice, nothing lost.

A part is named after its place in the list of files and records which versions of them it is of. So a part
that exists is finished, whoever wrote it, until one of its files changes.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorboard import progress, run_folder, storage
from tumorboard.config import Frames
from tumorboard.data import object_store
from tumorboard.data.left_out import LeftOut, nothing_to_read
from tumorboard.data.object_store import Source
from tumorboard.distributed import ray_cluster
from tumorboard.errors import RunFolderError, display
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder, read_json
from tumorboard.workflows.prediction_table import digest_of, prediction_row, write_parquet
from tumorboard.workflows.predictor import ONNX, load_run

FILES_PER_PART = 250


@dataclass(frozen=True)
class Part:
    """Some files, and the table of their rows.

    Attributes:
        number: How many parts precede it.
        table: A Parquet file.
        files: One per row, in their order.
        versions: A digest of `object_store.version` of each, taken before any of them is read.
    """

    number: int
    table: Path
    files: tuple[Source, ...]
    versions: str


def predict_on_cluster(
    run: Path,
    sources: Sequence[Path | str],
    out: Path,
    *,
    models: Sequence[str] = (),
    engine: str = ONNX,
    frames: Frames = "refuse",
    console: Console,
    left_out: list[LeftOut] | None = None,
) -> tuple[int, int]:
    """Write `out/part-000000.parquet`, ... by actors of the joined cluster that load the models once.

    Args:
        run: A finished run, under the same path on every machine.
        sources: As for `predict_files`, under the same paths on every machine.
        out: A new folder, or that of an interrupted call, which goes on where that one stopped.
        models: Of the run; all by default.
        engine: onnx or keras, as for `load_run`.
        frames: The slices of volumes that are predicted.
        console: Where progress is shown.
        left_out: Gets what in the folders is no input.

    Returns:
        The number of files, and of those that could not be read.

    Raises:
        DataError: Nothing to predict. A bad image is no error here, but a row that says why.
        RunFolderError: `out` was begun with other files or models, or is in use.
    """
    absolute = [source.absolute() if isinstance(source, Path) else source for source in sources]
    digest, total = digest_of(RunFolder(run), json.dumps([engine, frames, *sorted(models)])), 0
    left_out = [] if left_out is None else left_out
    for source in object_store.sources(absolute, left_out, frames):  # not in memory: there may be millions
        digest.update(os.fsencode(str(source)) + b"\0")
        total += 1
    if not total:
        raise nothing_to_read(sources, left_out)
    with progress.graceful():
        plan = {"plan": {"files": total, "part": FILES_PER_PART, "digest": digest.hexdigest()}}
        record = RunFolder(out).fingerprint
        if record.is_file() and read_json(record) != plan:
            raise RunFolderError(
                f"{display(out)} was begun with other files or models; choose another --out, "
                "or repeat the command as it was"
            )
        if not record.is_file() and out.is_dir() and any(out.iterdir()):
            raise RunFolderError(
                f"expected a new folder at {display(out)}, found files; choose another --out"
            )
        storage.write_json(record, plan)
        with run_folder.locked(RunFolder(out)):
            missing = (part for part in parts(absolute, out.absolute(), frames) if not _is_finished(part))
            _predict_parts(run.absolute(), models, engine, missing, -(-total // FILES_PER_PART), console)
    return total, _count_errors(out)


def parts(sources: Sequence[Path | str], out: Path, frames: Frames = "refuse") -> Iterator[Part]:
    """Cut all files and slices, in their order, into parts."""
    files = object_store.sources(sources, frames=frames)
    for number in itertools.count():
        chosen = tuple(itertools.islice(files, FILES_PER_PART))
        if not chosen:
            return
        versions = hashlib.sha256("\0".join(map(object_store.version, chosen)).encode()).hexdigest()
        yield Part(number, out / f"part-{number:06d}.parquet", chosen, versions)


def _is_finished(part: Part) -> bool:
    """Whether its table is of its files as they are now."""
    import pyarrow
    from pyarrow import parquet

    if not part.table.is_file():
        return False
    try:
        metadata = parquet.read_schema(part.table).metadata or {}
    except pyarrow.ArrowInvalid:  # damaged
        return False
    return bool(metadata.get(b"versions", b"").decode("utf-8", "replace") == part.versions)


def _count_errors(out: Path) -> int:
    from pyarrow import compute, parquet

    tables = (parquet.read_table(file, columns=["error"]) for file in sorted(out.glob("part-*.parquet")))
    return sum(compute.sum(compute.not_equal(table["error"], "")).as_py() for table in tables)


class PartWriter:
    """The models of a run in a process of their own."""

    def __init__(self, run: Path, models: Sequence[str], engine: str) -> None:
        self._predictor = load_run(run, models, engine=engine)

    def write(self, part: Part) -> None:
        """Write a part, whole or not at all.

        If a file could not be read now, the part records no versions, and a repeated call writes it again.
        """
        rows = [prediction_row(self._predictor, source) for source in part.files]
        versions = "" if any("again" in row for row in rows) else part.versions
        write_parquet(part.table, self._predictor, rows, {"versions": versions})


def _predict_parts(
    run: Path, models: Sequence[str], engine: str, missing: Iterator[Part], total: int, console: Console
) -> None:
    """Give every idle actor the next part; no more parts are in memory than there are actors."""
    import ray

    environment = RunFolder(run).environment
    threads = int(read_json(environment).get("threads", 1)) if environment.is_file() else 1
    writer = ray.remote(PartWriter).options(
        num_cpus=max(1, threads),
        max_restarts=ray_cluster.RETRIES,
        max_task_retries=ray_cluster.RETRIES,
        runtime_env=ray_cluster.runtime_environment(),
    )
    waiting: dict[Any, Any] = {}
    for part in itertools.islice(missing, ray_cluster.task_slots(max(1, threads))):
        actor = writer.remote(run, tuple(models), engine)
        waiting[actor.write.remote(part)] = actor
    try:
        with ray_cluster.original_errors(), console.task("predicting parts") as update:
            while waiting:
                for task in ray_cluster.wait_for_some(waiting):
                    ray.get(task)
                    idle = waiting.pop(task)
                    if following := next(missing, None):
                        waiting[idle.write.remote(following)] = idle
                    looked_at = following.number + 1 if following else total
                    update(looked_at - len(waiting), total)  # those of an earlier command are done too
    finally:
        for actor in waiting.values():
            ray.kill(actor)
