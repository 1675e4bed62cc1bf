"""Headers and pixels, of files that are hostile or hold no image (hazards D3 to D6)."""

import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import generate_frames

from tumorboard import optional
from tumorboard.data import manifest, sandbox
from tumorboard.data.dicom import header as dicom_header
from tumorboard.data.dicom import pixels, reader
from tumorboard.data.dicom.header import ParsedHeader, explained, first_item, integers, raw, read_header
from tumorboard.data.dicom.pixels import frame_size
from tumorboard.data.dicom.reader import recognised
from tumorboard.data.image_reader import read_image
from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxStartError
from tumorboard.errors import DataError, ImageError

from .dicoms import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    J2K,
    JPEG,
    JPEG_LS,
    LOSSLESS,
    NAMES,
    PRESENTATION,
    PYDICOMS,
    RLE,
    STRUCTURED,
    element,
    elements,
    encapsulated,
    header,
    image,
    part10,
)
from .pictures import grey_png, saved


def decoded(content: bytes):
    """Decode in this process, where functions can be replaced and limits do not hold."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")
        patched.setattr(sandbox, "limit_time", lambda seconds: None)
        return pixels.stored_pixels(read_header(io.BytesIO(content)), 10**8)


# -- headers

SEQUENCE, NAME, ROWS = 0x00081140, 0x00100010, 0x00280010
ITEM, OPEN, ITEM_END, END = (
    struct.pack("<HHI", 0xFFFE, number, length)
    for number, length in ((0xE000, 8), (0xE000, 0xFFFFFFFF), (0xE00D, 0), (0xE0DD, 0))
)
TWO = element(ROWS, "US", b"\2\0")


def undefined(vr: bytes, content: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH2sHI", 0x0008, 0x1140, vr, 0, 0xFFFFFFFF) + content


NESTED = {
    "nothing": undefined(b"SQ", END),
    "an item of defined length": undefined(b"SQ", ITEM + element(NAME, "PN", b"") + END),
    "an item of undefined length": undefined(b"SQ", OPEN + element(NAME, "PN", b"AB") + ITEM_END + END),
    "sequences in sequences": undefined(
        b"SQ", OPEN + undefined(b"SQ", OPEN + ITEM_END + END) + ITEM_END + END
    ),
    "UN, which is implicit inside": undefined(
        b"UN", OPEN + element(NAME, "", b"ABCDEFGH", implicit=True) + ITEM_END + END
    ),
    "explicit again after UN": undefined(
        b"SQ",
        OPEN
        + undefined(b"UN", OPEN + element(NAME, "", b"AB", implicit=True) + ITEM_END + END)
        + element(NAME, "OB", b"AB")
        + ITEM_END
        + END,
    ),
    "an implicit element in an explicit data set": element(SEQUENCE, "", b"AB", implicit=True),
}


def headed(data: bytes, syntax: str = EXPLICIT) -> ParsedHeader:
    return read_header(io.BytesIO(part10(data, syntax)), extra=("ReferencedImageSequence",))


def refused(data: bytes) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        headed(data)
    return str(explained(caught.value))


@pytest.mark.parametrize("name", NESTED)
def test_what_follows_a_sequence_is_found(name):
    first = element(0x00080008, "CS", b"AB")  # shows how the data set is encoded
    assert integers(headed(first + NESTED[name] + TWO).data, "Rows") == (2,)


def test_a_sequence_that_does_not_end_is_refused():
    assert "cut off" in refused(undefined(b"SQ", OPEN + TWO))


def test_depth_is_limited():
    for depth, is_refused in ((10, False), (100_000, True)):
        data = (undefined(b"SQ", OPEN)) * depth + (ITEM_END + END) * depth + TWO
        if is_refused:
            assert "nested too deep" in refused(data)
        else:
            assert integers(headed(data).data, "Rows") == (2,)


def test_reads_are_counted_in_sequences_too(monkeypatch):
    data = undefined(b"SQ", OPEN + TWO * 50 + ITEM_END + END) + TWO
    headed(data)
    monkeypatch.setattr(dicom_header, "MAX_READS", 50)
    assert "more than 50 elements" in refused(data)
    assert "more than 50 elements" in refused(TWO * 51)


def test_integers_follow_their_vr_and_byte_order():
    data = element(ROWS, "SS", b"\xff\xff") + element(0x00280011, "UL", b"\1\0\0\0")
    found = headed(data).data
    assert (integers(found, "Rows"), integers(found, "Columns")) == ((-1,), (1,))
    big = element(ROWS, "US", b"\1\2", order=">")
    assert integers(headed(big, BIG_ENDIAN).data, "Rows") == (258,)


def test_the_first_item_is_read_whatever_its_length_and_encoding():
    items = {
        "defined": element(SEQUENCE, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(TWO)) + TWO),
        "undefined": undefined(b"SQ", OPEN + TWO + ITEM_END + END),
        "UN": undefined(b"UN", OPEN + element(ROWS, "", b"\2\0", implicit=True) + ITEM_END + END),
        "UN, defined": element(
            SEQUENCE,
            "UN",
            struct.pack("<HHI", 0xFFFE, 0xE000, 10) + element(ROWS, "", b"\2\0", implicit=True),
        ),
    }
    for name, data in items.items():
        found = headed(data).data
        assert integers(first_item(found, "ReferencedImageSequence"), "Rows") == (2,), name
        assert not first_item(found, "PatientName")


def test_values_are_those_that_pydicom_parses():
    """pydicom's parser as an independent implementation, over all its own files."""
    compared = 0
    for path in PYDICOMS.values():
        if not recognised(path.read_bytes()[:132]):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read_header(io.BytesIO(path.read_bytes()))
            except ImageError:
                continue  # several frames, or a number of frames that is no number
            expected = pydicom.dcmread(path, force=True)
        for keyword in dicom_header.WANTED:
            if keyword in expected:
                value = expected.get_item(tag_for_keyword(keyword)).value
                if isinstance(value, bytes | None):
                    assert raw(found.data, keyword) == (value or b""), (path, keyword)
                    compared += 1
        assert ("PixelData" in expected) == (found.pixels is not None), path
    assert compared > 500


