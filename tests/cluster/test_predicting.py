"""Parts made on a Ray of this machine hold the rows of one process, once each, after an interruption too."""

import contextlib
import io

import pytest
from PIL import Image

from tests.small_boards import NAMES, finished, pixels
from tumorboard import NOTICE
from tumorboard.cli.main import main
from tumorboard.cluster import predicting
from tumorboard.console import Console
from tumorboard.errors import DataError, RunFolderError
from tumorboard.pipeline.predict import open_board
from tumorboard.pipeline.predict_files import opinion_row

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

    def write(run, models, missing, number, console):
        one = predicting.Predictor(run, models)
        for part in missing:
            one.write(part)
            log.append(part.table.name)

    monkeypatch.setattr(predicting, "_spread", write)
    monkeypatch.setattr(predicting, "PART", 2)
    return log


def table(out):
    return [row for file in sorted(out.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def same(run, scans, found):
    board = open_board(run.root)
    for path, row in zip(sorted(scans.iterdir()), found, strict=True):
        expected = opinion_row(board, path)
        assert row["path"] == str(path)
        assert row["error"] == expected["error"]
        for name in NAMES if not row["error"] else ():
            said = [row[f"{name}:{one}"] for one in board.class_names]
            assert said == expected["probabilities"][name]


def test_on_ray_the_rows_are_those_of_one_process(run, scans, tmp_path):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        command = ["predict", str(run.root), str(scans), "--out", str(tmp_path / "out"), "--quiet"]
        assert main([*command, "--ray", "local"]) == 3
    assert "4 of 5 files predicted" in said.getvalue()
    assert NOTICE in said.getvalue()
    same(run, scans, table(tmp_path / "out"))


def test_a_repeated_call_makes_only_what_is_missing(run, scans, tmp_path, by_hand):
    out = tmp_path / "out"
    assert predicting.predict_scattered(run.root, [scans], out, console=QUIET) == (5, 1)
    (out / "part-000001.parquet").unlink()
    assert predicting.predict_scattered(run.root, [scans], out, console=QUIET) == (5, 1)
    names = [f"part-00000{number}.parquet" for number in (0, 1, 2, 1)]
    assert by_hand == names
    same(run, scans, table(out))
    assert parquet.read_table(out / names[0]).schema.metadata[b"notice"].decode() == NOTICE


def test_another_job_is_not_mixed_in(run, scans, tmp_path, by_hand):
    out = tmp_path / "out"
    predicting.predict_scattered(run.root, [scans], out, console=QUIET)
    (scans / "bad.png").unlink()
    with pytest.raises(RunFolderError, match="other files"):
        predicting.predict_scattered(run.root, [scans], out, console=QUIET)
    with pytest.raises(RunFolderError, match="new folder"):
        predicting.predict_scattered(run.root, [scans], scans, console=QUIET)


def test_no_file_is_an_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file"):
        predicting.predict_scattered(run.root, [tmp_path / "empty"], tmp_path / "out", console=QUIET)


def test_the_out_of_one_machine_is_refused(capsys, run, scans):
    assert main(["predict", str(run.root), str(scans), "--out", "x.csv", "--ray", "local"]) == 2
    assert "folder" in capsys.readouterr().err
