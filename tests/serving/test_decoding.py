import os
import signal

import numpy as np
import pytest

from tumorboard.data.inputs import input_of_bytes
from tumorboard.errors import DataError
from tumorboard.recipe import Image
from tumorboard.serving import decoding
from tumorboard.serving.decoding import DecoderEndedError, Decoders

RULE = Image(size=32, resize="pad", interpolation="bicubic")


@pytest.fixture
def decoders():
    made = Decoders()
    yield made
    made.close()


def test_the_pixels_are_those_of_the_one_reader(decoders, slice_png):
    upload = decoders.decode(slice_png, RULE)
    np.testing.assert_array_equal(upload.pixels, input_of_bytes(slice_png, "x", RULE)[0])
    assert (upload.dicom, upload.notes) == (False, ())


def test_one_process_serves_one_upload_after_the_other_also_after_a_bad_one(decoders, slice_png):
    decoders.decode(slice_png, RULE)
    first = decoders.pids
    with pytest.raises(DataError, match=r"^expected an image"):
        decoders.decode(slice_png[:100], RULE)
    decoders.decode(slice_png, RULE)
    assert decoders.pids == first


def test_a_killed_process_costs_one_upload(decoders, slice_png):
    for _ in range(3):
        decoders.decode(slice_png, RULE)
        os.kill(decoders.pids[0], signal.SIGKILL)
        with pytest.raises(DecoderEndedError):
            decoders.decode(slice_png, RULE)
    assert decoders.decode(slice_png, RULE).pixels.shape == (32, 32, 3)


def test_a_process_that_hangs_is_ended(decoders, slice_png, monkeypatch):
    decoders.decode(slice_png, RULE)
    pid = decoders.pids[0]
    monkeypatch.setattr(decoding, "_SECONDS", 0.2)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DecoderEndedError):
        decoders.decode(slice_png, RULE)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_closing_ends_the_processes(slice_png):
    decoders = Decoders()
    decoders.decode(slice_png, RULE)
    pid = decoders.pids[0]
    decoders.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