# -- bombs

SQ_OPEN = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
ITEM_OPEN = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)


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
    "deflated items": deflated(SQ_OPEN + EMPTY * 2_000_000),
    "sequences 100,000 deep": part10((SQ_OPEN + ITEM_OPEN) * 100_000),
    "a million items": part10(SQ_OPEN + EMPTY * 1_000_000),
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
import json, os, sys
from pathlib import Path
from tumorboard.data.dicom import reader
from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError

def peak(pid):
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

messages = {}
for number, path in enumerate(sorted(Path(sys.argv[1]).iterdir())):
    if number == 1:
        pids = reader.POOL.pids
        before = peak(os.getpid()), peak(*pids)
    try:
        read_image(path)
        messages[path.name] = ""
    except DataError as error:
        messages[path.name] = str(error)
grown = peak(os.getpid()) - before[0], peak(*pids) - before[1]
print(json.dumps({"messages": messages, "grown": grown, "ended": reader.POOL.pids != pids}))
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
    assert not found["ended"], "a bomb has ended the child by its time or memory"
    assert max(found["grown"]) < 100, found


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_comes_as_far_as_a_decoder(name, monkeypatch):
    monkeypatch.setattr(pixels, "get_decoder", None)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        decoded(BOMBS[name])
    assert "TypeError" not in str(explained(caught.value))


def test_a_bomb_is_refused_for_its_size():
    assert "header value of 2097152 bytes" in refused(element(ROWS, "OB", bytes(2 << 20)))
    with pytest.raises(ImageError, match="inflates beyond 32 MiB"):
        read_header(io.BytesIO(BOMBS["deflated zeros in a header"]))


def test_what_an_error_quotes_of_the_file_is_not_passed_on():
    assert str(explained(ValueError("no number: 'Doe^Jane'"))).endswith("a damaged DICOM file (ValueError)")


