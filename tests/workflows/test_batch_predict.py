"""A table of predictions of many files, also after an interruption and among bad files."""

import csv
import json
import os
from dataclasses import replace
from operator import itemgetter

import pytest
from PIL import Image

from tests import small_store
from tests.data.pictures import close
from tests.small_models import IMAGE
from tests.small_predictors import CLASSES, NAMES, calibrate, finished, pixels
from tumorboard import NOTICE, progress
from tumorboard.cli.main import main
from tumorboard.data.image_reader import read_input
from tumorboard.data.left_out import BY_NAME, LINK, WRITTEN
from tumorboard.errors import DataError, Interrupted, RunFolderError, UsageError
from tumorboard.models.inference import probabilities
from tumorboard.workflows import batch_predict as module
from tumorboard.workflows.batch_predict import predict_files
from tumorboard.workflows.predictor import RunPredictor, load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = finished(tmp_path_factory.mktemp("predicting") / "run")
    calibrate(run, "custom")
    return run


@pytest.fixture(scope="module")
def predictor(run):
    return load_run(run.root)


@pytest.fixture(autouse=True)
def _opened_once(monkeypatch, predictor):
    """Loading takes a second; test_predict.py tests it."""
    monkeypatch.setattr(module, "load_run", lambda run, models, engine: predictor)


@pytest.fixture
def scans(tmp_path):
    for number, picture in enumerate(pixels(4, seed=2, size=40)):
        path = tmp_path / "scans" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    (tmp_path / "scans" / ".hidden").write_text("no")
    return tmp_path / "scans"


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_holds_the_prediction(run, predictor, scans, tmp_path):
    done = predict_files(run.root, [scans], tmp_path / "out.csv")
    assert (done.files, done.failed, done.recommended) == (4, 0, "custom")
    found = rows(done.table)
    order = ["0/0.png", "0/2.png", "1/1.png", "1/3.png"]
    assert [row["path"] for row in found] == [str(scans / name) for name in order]
    for row in found:
        prediction = predictor.predict(predictor.read(row["path"]))
        assert row["prediction"] == CLASSES[prediction.calibrated.argmax()]
        assert float(row["confidence"]) == prediction.calibrated.max()
        expected = [name for name, inside in zip(CLASSES, prediction.prediction_set, strict=True) if inside]
        assert row["prediction_set"] == (" | ".join(expected) or "(none)")
        assert row["refer"] == ("yes" if prediction.refer else "no")
        assert row["out_of_distribution"] == ("yes" if prediction.out_of_distribution else "no")
        assert row["notice"] == NOTICE
        for name in NAMES:
            told = [float(row[f"{name}:{one}"]) for one in CLASSES]
            assert told == prediction.probabilities[name].tolist()


def test_the_library_says_the_same_bit_for_bit(run, predictor, scans, tmp_path):
    for row in rows(predict_files(run.root, [scans], tmp_path / "out.csv").table):
        alone = probabilities(predictor.models["ensemble"], read_input(row["path"], IMAGE)[None])[0]
        assert [float(row[f"ensemble:{one}"]) for one in CLASSES] == alone.tolist()


def test_paths_may_be_text(run, scans, tmp_path):
    of_paths = predict_files(run.root, [scans], tmp_path / "paths.csv").table
    of_text = predict_files(str(run.root), [str(scans)], str(tmp_path / "text.csv")).table
    assert of_text.read_bytes() == of_paths.read_bytes()


def test_bad_files_get_a_row_and_stop_nothing(run, scans, tmp_path):
    before = rows(predict_files(run.root, [scans], tmp_path / "clean.csv").table)
    (scans / "0" / "1.png").write_bytes(b"not an image")
    (scans / "1" / "empty.png").touch()
    os.mkfifo(scans / "1" / "pipe.png")
    done = predict_files(run.root, [scans, tmp_path / "missing.png"], tmp_path / "out.csv")
    found = rows(done.table)
    assert (done.files, done.failed) == (8, 4)
    assert [row for row in found if not row["error"]] == before
    bad = {os.path.basename(row["path"]): row for row in found if row["error"]}
    assert sorted(bad) == ["1.png", "empty.png", "missing.png", "pipe.png"]
    for name, row in bad.items():
        assert name in row["error"]
        assert not row["prediction"] + row["confidence"] + row["prediction_set"] + row["custom:a"]


