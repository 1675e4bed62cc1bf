import io
import json
import struct
import subprocess
import sys
import zlib

import pydicom
import pytest
from PIL import Image

from tumorboard.data.dicom import head
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import WANTED, recognised
from tumorboard.data.pixels import readers_quiet

from .dicoms import (
    DEFLATED,
    J2K,
    JPEG,
    LOSSLESS,
    NAMES,
    PYDICOMS,
    RLE,
    element,
    elements,
    encapsulated,
    header,
    image,
    part10,
)
from .pictures import saved

UNDEFINED = 0xFFFFFFFF
OPEN = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, UNDEFINED)
ITEM_OPEN = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)


def test_what_pydicom_reads_without_force_is_recognised_and_no_picture_is():
    for name, path in PYDICOMS.items():
        # These two begin with text, and with a group that no rule of ours knows.
        expected = name not in ("README", "no_meta.dcm")
        assert recognised(path.read_bytes()[:132]) == expected, name
    picture = Image.new("RGB", (40, 40))
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        assert not recognised(saved(picture, kind)[:132])
    for other in (b"", b"\x08\0", b"\x08\0\x05\0", b"\x02\0" + b"\xff" * 130, b"\0" * 132, b"text " * 30):
        assert not recognised(other)


def test_values_are_those_that_pydicom_parses():
    """pydicom's parser as an independent implementation, over all its own files."""
    compared = 0
    for path in PYDICOMS.values():
        with path.open("rb") as file:
            if not recognised(file.read(132)):
                continue
            file.seek(0)
            try:
                found = head.read(file)
            except DicomError:
                continue  # several frames, or a number of frames that is no number
        with readers_quiet():
            expected = pydicom.dcmread(path, force=True)
        for tag in WANTED:
            if 0x00080000 <= tag < 0x7FE00000 and tag in expected:
                value = expected.get_item(tag).value
                if isinstance(value, bytes | None):
                    assert found.data.raw(tag) == (value or b""), (path, hex(tag))
                    compared += 1
        assert ("PixelData" in expected) == (found.pixels is not None), path
    assert compared > 500


def deflated(data: bytes, level: int = 9) -> bytes:
    deflate = zlib.compressobj(level, wbits=-15)
    return part10(deflate.compress(data) + deflate.flush(), DEFLATED)


def j2k(width: int, height: int, tile: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, width, height, 0, 0, tile, tile, 0, 0, 1, 15, 1, 1)
    return b"\xff\x4f\xff\x51" + size


def jpeg(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 16, height, width, 1) + b"\x01\x11\x00"


def sized(rows: int, columns: int, **more) -> bytes:
    return part10(elements(header(rows, columns, **more) | {"pixels": b"\0\0"}))


EMPTY = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
BOMBS = {
    "65535 x 65535": sized(65535, 65535),
    "65535 x 1500 in two bytes": sized(65535, 1500),
    "10^6 frames": sized(10, 10, frames=1_000_000),
    "10^9 frames": sized(10, 10, frames=999_999_999),
    "frames beyond integers": sized(10, 10, frames="9" * 5000),
    "RGB 65535 x 65535": sized(65535, 65535, photometric="RGB", samples=3, planar=0),
    "rows of 0": sized(0, 65535),
    "65535 samples": sized(10, 10, samples=65535),
    "65528 bits": sized(10, 10, allocated=65528),
    "deflated zeros in a header": deflated(element(0x00091001, "OB", b"\0" * 200_000_000, order="<")),
    "deflated zeros as pixels": deflated(elements(header(9000, 9000)) + b"\0" * 162_000_000),
    "deflated items": deflated(OPEN + EMPTY * 2_000_000),
    "sequences 100,000 deep": part10((OPEN + ITEM_OPEN) * 100_000),
    "a million items": part10(OPEN + EMPTY * 1_000_000),
    "a million elements": part10(element(0x00091001, "CS", b"A") * 1_000_000),
    "nested defined sequences": part10(elements({"shared_groups": b"\0" * 2_000_000})),
    "a LUT of 2 MB": part10(elements(header(1, 1) | {"voi_lut": b"\xfe\xff\0\xe0" * 500_000})),
    "a length beyond the file": part10(
        struct.pack("<HH2sHI", 0x0028, 0x3010, b"SQ", 0, 0xFFFFFFF0) + b"\0" * 100
    ),
    "an item length beyond the file": encapsulated([], RLE, rows=10, columns=10)[:-16]
    + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFF00),
    "JPEG 2000 larger than its header": encapsulated([j2k(65535, 65535, 65535)], J2K, rows=10, columns=10),
    "JPEG 2000 of a million tiles": encapsulated([j2k(1000, 1000, 1)], J2K, rows=1000, columns=1000),
    "JPEG larger than its header": encapsulated([jpeg(65535, 65535)], LOSSLESS, rows=10, columns=10),
    "JPEG of nothing": encapsulated([jpeg(9000, 9000)], LOSSLESS, rows=9000, columns=9000),
    "a JPEG of markers": encapsulated([b"\xff\xd8" + b"\xff" * 500_000], JPEG, rows=900, columns=900),
    "RLE of nothing": encapsulated([b"\0" * 64], RLE, rows=9000, columns=9000),
    "more compressed bytes than pixels": encapsulated([b"\0" * 4_000_000], RLE, rows=10, columns=10),
    "10,000 fragments": encapsulated([b"\0\0"] * 10_000, JPEG, rows=10, columns=10),
}
READER = """
import json, sys, time
from pathlib import Path
from tumorboard.data.dicom import codecs
from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError

def peak():
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

messages, seconds = {}, {}
for number, path in enumerate(sorted(Path(sys.argv[1]).iterdir())):
    if number == 1:
        before = peak()
    start = time.process_time()
    try:
        read_image(path)
        messages[path.name] = ""
    except DataError as error:
        messages[path.name] = str(error)
    seconds[path.name] = time.process_time() - start
grown = (peak() - before) / 1024
workers = len(codecs.POOL.pids)
print(json.dumps({"messages": messages, "seconds": seconds, "grown": grown, "workers": workers}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_bombs_cost_a_line(tmp_path):
    """In a fresh process, so that its peak of memory is the bombs' own; the first file only warms it up."""
    (tmp_path / "0").write_bytes(image([1, 2]))
    for number, content in enumerate(BOMBS.values(), start=10):
        (tmp_path / str(number)).write_bytes(content)
    run = subprocess.run([sys.executable, "-c", READER, tmp_path], capture_output=True, check=True, text=True)
    found = json.loads(run.stdout)
    assert run.stderr == ""
    assert found["messages"].pop("0") == ""
    for name, message in zip(BOMBS, found["messages"].values(), strict=True):
        assert "expected an image" in message, name
        assert "\n" not in message, name
        assert len(message) <= 300, name
    assert found["workers"] == 0, "a bomb came as far as a decoder"
    assert found["grown"] < 100, found


def test_nothing_but_what_is_wanted_is_kept():
    """Names and dates are stepped over, wherever they are."""
    secret = [(0x00100010, "PN"), (0x00100030, "DA"), (0x00080080, "LO"), (0x00104000, "LT")]
    data = sorted([*secret, *(NAMES[name] for name in ("rows", "modality"))])
    content = part10(b"".join(element(tag, vr, b"PHI!") for tag, vr in data))
    found = head.read(io.BytesIO(content))
    assert set(found.data.values) == {NAMES["rows"][0], NAMES["modality"][0]}