def test_nothing_but_what_is_wanted_is_kept():
    """Names and dates are stepped over, wherever they are."""
    secret = [(0x00100010, "PN"), (0x00100030, "DA"), (0x00080080, "LO"), (0x00104000, "LT")]
    data = sorted([*secret, *(NAMES[name] for name in ("rows", "modality"))])
    found = headed(b"".join(element(tag, vr, b"PHI!") for tag, vr in data))
    assert set(found.data) == {NAMES["rows"][0], NAMES["modality"][0]}


# -- frames and objects

ONE = {"center": 2, "width": 4}


def read(tmp_path, content: bytes, **options):
    (tmp_path / "scan").write_bytes(content)
    return read_image(tmp_path / "scan", **options).pixels


def refusal(tmp_path, content: bytes, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value)
    assert len(message) <= 300
    assert "\n" not in message
    assert message.startswith(
        f"{tmp_path}/scan: expected an image (PNG, JPEG, BMP, TIFF, WebP, DICOM, NIfTI), found "
    )
    return message.split("found ")[1]


def rle_frames(count: int) -> list[bytes]:
    """Frames of 1 x 4 values 7, of 8 bits: one segment, a run of four."""
    return [struct.pack("<16I", 1, 64, *[0] * 14) + bytes([0xFD, 7])] * count


def rle(fragments: list[bytes], frames: int | None = None) -> bytes:
    return encapsulated(fragments, RLE, rows=1, columns=4, allocated=8, frames=frames)


JPEGS = [saved(Image.new("L", (4, 4), 50), "JPEG")] * 2