def test_nothing_is_left_out_without_a_word(run, scans, tmp_path, monkeypatch, capsys):
    (scans / "1" / "linked").symlink_to(scans / "0")
    (scans / "loop").symlink_to(scans)
    close(monkeypatch, "0")
    command = ["predict", str(run.root), str(scans), "--out", str(tmp_path / "out.csv")]
    assert main([*command, "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert (facts["files"], facts["failed"]) == (5, 1)
    assert [(entry["names"], entry["reason"]) for entry in facts["left_out"]] == [
        ([".hidden"], BY_NAME),
        (["loop"], LINK),
    ]
    assert [row["error"] for row in rows(tmp_path / "out.csv") if row["error"]] == [
        f"{scans / '0'}: cannot be listed (Permission denied); check its permissions"
    ]
    main(command)
    assert f"left out: {scans}: loop ({LINK})" in capsys.readouterr().out.splitlines()


def test_a_table_among_the_images_is_not_taken_for_one(run, scans, capsys, monkeypatch):
    monkeypatch.chdir(scans)
    command = ["predict", str(run.root), ".", "--out", "predictions.csv"]
    assert main(command) == 0
    assert capsys.readouterr().err.endswith("predicting 4/4\n")
    first = (scans / "predictions.csv").read_bytes()
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "4 of 4 files predicted" in shown.out
    assert f"left out: .: predictions.csv ({WRITTEN})" in shown.out
    assert (scans / "predictions.csv").read_bytes() == first
    (scans / "tables").mkdir()
    (scans / "tables" / "copy.csv").write_bytes(first)
    with pytest.raises(DataError, match="only files that are no input"):
        predict_files(run.root, [scans / "tables"], "o.csv")


def test_names_do_nothing_to_the_terminal(run, tmp_path, capsys):
    Image.fromarray(pixels(1)[0]).save(tmp_path / "\x1b[31m.png")
    (tmp_path / ".\x1b]0;x\x07").touch()
    assert main(["predict", str(run.root), str(tmp_path), "--out", str(tmp_path / "\x1b[32m.csv")]) == 0
    assert main(["predict", str(run.root), str(tmp_path / "\x1b[5m"), "--out", "o.csv"]) == 3
    with pytest.raises(SystemExit):
        main(["predict", "run", "x", "--\x1b[7m"])
    shown = capsys.readouterr()
    assert not set(shown.out + shown.err) & set("\x1b\x07")
    assert r"\x1b[31m.png: " in shown.out
    assert r"--\x1b[7m" in shown.err


def test_files_that_come_while_it_predicts_are_counted(run, predictor, scans, tmp_path, monkeypatch):
    def load_later(*_args, engine):
        Image.fromarray(pixels(1, seed=7)[0]).save(scans / "z.png")
        return predictor

    monkeypatch.setattr(module, "load_run", load_later)
    done = predict_files(run.root, [scans], tmp_path / "out.csv")
    assert done.files == len(rows(done.table)) == 5


def test_a_table_of_somebody_else_is_not_replaced(run, scans, tmp_path):
    (tmp_path / "predictions.csv").write_text("patient,age\n1,60\n")
    with pytest.raises(UsageError, match="found another at"):
        predict_files(run.root, [scans], tmp_path / "predictions.csv")
    assert (tmp_path / "predictions.csv").read_text() == "patient,age\n1,60\n"


def test_an_interrupted_command_goes_on_where_it_stopped(run, scans, tmp_path, monkeypatch):
    whole = predict_files(run.root, [scans], tmp_path / "whole.csv").table.read_bytes()
    asked = []
    prediction = RunPredictor.predict

    def counting(predictor, image):
        asked.append(1)
        if len(asked) == 2:
            monkeypatch.setattr(progress, "_asked", [2])
        return prediction(predictor, image)

    monkeypatch.setattr(RunPredictor, "predict", counting)
    with pytest.raises(Interrupted):
        predict_files(run.root, [scans], tmp_path / "out.csv")
    monkeypatch.setattr(progress, "_asked", [])
    assert not (tmp_path / "out.csv").exists()
    predict_files(run.root, [scans], tmp_path / "out.csv")
    assert len(asked) == 2 + 2  # what was in hand is finished first
    assert (tmp_path / "out.csv").read_bytes() == whole
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    "damage", ["torn line", "line without its end", "no JSON", "another file", "a changed image"]
)
def test_rows_that_do_not_fit_are_made_again(run, predictor, scans, tmp_path, damage):
    out = tmp_path / "out.csv"
    whole = predict_files(run.root, [scans], out).table.read_bytes()
    kept = module.unfinished_rows(out, run.root, predictor)
    first, second = (
        json.dumps(module.prediction_row(predictor, scans / "0" / name)).encode() + b"\n"
        for name in ("0.png", "2.png")
    )
    if damage == "a changed image":
        Image.fromarray(pixels(1, seed=9)[0]).save(scans / "0" / "2.png")
        whole = predict_files(run.root, [scans], tmp_path / "new.csv").table.read_bytes()
    damaged = {
        "torn line": second[:-20],
        "line without its end": second[:-1],
        "no JSON": b"{\n",
        "another file": first,
    }
    second = damaged.get(damage, second)
    kept.write_bytes(first + second)
    assert predict_files(run.root, [scans], out).table.read_bytes() == whole


def test_rows_of_other_models_are_not_taken_over(run, predictor, tmp_path):
    out = tmp_path / "out.csv"
    before = module.unfinished_rows(out, run.root, predictor)
    assert before == module.unfinished_rows(out, run.root, predictor)
    one = replace(predictor, names=("custom",))
    assert module.unfinished_rows(out, run.root, one) != before


def test_nothing_in_the_table_is_a_formula(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(1)[0]).save("=1+1.png")
    assert rows(predict_files(run.root, [module.Path("=1+1.png")], tmp_path / "o.csv").table)[0]["path"] == (
        "'=1+1.png"
    )


def test_two_commands_never_write_one_table(run, scans, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    with module._locked_table(out), pytest.raises(RunFolderError, match="another predict"):
        predict_files(run.root, [scans], out)
    assert predict_files(run.root, [scans], out).files == 4


@pytest.mark.parametrize(
    ("sources", "out", "kind", "match"),
    [
        ([], "o.txt", UsageError, "end in .csv"),
        (["list.csv"], "list.csv", UsageError, "one of the lists"),
        (["nothing"], "o.csv", DataError, "found no file"),
        (["list.csv"], "o.csv", DataError, "the column path"),
        (["list.xlsx"], "o.csv", DataError, "a workbook or an archive"),
    ],
)
def test_what_cannot_be_asked(run, tmp_path, sources, out, kind, match):
    (tmp_path / "list.csv").write_text("name\na.png\n")
    (tmp_path / "list.xlsx").write_bytes(b"PK\x03\x04\xff")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(kind, match=match):
        predict_files(run.root, [tmp_path / name for name in sources], tmp_path / out)


def test_the_command_says_where_the_table_is_and_fails_for_bad_files(run, scans, tmp_path, capsys):
    command = ["predict", str(run.root), str(scans), "--out", str(tmp_path / "out.csv")]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"Predictions: {tmp_path / 'out.csv'}"
    assert NOTICE in said.out
    first = rows(tmp_path / "out.csv")[0]
    assert said.out.startswith(f"{first['path']}: {first['prediction']} ({float(first['confidence']):.0%})")
    assert said.err.startswith("100%  0:0")
    assert said.err.endswith("; predicting 4/4\n")
    (scans / "bad.png").write_text("bad")
    assert main([*command, "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["failed"] == 1
    assert said.err == "tumorboard: 1 of 5 files could not be read; out.csv holds the reasons\n"


def test_fifty_bad_files_among_a_thousand(run, predictor, tmp_path, monkeypatch):
    one = replace(predictor, names=("custom",))
    monkeypatch.setattr(module, "load_run", lambda run, models, engine: one)
    clean, mixed = tmp_path / "clean", tmp_path / "mixed"
    for folder in (clean, mixed):
        folder.mkdir()
    for number, picture in enumerate(pixels(950, seed=5)):
        Image.fromarray(picture).save(clean / f"{number:04d}.png")
        os.link(clean / f"{number:04d}.png", mixed / f"{number:04d}.png")
    for number in range(50):
        content = (clean / f"{number:04d}.png").read_bytes()
        (mixed / f"{number * 19:04d}-bad.png").write_bytes(content[: len(content) * number // 60])
    expected = rows(predict_files(run.root, [clean], tmp_path / "clean.csv").table)
    done = predict_files(run.root, [mixed], tmp_path / "mixed.csv")
    assert (done.files, done.failed) == (1000, 50)
    found = [row for row in rows(done.table) if not row["error"]]
    assert [list(row.values())[1:] for row in found] == [list(row.values())[1:] for row in expected]


def test_objects_of_a_store_get_the_rows_of_files(run, scans, tmp_path):
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto", reason="the store of the tests is not installed")
    (scans / "bad.png").write_text("no image")
    with small_store.serving():
        for file in scans.rglob("*.png"):
            small_store.put(f"archive/{file.relative_to(scans)}", file.read_bytes())
        url = f"s3://{small_store.BUCKET}/archive"
        stored = rows(predict_files(run.root, [url], tmp_path / "stored.csv").table)
    here = sorted(rows(predict_files(run.root, [scans], tmp_path / "here.csv").table), key=itemgetter("path"))
    assert [row["path"] for row in stored] == [row["path"].replace(str(scans), url) for row in here]
    assert [row["error"] for row in stored] == [row["error"].replace(str(scans), url) for row in here]
    for row in stored + here:
        del row["path"], row["error"]
    assert stored == here
