"""What is fuzzed: each target reads bytes as the product does, and lets nothing out but a find.

A find is an exception that is none of the project's errors, a message that is not one short line, an error of
our own code that the image reader took for damage, or a result that differs once it is written and read
again. Crashes, hangs and lack of memory are found by libFuzzer.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from unittest import mock

import numpy as np

import tumorboard
from tumorboard import config, run_folder, search_space, text_files
from tumorboard.data import class_folders, image_reader, manifest, sandbox
from tumorboard.data.dicom import pixels, reader, worker
from tumorboard.data.dicom.display import Setting
from tumorboard.data.dicom.header import explained
from tumorboard.data.dicom.header import read_header as dicom_header
from tumorboard.data.image_headers import read_header
from tumorboard.data.nifti import reader as nifti_reader
from tumorboard.data.nifti import worker as nifti_worker
from tumorboard.errors import TumorboardError
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder
from tumorboard.server.schemas import read_test_accuracies
from tumorboard.workflows import calibrate, fingerprint
from tumorboard.workflows.evaluate import read_metadata

T = TypeVar("T")

_PACKAGE = str(Path(tumorboard.__file__).parent)
_MAX_PIXELS = 1 << 19
"""Few, so that an execution takes milliseconds; larger images are refused by the same lines."""


class Find(Exception):
    """The product did what it never should."""


def image(content: bytes) -> None:
    """The image reader, as far as it works in this process: everything but DICOM and NIfTI."""
    if reader.recognised(content[: reader.HEAD_BYTES]) or nifti_reader.recognised(content):
        return
    try:
        decoded = image_reader.read_image(content, max_pixels=_MAX_PIXELS)
    except TumorboardError as error:
        _require_one_line(error)
        _require_not_ours(error.__cause__)
    else:
        _require(decoded.pixels.dtype == np.uint8 and decoded.pixels.shape[2:] == (3,), "other pixels")
        image_reader.to_input(decoded.pixels, config.Image(size=32, resize="pad"))
    with _file(content, ".png") as path:
        read_header(path)


def dicom(content: bytes) -> None:
    """The DICOM reader as it works in its child process, but for the decoders that are not written in Python.

    Those crash and hang, which is why there is a child process; `test_dicom_decoding.py` kills some.
    """
    if not reader.recognised(content[: reader.HEAD_BYTES]):
        return
    settings = (None, Setting("lung", -600.0, 1500.0, hounsfield=True))
    reads: list[Callable[[io.BytesIO], object]] = [
        lambda file, setting=setting: worker.image(file, setting, _MAX_PIXELS) for setting in settings
    ]
    reads += [
        lambda file: worker.image(file, None, _MAX_PIXELS, 2),
        lambda file: worker.frames(dicom_header(file, several=True), _MAX_PIXELS),
    ]
    with (
        mock.patch.object(sandbox, "limit_time"),  # would end this process
        mock.patch.object(pixels, "get_decoder", _decoder),
    ):
        for read in (*reads, worker.header_facts):
            try:
                read(io.BytesIO(content))
            except Exception as error:
                _require_one_line(explained(error))


def nifti(content: bytes) -> None:
    """The NIfTI reader as it works in its child process."""
    if not nifti_reader.recognised(content[: nifti_reader.HEAD_BYTES]):
        return
    with mock.patch.object(sandbox, "limit_time"), mock.patch.object(nifti_worker, "MAX_BYTES", _MAX_PIXELS):
        for setting in (None, [-600.0, 1500.0, True]):
            try:
                volume = nifti_worker.read(io.BytesIO(content), len(content))
                grey, _ = nifti_worker.show(volume, 1, setting, _MAX_PIXELS)
            except Exception as error:
                _require_one_line(nifti_worker.explained(error))
                _require_not_ours(error)
            else:
                _require(grey.dtype == np.uint8 and grey.ndim == 2, "other pixels")


def table(content: bytes) -> None:
    """Every table that a user or another program may have written."""
    text = content.decode("utf-8", "replace")
    with _file(content, ".csv") as path:
        listing = _result(lambda: manifest.list_csv(path))
        _result(lambda: list(class_folders.files([path])))
        _result(lambda: read_metadata(path, ["a"]))
        _result(lambda: list(text_files.paths(text, "list", path.parent, lines=True)))
        entries = listing.entries if listing else ()
        samples = [manifest.Sample(e.id, e.path, e.split, e.folder, e.group, "") for e in entries]
        written = _result(lambda: manifest.write_source_csv(manifest.Manifest.of(samples), path))
        if entries and written:
            path.write_text(written, "utf-8")
            _require(set(manifest.list_csv(path).entries) == set(entries), "another manifest")
    recorded = _result(lambda: manifest.read_csv(text, "table.csv"))
    if recorded:
        _require(manifest.read_csv(manifest.write_csv(recorded), "copy") == recorded, "another record")
    predictions = _result(lambda: Predictions.from_csv(text, "table.csv"))
    if predictions:
        written = predictions.to_csv()
        _require(Predictions.from_csv(written, "copy").to_csv() == written, "other predictions")


def recipe(content: bytes) -> None:
    """A recipe, changed as the command line does, and the search space in it."""
    with _file(content, ".toml") as path:
        settings = _result(lambda: config.load(str(path)))
        if settings:
            _require(config.parse(config.dump(settings), "copy") == settings, "another recipe")
            settings.with_options(None, None, 7, "lung")
            _result(lambda: search_space.load(str(path), settings))


def run(content: bytes) -> None:
    """The files of a run folder that other commands read."""
    with tempfile.TemporaryDirectory() as folder:
        damaged = RunFolder(Path(folder))
        for file in (
            damaged.calibration,
            damaged.patients,
            damaged.metrics,
            damaged.checksums,
            damaged.fingerprint,
        ):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        _result(lambda: calibrate.read(damaged))
        _result(lambda: calibrate.read_patient_rules(damaged))
        _result(lambda: read_test_accuracies(damaged))
        _result(lambda: run_folder.select_models(damaged, {"custom.keras": ""}, ()))
        _result(lambda: run_folder.read_checksums(damaged))
        _result(lambda: fingerprint.require_same(damaged, {"settings": {}, "environment": {}, "files": {}}))


def keras(content: bytes) -> None:
    """The inspector of model files."""
    from tumorboard.models import safe_loading  # imports Keras, which takes seconds

    with _file(content, ".keras") as path:
        _result(lambda: safe_loading.inspect(path))


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (image, dicom, nifti, table, recipe, run, keras)
}


@contextmanager
def _file(content: bytes, suffix: str) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(suffix=suffix, buffering=0) as file:
        file.write(content)
        yield Path(file.name)


def _result(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except TumorboardError as error:
        _require_one_line(error)
        return None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Find(otherwise)


def _require_one_line(error: Exception) -> None:
    _require(len(str(error)) <= 300 and len(str(error).splitlines()) == 1, f"no short line: {error}")


def _require_not_ours(error: BaseException | None) -> None:
    """Check that an error which was taken for damage of the file is no mistake in our own code."""
    if error is None or isinstance(error, TumorboardError | MemoryError | OSError) or not error.__traceback__:
        return
    deepest = error.__traceback__
    while deepest.tb_next:
        deepest = deepest.tb_next
    deliberate = type(error).__module__.startswith("tumorboard")
    ours = deepest.tb_frame.f_code.co_filename.startswith(_PACKAGE)
    if ours and not deliberate:
        raise Find(f"{type(error).__name__} in our own code") from error


def _decoder(syntax: str) -> object:
    codec = pixels.CODECS.get(str(syntax))
    return _Blank() if codec and codec.plugin != "pydicom" else _GET_DECODER(syntax)


class _Blank:
    """Stands for a decoder: a black frame of the form that it was asked for."""

    def as_array(self, _content: bytes, **asked: int) -> tuple[np.ndarray, dict[str, object]]:
        shape = (asked["rows"], asked["columns"], asked["samples_per_pixel"])
        kind = f"{'i' if asked['pixel_representation'] else 'u'}{max(1, asked['bits_allocated'] // 8)}"
        return np.zeros(shape if shape[2] > 1 else shape[:2], kind), {}


_GET_DECODER = pixels.get_decoder