# Of several frames none is chosen in silence, and the header must be right about their number.
SEVERAL = {
    "two frames": (image([1, 2], frames=2, pixels=bytes(8)), "2 frames"),
    "two compressed frames": (rle(rle_frames(2), 2), "2 frames"),
    "a frame more than the header says": (image([1, 2], pixels=bytes(8)), "more pixels than"),
    "a frame more than the header's one": (image([1, 2], frames=1, pixels=bytes(8)), "more pixels than"),
    "a compressed frame more": (rle(rle_frames(2)), "more frames than"),
    "a JPEG more": (encapsulated(JPEGS, JPEG, rows=4, columns=4, allocated=8), "more frames than"),
    "a frame less": (image([1, 2], frames=2), "2 frames"),
    "no frames": (image([1, 2], frames=0), "no number"),
    "a number of frames that is none": (image([1, 2], frames="1A"), "no number"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_frames_are_refused(name, tmp_path):
    content, expected = SEVERAL[name]
    assert expected in refusal(tmp_path, content)


def test_a_refusal_of_frames_says_how_to_go_on(tmp_path):
    assert refusal(tmp_path, SEVERAL["two frames"][0]).endswith(
        "; choose with --frames all, --frames middle or --frames N"
    )


def test_one_frame_is_read_whether_or_not_it_is_counted_and_whatever_pads_it(tmp_path):
    plain = read(tmp_path, image([1, 2, 3], **ONE))
    np.testing.assert_array_equal(read(tmp_path, image([1, 2, 3], frames=1, **ONE)), plain)
    padded = struct.pack("<4H", 1, 2, 3, 99)
    np.testing.assert_array_equal(read(tmp_path, image([1, 2, 3], pixels=padded, **ONE)), plain)
    assert read(tmp_path, rle(rle_frames(1), 1))[0, :, 0].tolist() == [7, 7, 7, 7]


def test_a_frame_in_several_fragments_is_joined(tmp_path):
    jpeg = JPEGS[0]
    whole = encapsulated([jpeg], JPEG, rows=4, columns=4, allocated=8)
    parts = encapsulated([jpeg[:100], jpeg[100:]], JPEG, rows=4, columns=4, allocated=8)
    np.testing.assert_array_equal(read(tmp_path, parts), read(tmp_path, whole))


def test_an_offset_table_of_several_frames_is_refused(tmp_path):
    content = rle(rle_frames(1))
    empty = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    table = struct.pack("<HHIII", 0xFFFE, 0xE000, 8, 0, 66)
    assert "more frames than" in refusal(tmp_path, content.replace(empty, table))


def kind(sop_class: str) -> bytes:
    return part10(elements({"sop_class": sop_class, "modality": "SR"}), media_class=sop_class)


def without(name: str) -> bytes:
    return image([1, 2], **{name: None})


FOUND = {
    "a structured report": (kind(STRUCTURED), "without an image (Basic Text SR Storage)"),
    "a presentation state": (kind(PRESENTATION), "without an image (Grayscale Softcopy Presentation State"),
    "an unknown object": (kind("1.2.3"), "without an image (unknown kind)"),
    "a header alone": (part10(elements(header(1, 2))), "without an image (CT Image Storage)"),
    "an empty data set": (part10(b""), "without an image"),
    "floating-point pixels": (
        part10(elements(header(1, 1) | {"float_pixels": bytes(4)})),
        "floating-point pixels",
    ),
    "no rows": (without("rows"), "without one value of rows"),
    "no bits": (without("allocated"), "without one value of allocated"),
    "no photometric interpretation": (without("photometric"), "photometric interpretation that is not read"),
    "two values of rows": (image([1, 2], rows=[1, 1]), "without one value of rows"),
    "pixels cut off": (image([1, 2])[:-2], "cut off after 2 of 4 bytes"),
    "fewer pixels than the header says": (image([1, 2], rows=3), "cut off after 4 of 12 bytes"),
    "no pixels": (image([1, 2], pixels=b""), "cut off after 0 of 4 bytes"),
    "24 bits": (part10(elements(header(1, 1, allocated=24) | {"pixels": bytes(4)})), "24 of 24 bits"),
    "12 of 8 bits": (image([1, 2], allocated=8, stored=12), "12 of 8 bits"),
    "a high bit of old": (image([1, 2], stored=12, high_bit=15), "up to bit 15"),
    "MPEG": (image([1, 2], syntax="1.2.840.10008.1.2.4.102"), "MPEG-4 AVC/H.264 High Profile"),
    "a private compression": (image([1, 2], syntax="1.2.3.4"), "in unknown compression"),
    "compressed pixels of defined length": (image([1, 2], syntax=J2K), "compressed pixels are cut off"),
    "a frame of no codestream": (encapsulated([b"nothing!"], J2K, rows=2, columns=2), "another kind than"),
    "compressed pixels cut off": (rle(rle_frames(1))[:-20], "compressed pixels are cut off"),
    "native pixels of undefined length": (
        encapsulated([b""], IMPLICIT, rows=1, columns=1),
        "more pixels than",
    ),
    "a value that is no number": (image([1, 2], center="1", width="x"), "(0028,1051) is no number"),
    "lossy JPEG of 12 bits": (PYDICOMS["JPGExtended.dcm"].read_bytes(), "lossy JPEG of 12 bits"),
    "another size inside": (encapsulated(JPEGS[:1], JPEG, rows=5, columns=4, allocated=8), "pixels of 4 x 4"),
    "a picture that pretends": (b"\0" * 128 + b"DICM" + grey_png(1), "DICOM"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_no_readable_image_costs_one_line(name, tmp_path):
    content, expected = FOUND[name]
    assert expected in refusal(tmp_path, content)


def test_the_pixel_limit_is_inclusive(tmp_path):
    content = image(np.ones((10, 10), int), **ONE)
    assert read(tmp_path, content, max_pixels=100).shape == (10, 10, 3)
    assert "10 x 10 pixels, more than the 99 allowed" in refusal(tmp_path, content, max_pixels=99)


def test_one_bit_images_are_black_and_white(tmp_path):
    bits = header(1, 8, allocated=1) | {"pixels": bytes([0b00100110, 0])}
    assert read(tmp_path, part10(elements(bits)))[0, :, 0].tolist() == [0, 255, 255, 0, 0, 255, 0, 0]


# -- compressed frames


def frame(name: str) -> bytes:
    return next(generate_frames(pydicom.dcmread(PYDICOMS[name]).PixelData, number_of_frames=1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JPGExtended.dcm", (1024, 256, 1, 12)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100, 3, 8)),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 3, 8)),
        ("MR_small_jpeg_ls_lossless.dcm", (64, 64, 1, 16)),
        ("MR_small_jp2klossless.dcm", (64, 64, 1, 16)),
        ("examples_jpeg2k.dcm", (480, 640, 3, 8)),
        ("693_J2KI.dcm", (512, 512, 1, 16)),
    ],
)
def test_sizes_are_those_of_pydicoms_files(name, expected):
    assert frame_size(frame(name)) == expected


@pytest.mark.parametrize("options", [{"progressive": True}, {"comment": b"\xff\xc0" * 9}, {"quality": 1}])
def test_jpegs_of_every_kind_are_measured(options):
    assert frame_size(saved(Image.new("RGB", (31, 17)), "JPEG", **options)) == (17, 31, 3, 8)


def test_jpeg_2000_in_a_box_is_measured():
    boxed = io.BytesIO()
    Image.new("L", (31, 17)).save(boxed, "JPEG2000", no_jp2=False)
    assert frame_size(boxed.getvalue())[:3] == (17, 31, 1)
    assert boxed.getvalue().startswith(pixels.BEGINNINGS)


def test_jpeg_2000_is_measured_from_its_offset():
    values = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 110, 70, 10, 20, 100, 100, 0, 0, 1, 0x8B, 1, 1)
    assert frame_size(b"\xff\x4f\xff\x51" + values) == (50, 100, 1, 12)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\0\x10",
        b"\xff\xd8\xff\xda\0\2\0",
        b"\xff\x4f\xff\x51\0",
        b"\0" * 99,
    ],
)
def test_what_has_no_size_is_refused(data):
    with pytest.raises(ImageError, match="compressed pixels are damaged"):
        frame_size(data)


def test_a_million_tiles_are_too_many():
    with pytest.raises(ImageError, match="has 1000000 tiles"):
        frame_size(j2k(1000, 1000, 1))


MUTANTS = 1000
SEEDS = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_padded.dcm",
    "6154",
    "SC_rgb_small_odd.dcm",
    "rtdose_1frame.dcm",
    "test-SR.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "JPEGLSNearLossless_08.dcm",
]
"""Small files of pydicom's: every native encoding, and every codec."""


