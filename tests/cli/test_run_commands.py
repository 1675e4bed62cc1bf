"""Commands for finished runs; what they compute is tested with the workflows."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_runs import CLASSES, RECIPE, draw, prepared
from tumorboard import storage
from tumorboard.cli.options import named_images
from tumorboard.errors import DataError
from tumorboard.run_folder import RunFolder, write_checksums


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.png\nsub\\b c.png\r\n\n", ["a.png", "sub/b c.png"]),
        (b"s3://bucket/scans\nfolder\n", ["s3://bucket/scans", "folder"]),
        (b"path,label\na.png,x\n", ["a.png"]),
        ("a.png\r\nb.png".encode("utf-16"), ["a.png", "b.png"]),
        (b"latin-\xe9.png\n", [os.fsdecode(b"latin-\xe9.png")]),
    ],
)
def test_images_are_named_on_standard_input(monkeypatch, content, expected):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    images = named_images(argparse.Namespace(images=[Path("first.png"), Path("-")]))
    assert list(map(str, images)) == ["first.png", *expected]


@pytest.mark.parametrize(
    ("content", "match"), [(b"\n", "found nothing"), (b"a.png\0b.png\0", "a NUL character")]
)
def test_standard_input_without_a_list_is_refused(monkeypatch, content, match):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(DataError, match=match):
        named_images(argparse.Namespace(images=["-"]))
    monkeypatch.setattr("sys.stdin", None)  # closed
    with pytest.raises(DataError, match="found nothing"):
        named_images(argparse.Namespace(images=["-"]))


WRONG = """
6 | expected a finished run | predict nowhere slice.png
3 | expected images in missing.png | predict run missing.png
3 | expected images in empty | predict run empty
2 | expected --out to end in .csv | predict run slice.png --out table.txt
8 | cannot write slice.png/table.csv | predict run slice.png --out slice.png/table.csv
2 | expected models of the run | predict run slice.png --model nobody
6 | expected a finished run | explain nowhere slice.png --out maps
3 | expected images in missing.png | explain run missing.png --out maps
3 | expected images in empty | explain run empty --out maps
8 | cannot write slice.png/maps | explain run slice.png --out slice.png/maps
2 | expected models of the run | explain run slice.png --out maps --model nobody
3 | expected a class | explain run slice.png --out maps --class unknown
6 | expected a finished run | evaluate nowhere --data data
3 | expected a folder of class folders | evaluate run --data nowhere
3 | cannot read missing.csv | evaluate run --data data --metadata missing.csv
6 | expected a finished run | export nowhere --format saved-model
2 | expected models of the run | export run --format saved-model --model nobody
2 | to be a folder's name | export run --format saved-model --out model.onnx
2 | expected a new --out | export run --format saved-model --out empty
8 | cannot write slice.png | export run --format saved-model --out slice.png/model
6 | expected a finished run | report nowhere
6 | expected a finished run | compare run nowhere
3 | expected a folder of class folders | train nowhere --out new
4 | expected a backbone | train data --out new --backbone nobody
5 | expected an HDF5 file | train data --out new --weights missing.h5
8 | cannot write slice.png/new | train data --out slice.png/new
6 | found other files | train data --out data
6 | expected a finished run with SHA256SUMS | serve nowhere --port 0
"""
EARLY = """
import sys
from tumorboard.cli.main import main

for line in sys.stdin:
    code, message, arguments = line.split(" | ")
    sys.stderr.write(line)
    assert main([*arguments.split(), "--quiet"]) == int(code)
    assert "keras" not in sys.modules
"""


def test_wrong_arguments_are_refused_before_tensorflow_is_imported(tmp_path):
    draw(tmp_path / "data")
    prepared(tmp_path, RECIPE.replace('"tiny"', '"efficientnet-lite0"'))
    run = RunFolder(tmp_path / "run")
    storage.write_json(run.model_spec("ensemble"), {"class_names": list(CLASSES)})
    run.model("ensemble").write_text("not read")
    write_checksums(run)
    (tmp_path / "slice.png").write_text("not read")
    (tmp_path / "empty").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", EARLY], input=WRONG.lstrip(), cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    lines = ran.stderr.splitlines()
    for command, error in zip(lines[::2], lines[1::2], strict=True):
        assert error.startswith("tumorboard: "), command
        assert command.split(" | ")[1] in error
