"""Parts made on a Ray of this machine hold the rows of one process, once each, after an interruption too."""

import contextlib
import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from tests import small_store
from tests.small_predictors import NAMES, finished, pixels
from tumorboard import NOTICE
from tumorboard.cli.main import main
from tumorboard.data import object_store
from tumorboard.data.left_out import is_output
from tumorboard.errors import DataError, RunFolderError
from tumorboard.progress import Console
from tumorboard.workflows import cluster_predict as predict
from tumorboard.workflows.prediction_table import prediction_row
from tumorboard.workflows.predictor import load_run

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="the extra cluster is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("predicting") / "run")


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, picture in enumerate(pixels(4, seed=2, size=40)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.fixture
def by_hand(monkeypatch):
    """Parts of two files, written in this process; the log says which."""
    log = []

    def write(run, models, engine, missing, number, console):
        one = predict.PartWriter(run, models, engine)
        for part in missing:
            one.write(part)
            log.append(part.table.name)

    monkeypatch.setattr(predict, "_predict_parts", write)
    monkeypatch.setattr(predict, "FILES_PER_PART", 2)
    return log


def table(out):
    return [row for file in sorted(out.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def same(run, scans, found):
    predictor = load_run(run.root)
    for path, row in zip(sorted(scans.iterdir()), found, strict=True):
        expected = prediction_row(predictor, path)
        assert row["path"] == str(path)
        assert row["error"] == expected["error"]
        for name in NAMES if not row["error"] else ():
            said = [row[f"{name}:{one}"] for one in predictor.class_names]
            assert said == expected["probabilities"][name]


@pytest.fixture
def stored(scans):
    """The scans as objects, and the address that they lie under."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto", reason="the store of the tests is not installed")
    with small_store.serving():
        for file in scans.iterdir():
            small_store.put(f"archive/{file.name}", file.read_bytes())
        yield "s3://scans/archive"


def test_on_ray_files_and_objects_get_the_rows_of_one_process_and_nobody_else_hears_of_it(
    run, scans, stored, tmp_path, monkeypatch, capfd
):
    heard, count = set(), predict._count_errors
    monkeypatch.setattr(predict, "_count_errors", lambda out: heard.update(listening()) or count(out))
    out = tmp_path / "out"
    assert main(["predict", str(run.root), str(scans), stored, "--out", str(out), "--ray", "local"]) == 3
    said = capfd.readouterr()
    assert "8 of 10 files predicted" in said.out
    assert NOTICE in said.out
    rows = table(out)
    same(run, scans, rows[:5])
    assert [row["path"] for row in rows[5:]] == [f"{stored}/{Path(row['path']).name}" for row in rows[:5]]
    assert [_but_path(row) for row in rows[5:]] == [_but_path(row) for row in rows[:5]]
    assert stored in rows[-1]["error"]
    assert heard or sys.platform != "linux"
    assert heard <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    sessions = Path(tempfile.gettempdir(), "ray").glob(f"session_*_{os.getpid()}")
    logs = [file for one in sessions for file in (one / "logs").rglob("*")]
    texts = [file.read_text(errors="replace") for file in [*logs, *out.rglob("*")] if file.is_file()]
    assert logs
    assert not [text for text in (*said, *texts) for secret in small_store.SECRETS if secret in text]


def listening():
    """The addresses, as Linux writes them, that this process and those below it listen on."""
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()]
    sockets = {f"socket:[{line[9]}]": line[1].partition(":")[0] for line in lines if line[3] == "0A"}
    files = [file for pid in below(os.getpid()) for file in Path(f"/proc/{pid}/fd").glob("*")]
    return {sockets[link] for file in files if (link := link_of(file)) in sockets}


def link_of(file):
    with contextlib.suppress(OSError):  # closed since
        return os.readlink(file)


def below(pid):
    children = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(one for child in children.split() for one in below(int(child)))]


def _but_path(row):
    return {name: value for name, value in row.items() if name not in ("path", "error")}


def test_a_repeated_call_makes_only_what_is_missing(run, scans, tmp_path, by_hand):
    out = tmp_path / "out"
    assert predict.predict_on_cluster(run.root, [scans], out, console=QUIET) == (5, 1)
    (out / "part-000001.parquet").unlink()
    assert predict.predict_on_cluster(run.root, [scans], out, console=QUIET) == (5, 1)
    names = [f"part-00000{number}.parquet" for number in (0, 1, 2, 1)]
    assert by_hand == names
    same(run, scans, table(out))
    assert parquet.read_table(out / names[0]).schema.metadata[b"notice"].decode() == NOTICE


def test_a_part_is_made_again_when_a_file_of_it_changed(run, scans, tmp_path, by_hand):
    out = tmp_path / "out"
    predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    by_hand.clear()
    predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    assert by_hand == []
    (scans / "1.png").write_bytes((scans / "2.png").read_bytes())
    predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    assert by_hand == ["part-000000.parquet"]
    same(run, scans, table(out))
    (out / "part-000002.parquet").write_bytes(b"torn")
    predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    assert by_hand == ["part-000000.parquet", "part-000002.parquet"]
    same(run, scans, table(out))


def test_a_part_is_made_again_when_an_object_of_it_changed(run, scans, stored, tmp_path, by_hand):
    out = tmp_path / "out"
    predict.predict_on_cluster(run.root, [stored], out, console=QUIET)
    by_hand.clear()
    small_store.put("archive/3.png", (scans / "2.png").read_bytes())
    predict.predict_on_cluster(run.root, [stored], out, console=QUIET)
    assert by_hand == ["part-000001.parquet"]
    rows = {row["path"]: row["sha256"] for row in table(out)}
    assert len(rows) == 5
    assert rows[f"{stored}/3.png"] == rows[f"{stored}/2.png"]


def test_what_cannot_be_read_now_is_asked_for_again(run, scans, tmp_path, by_hand, monkeypatch):
    out = tmp_path / "out"

    def down(source):
        raise OSError(errno.EIO, "EndpointConnectionError")

    with monkeypatch.context() as store:
        store.setattr(object_store, "opened", down)
        assert predict.predict_on_cluster(run.root, [scans], out, console=QUIET) == (5, 5)
    assert "EndpointConnectionError" in table(out)[0]["error"]
    assert predict.predict_on_cluster(run.root, [scans], out, console=QUIET) == (5, 1)
    same(run, scans, table(out))


def test_another_job_is_not_mixed_in(run, scans, tmp_path, by_hand):
    out = tmp_path / "out"
    predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    (scans / "bad.png").unlink()
    with pytest.raises(RunFolderError, match="other files"):
        predict.predict_on_cluster(run.root, [scans], out, console=QUIET)
    with pytest.raises(RunFolderError, match="new folder"):
        predict.predict_on_cluster(run.root, [scans], scans, console=QUIET)


def test_its_own_parts_are_not_taken_for_images(run, scans, by_hand):
    predict.predict_on_cluster(run.root, [scans], scans / "parts", console=QUIET)
    left_out = []
    again = predict.predict_on_cluster(run.root, [scans], scans / "parts", console=QUIET, left_out=left_out)
    assert again == (5, 1)
    assert [entry.names for entry in left_out] == [("parts",)]
    assert is_output(next((scans / "parts").glob("*.parquet")))


def test_no_file_is_an_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file"):
        predict.predict_on_cluster(run.root, [tmp_path / "empty"], tmp_path / "out", console=QUIET)


def test_the_out_of_one_machine_is_refused(capsys, run, scans):
    assert main(["predict", str(run.root), str(scans), "--out", "x.csv", "--ray", "local"]) == 2
    assert "folder" in capsys.readouterr().err
