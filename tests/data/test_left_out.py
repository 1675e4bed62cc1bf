"""What lies among the images and is no input."""

import numpy as np
import pytest
from PIL import Image

from tumorboard import NOTICE
from tumorboard.data.left_out import (
    WRITTEN,
    LeftOut,
    is_output,
    nothing_to_read,
    png_notice,
    require_replaceable,
)
from tumorboard.data.manifest import Manifest, write_csv, write_source_csv
from tumorboard.errors import UsageError
from tumorboard.predictions import Predictions

from .pictures import close, grey_png, plant


def test_tables_are_known_by_their_notice_or_their_header(tmp_path):
    table = Predictions(("1",), np.array([0]), ("a", "b"), np.array([[0.5, 0.5]])).to_csv()
    ours = {
        "predictions.csv": f"path,error,notice\nx,,{NOTICE}\n",
        "custom.csv": table,
        "run.csv": write_csv(Manifest.of([])),
        "split.csv": write_source_csv(Manifest.of([]), tmp_path / "split.csv"),
        "out.csv.0123.unfinished.jsonl": "",
    }
    others = {"list.csv": "path\n1.png\n", "labels.csv": "path,label\n", "notes.txt": "x", "empty.csv": ""}
    plant(tmp_path, {name: text.encode() for name, text in (ours | others).items()})
    assert {name for name in ours | others if is_output(tmp_path / name)} == set(ours)


def test_a_heat_map_is_known_after_it_was_renamed_and_no_image_is(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "heart.png", pnginfo=png_notice())
    plant(tmp_path, {"1-slice-custom.png": grey_png(3), "empty.png": b""})
    assert is_output(tmp_path / "heart.png")
    assert not any(is_output(tmp_path / name) for name in ("1-slice-custom.png", "empty.png", "gone.png"))


def test_a_folder_is_an_output_if_everything_in_it_is(tmp_path, monkeypatch):
    notice = NOTICE.encode()
    plant(tmp_path, {"report/a.html": notice, "report/figures/b.svg": notice, "report/figures/b.csv": b"x"})
    plant(tmp_path, {"report/.hidden": b"x", "mixed/maps.csv": notice, "mixed/1.png": grey_png(1)})
    plant(tmp_path, {"run/state/fingerprint.json": b"{}", "run/cache/x": b"x"})
    plant(tmp_path, {"copied/SHA256SUMS": b"", "copied/models/x": b"x"})
    plant(tmp_path, {"saved/saved_model.pb": b"x", "saved.json": notice, "theirs/saved_model.pb": b"x"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("report")
    found = {path.name for path in tmp_path.iterdir() if is_output(path)}
    assert found == {"report", "run", "copied", "saved", "saved.json"}
    close(monkeypatch, "report")
    assert not is_output(tmp_path / "report")


def test_deep_folders_are_no_output_and_no_error(tmp_path):
    plant(tmp_path.joinpath(*["d"] * 100), {"a.html": NOTICE.encode()})
    assert not is_output(tmp_path / "d")


@pytest.mark.parametrize(
    ("model", "record"),
    [
        ("x.keras", "x.json"),
        ("x.onnx", "x.onnx.json"),
        ("x.bin", "x.xml.json"),
        ("x.tflite", "x.tflite.json"),
    ],
)
def test_a_model_is_known_by_the_record_beside_it(model, record, tmp_path):
    plant(tmp_path, {model: b"x"})
    assert not is_output(tmp_path / model)
    plant(tmp_path, {record: f'{{"notice": "{NOTICE}"}}'.encode()})
    assert is_output(tmp_path / model)


def test_what_is_left_out_is_counted_and_named(tmp_path):
    many = LeftOut.of(tmp_path, [f"{number}.png" for number in range(500)], WRITTEN)
    assert str(many) == f"{tmp_path}: 0.png, 1.png, 2.png and 497 more (written by Tumorboard)"
    assert len(many.to_json()["names"]) == 100
    assert many.to_json()["count"] == 500
    assert "\x1b" not in str(LeftOut.of(tmp_path, ["\x1b[31m.png"], WRITTEN))
    assert "found only files that are no input" in str(nothing_to_read([tmp_path], [many]))
    assert "found no file" in str(nothing_to_read([tmp_path], []))


def test_no_file_of_somebody_else_is_replaced(tmp_path):
    plant(tmp_path, {"empty.csv": b"", "mine.csv": NOTICE.encode(), "theirs.csv": b"id,age\n"})
    for name in ("new.csv", "empty.csv", "mine.csv"):
        require_replaceable(tmp_path / name)
    with pytest.raises(UsageError, match=r"found another at .*theirs\.csv"):
        require_replaceable(tmp_path / "theirs.csv")