def mutant(content: bytes, draw: random.Random) -> bytes:
    """Cut off, changed, lengthened or shortened at one place or several; in the header as often as not."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        place = draw.randrange(min(len(changed), draw.choice([1500, len(content), len(content)])))
        kind = draw.choice(["change"] * 9 + ["insert", "delete", "cut"])
        if kind == "change":
            changed[place] = draw.choice([0, 255, draw.randrange(256)])
        elif kind == "insert":
            changed[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif kind == "delete" and len(changed) > 200:
            del changed[place : place + draw.randrange(1, 9)]
        elif place > 132:
            del changed[place:]
    return bytes(changed)


def outcome(path: Path) -> tuple[Pixels | None, str]:
    try:
        return read_image(path).pixels, ""
    except DataError as error:
        return None, str(error)


def test_mutants_are_read_or_refused_in_one_line(tmp_path, capfd):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path, read, draw = tmp_path / "mutant", 0, random.Random(20)  # noqa: S311
    originals = [PYDICOMS[name].read_bytes() for name in SEEDS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(MUTANTS):
            path.write_bytes(mutant(originals[number % len(originals)], draw))
            pixels, message = outcome(path)
            assert len(message) <= 300
            assert "\n" not in message
            assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2] == 3)
            read += pixels is not None
    assert 100 < read < MUTANTS - 100
    assert capfd.readouterr() == ("", "")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024


FATAL = {
    "an abort in GDCM": ("SC_rgb_jpeg_gdcm.dcm", {37: 0}),
    "a segmentation fault in GDCM": ("SC_rgb_jpeg_gdcm.dcm", {22: 255}),
    "an endless loop in CharLS": ("SC_rgb_jls_lossy_line.dcm", {80: 239, 508: 41}),
}
"""Bytes of the codestream, changed; found by trying. In this process they would end or hang all the tests."""


@pytest.mark.parametrize("name", FATAL)
def test_a_decoder_that_dies_costs_a_line_and_the_next_file_is_read(name, tmp_path):
    original, changes = FATAL[name]
    content = bytearray(PYDICOMS[original].read_bytes())
    start = content.index(b"\xff\xd8\xff", content.index(b"\xe0\x7f\x10\0"))
    for place, value in changes.items():
        content[start + place] = value
    (tmp_path / "bad.dcm").write_bytes(content)
    pixels, message = outcome(tmp_path / "bad.dcm")
    assert pixels is None
    assert "found DICOM with damaged" in message
    assert outcome(PYDICOMS[original])[1] == ""


def test_a_worker_that_something_else_kills_is_replaced_and_its_file_is_not_called_damaged():
    reader.POOL.close()
    expected = read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"]).pixels
    (killed,) = reader.POOL.pids
    os.kill(killed, signal.SIGKILL)
    np.testing.assert_array_equal(read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"]).pixels, expected)
    assert killed not in reader.POOL.pids
    reader.POOL.close()


def test_groups_that_cannot_be_read_are_one_line(tmp_path, monkeypatch):
    for label in ("a", "b"):
        for number in range(2):
            path = tmp_path / "data" / label / f"{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PYDICOMS["MR_small.dcm"].read_bytes())

    def ended(*_):
        raise sandbox.SandboxEndedError

    monkeypatch.setattr(reader.POOL, "ask", ended)
    with pytest.raises(DataError, match=r"which DICOM files show one patient.*ended twice"):
        manifest.load(tmp_path / "data")


def test_a_machine_that_starts_no_process_is_not_a_damaged_file(monkeypatch):
    reader.POOL.close()
    monkeypatch.setattr(sandbox.sys, "executable", "/no/python")
    with pytest.raises(SandboxStartError, match="No such file"):
        read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"])


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("MR_small_jp2klossless.dcm", "pylibjpeg pylibjpeg-openjpeg"),
        ("MR_small_jpeg_ls_lossless.dcm", "pyjpegls"),
        ("SC_rgb_jpeg_gdcm.dcm", "python-gdcm"),
    ],
)
def test_a_missing_codec_names_its_package(name, package, monkeypatch):
    monkeypatch.setattr(pixels, "find_spec", lambda module: None)
    with pytest.raises(ImageError, match=r"without its codec$") as caught:
        decoded(PYDICOMS[name].read_bytes())
    assert caught.value.remedy == optional.install(*package.split())


@pytest.mark.parametrize("codec", sorted(set(pixels.CODECS.values())))
def test_every_codec_is_installed_here(codec):
    assert find_spec(codec.module)


def test_lossless_compressions_give_the_uncompressed_picture():
    plain = read_image(PYDICOMS["MR_small.dcm"]).pixels
    for name in ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded"):
        np.testing.assert_array_equal(read_image(PYDICOMS[f"MR_small_{name}.dcm"]).pixels, plain, name)


class Other:
    """A decoder that gives another form than it was asked for."""

    def as_array(self, content, **options):
        return np.zeros((2, 2), np.uint8), {}


def test_a_frame_of_another_form_than_asked_for_is_refused(monkeypatch):
    monkeypatch.setattr(pixels, "get_decoder", lambda syntax: Other())
    with pytest.raises(ImageError, match="another form than its header says"):
        decoded(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"].read_bytes())


def test_a_mask_of_a_mammogram_is_read_however_small_its_frame(tmp_path):
    mask = Image.new("L", (3328, 4096))
    mask.paste(255, (100, 100, 200, 200))
    frame = saved(mask, "JPEG2000", no_jp2=True)
    assert len(frame) < 20_000
    (tmp_path / "mask").write_bytes(encapsulated([frame], J2K, rows=4096, columns=3328, allocated=8))
    assert read_image(tmp_path / "mask").pixels[..., 0].sum(dtype=int) == 255 * 100 * 100


def test_codestreams_under_a_wrong_transfer_syntax_are_refused(tmp_path):
    jpeg = saved(Image.new("L", (8, 8), 100), "JPEG")
    (tmp_path / "x").write_bytes(encapsulated([jpeg], JPEG_LS, rows=8, columns=8, allocated=8))
    with pytest.raises(DataError, match="damaged JPEG-LS pixels"):
        read_image(tmp_path / "x")
    (tmp_path / "x").write_bytes(image([1, 2], syntax=LOSSLESS))
    with pytest.raises(DataError, match="compressed pixels"):
        read_image(tmp_path / "x")
