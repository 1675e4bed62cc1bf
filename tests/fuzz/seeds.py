"""Write the files that fuzzing starts from: `python -m tests.fuzz.seeds TARGET FOLDER`."""

import gzip
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from tests.data.dicoms import PYDICOMS
from tests.small_runs import RECIPE
from tests.test_canaries import SEARCH
from tumorboard.evaluation.selective_prediction import Calibration

_LARGEST, _LARGEST_MODEL = 20_000, 100_000
"""Bytes: larger files are mutated in places that do not matter."""


def image() -> Iterator[bytes]:
    """Every mode that each format takes, and files of several frames."""
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (9, 13, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    tiffs = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg")
    kinds: list[tuple[str, dict[str, object]]] = [
        ("PNG", {}),
        ("JPEG", {"progressive": True, "exif": turned}),
        ("BMP", {}),
        ("WEBP", {"exif": turned}),
        ("WEBP", {"lossless": True}),
        *(("TIFF", {"compression": name}) for name in tiffs),
    ]
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"):
        deep = mode in ("I", "I;16", "F")
        picture = Image.new(mode, (13, 9), 700) if deep else noise.convert(mode)
        for format_, options in kinds:
            file = io.BytesIO()
            try:
                picture.save(file, format_, **options)
            except (OSError, KeyError, ValueError, SystemError):
                continue
            yield file.getvalue()
    for format_ in ("PNG", "TIFF", "WEBP"):
        file, frames = io.BytesIO(), [Image.new("L", (8, 8), value) for value in (0, 99, 200)]
        frames[0].save(file, format_, save_all=True, append_images=frames[1:])
        yield file.getvalue()


def dicom() -> Iterator[bytes]:
    """pydicom's own files."""
    yield from (path.read_bytes() for path in PYDICOMS.values() if path.stat().st_size <= _LARGEST)


def nifti() -> Iterator[bytes]:
    """Both versions, several types of values and orientations, plain and compressed."""
    values = np.random.default_rng(0).integers(0, 200, (5, 6, 7))
    tilted = np.array([[0, 0, -2, 1], [1, 0.2, 0, 1], [-0.2, 1, 0, 1], [0, 0, 0, 1]])
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        for dtype in (np.uint8, np.int16, np.float32, np.float64):
            for affine in (np.eye(4), tilted):
                content = kind(values.astype(dtype), affine).to_bytes()
                yield from (content, gzip.compress(content))


def table() -> Iterator[bytes]:
    """One table of each kind."""
    yield b'path,label,split,group\ntrain/a/1.png,a,train,p1\n"b, c.png",b,,\n../x.png,a,validation,p2\n'
    yield b"id,path,split,label,group,sha256\na/1.png,/data/a/1.png,train,a,p1,00\nb,b.png,test,b,,ff\n"
    yield b"id,label,predicted,probability:a,probability:b\nx,a,a,0.75,0.25\n'=y,b,a,1.0,0.0\n"
    yield b"id,sex,age,group\nx,f,41,p1\ny,m,,p2\n"
    yield "\ufeffPath;Label\r\nbild.png;Tumör\r\n".encode()
    yield "sep=;\r\nFile name;Class;;\r\nx\\bild.png;Tumör;;\r\n".encode("cp1252")
    yield '"a b.png"\r\nsub\\c.png\r\n'.encode("utf-16")


def recipe() -> Iterator[bytes]:
    """The recipes that come with the package, and one with a search space."""
    shipped = resources.files("tumorboard") / "recipes"
    yield from (file.read_bytes() for file in shipped.iterdir() if file.name.endswith(".toml"))
    yield (RECIPE + SEARCH).encode()
    yield b'name = "x"\nmodels.a.kind = "pretrained"\nmodels.b.kind = "custom"\nensemble.members = ["a", "b"]'


def run() -> Iterator[bytes]:
    """One file of each kind."""
    accuracy = {"value": 0.8, "n": 60, "low": 0.68, "high": 0.88}
    models = {"custom": {"splits": {"test": {"n": 60, "accuracy": accuracy}}}}
    files = (
        {"models": models, "test_subsets": {}, "recommendation": {"model": "custom"}},
        {"format": 1, "models": {"custom": Calibration(2.0, 0.1, 0.7, 20, 0.4, 0.5).to_json()}},
        {"settings": {"seed": 3}, "environment": {}, "files": {"a.png": ["train", "a", "", "00"]}},
    )
    yield from (json.dumps(content).encode() for content in files)
    yield b"00  models/custom.keras\n"


def keras() -> Iterator[bytes]:
    """Our own four models."""
    from tests.small_predictors import networks  # imports Keras, which takes seconds

    with tempfile.TemporaryDirectory() as folder:
        for model, _spec in networks().values():
            path = Path(folder, "seed.keras")
            model.save(path)
            if path.stat().st_size < _LARGEST_MODEL:
                yield path.read_bytes()


def main(target: str, folder: Path) -> None:
    for content in globals()[target]():
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
