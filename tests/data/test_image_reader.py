import os
import pickle
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL import Image as Pillow

from tumorboard import config
from tumorboard.data import image_cache, manifest
from tumorboard.data.image_reader import read_image, read_input, to_input
from tumorboard.errors import DataError, display

from .pictures import GREY, RGB, bmp, chunk, grey_png, png, saved, tiff

MUTANTS = 200

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8))


def written(folder: Path, content: bytes, name: str = "picture.png") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert len(message) <= 300
    assert "\n" not in message
    assert path.name[-20:] in message
    return message


# -- bombs (nothing may be decoded)

WIDE = struct.pack(">II", 9400, 9400)
BOMBS = {
    "png 9400x9400": png(9400, 9400, 1, GREY, b""),
    "png beyond Pillow's own limit": png(100_000, 100_000, 1, GREY, b""),
    "apng": png(9400, 9400, 8, RGB, b"", chunk(b"acTL", struct.pack(">II", 2, 0))),
    "tiff": tiff("<", 9400, 9400, 1, 1, b"\0"),
    "tiff of several pages": tiff(">", 9400, 9400, 16, 1, b"\0") * 3,
    "bmp": bmp(9400, 9400, b"\0"),
    "jpeg": saved(NOISE, "JPEG").replace(struct.pack(">HH", 24, 31), struct.pack(">HH", 65000, 65000)),
    "webp": b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8L"
    + struct.pack("<IBI", 10, 0x2F, 0x0FFFFFFF)
    + b"\0" * 5,
    "text that inflates to 40 MB": png(
        1, 1, 8, GREY, b"\0", chunk(b"zTXt", b"a\0\0" + zlib.compress(b" " * 40_000_000))
    ),
    "profile that inflates to 40 MB": png(
        9400, 9400, 8, GREY, b"", chunk(b"iCCP", b"a\0\0" + zlib.compress(b" " * 40_000_000))
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image))
    refusal(written(tmp_path, BOMBS[name]), max_pixels=25_000_000)
    assert decoded == []


def test_the_pixel_limit_is_inclusive(tmp_path):
    path = written(tmp_path, grey_png(7, 10))
    assert read_image(path, max_pixels=100).pixels.shape == (10, 10, 3)
    assert "10 x 10 pixels, more than the 99 allowed" in refusal(path, max_pixels=99)


@pytest.mark.parametrize("kind", ["png of 1 bit", "png", "jpeg", "webp", "tiff"])
def test_a_blank_or_a_mask_of_a_mammogram_is_read_however_small_its_file(kind, tmp_path):
    """Below the limit of pixels their ratio to the bytes is no evidence of a bomb."""
    size, mask = (3328, 4096), Image.new("L", (3328, 4096))
    mask.paste(255, (100, 100, 200, 200))
    content = {
        "png of 1 bit": lambda: saved(mask.convert("1"), "PNG"),
        "png": lambda: saved(mask, "PNG"),
        "jpeg": lambda: saved(mask, "JPEG", optimize=True, progressive=True, quality=90),
        "webp": lambda: saved(mask, "WEBP", lossless=True),
        "tiff": lambda: saved(mask, "TIFF", compression="tiff_adobe_deflate"),
    }[kind]()
    assert len(content) < 100_000
    pixels = read_image(written(tmp_path, content), max_pixels=25_000_000).pixels
    assert pixels.shape == (*size[::-1], 3)
    assert (pixels[120:180, 120:180] == 255).all()
    assert not pixels[300:].any()


def test_a_large_picture_is_read(tmp_path):
    stripes = bytes(range(250)) * 10 * 2400
    assert read_image(written(tmp_path, png(2500, 2400, 8, GREY, stripes))).pixels.shape == (2400, 2500, 3)


# -- other formats under an image's name

SMALL = Image.new("RGB", (8, 8), (90, 20, 40))
WRITTEN_BY_PILLOW = ["GIF", "PPM", "TGA", "PCX", "EPS", "PDF", "SGI", "ICO", "DDS", "DIB", "JPEG2000"]
MAGIC = {
    "fits": b"SIMPLE  =                    T".ljust(2880),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "xml": b"<?xml version='1.0'?><a/>",
    "html": b"<!doctype html><title>a</title>",
    "json": b'{"a": 1}',
    "csv": b"path,label\na,b\n",
    "text": b"not an image",
    "dicom": b"\0" * 128 + b"DICM",
    "nifti": struct.pack("<i", 348).ljust(352, b"\0"),
    "exr": b"v/1\x01".ljust(64, b"\0"),
    "hdr": b"#?RADIANCE\n",
    "psd": b"8BPS\0\x01".ljust(64, b"\0"),
    "xcf": b"gimp xcf v011\0",
    "heic": b"\0\0\0\x18ftypheic".ljust(32, b"\0"),
    "avif": b"\0\0\0\x18ftypavif".ljust(32, b"\0"),
    "mp4": b"\0\0\0\x18ftypmp42".ljust(32, b"\0"),
    "zip": b"PK\x03\x04".ljust(40, b"\0"),
    "gzip": b"\x1f\x8b\x08".ljust(40, b"\0"),
    "bzip2": b"BZh91AY&SY",
    "xz": b"\xfd7zXZ\0",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "rar": b"Rar!\x1a\x07\0",
    "tar": b"a".ljust(257, b"\0") + b"ustar".ljust(255, b"\0"),
    "elf": b"\x7fELF".ljust(64, b"\0"),
    "exe": b"MZ".ljust(64, b"\0"),
    "pickle": pickle.dumps([1, 2]),
    "npy": b"\x93NUMPY\x01\0",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "mp3": b"ID3\x03".ljust(32, b"\0"),
    "ogg": b"OggS".ljust(32, b"\0"),
    "webm": b"\x1a\x45\xdf\xa3".ljust(32, b"\0"),
    "wmf": b"\xd7\xcd\xc6\x9a".ljust(64, b"\0"),
    "sqlite": b"SQLite format 3\0",
}
FOREIGN = {name.lower(): saved(SMALL, name) for name in WRITTEN_BY_PILLOW} | MAGIC


def test_there_are_forty_foreign_formats():
    assert len(FOREIGN) >= 40


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_format_is_refused_whatever_its_name(name, tmp_path):
    refusal(written(tmp_path, FOREIGN[name]))


def test_the_content_decides_and_not_the_extension(tmp_path):
    path = written(tmp_path, saved(SMALL, "BMP"), "really-a-bmp.jpg")
    np.testing.assert_array_equal(read_image(path).pixels, np.asarray(SMALL))


# -- orientation

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
AS_STORED = {  # what a camera stores for each orientation, so that PICTURE is what is seen
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.T,
    6: np.rot90(PICTURE, 1),
    7: np.rot90(PICTURE, 2).T,
    8: np.rot90(PICTURE, -1),
}


def exif(orientation: int) -> bytes:
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("kind", ["png", "tiff", "tiff 16"])
def test_all_orientations_give_the_same_pixels(kind, orientation, tmp_path):
    stored = AS_STORED[orientation]
    height, width = stored.shape
    if kind == "png":
        content = png(width, height, 8, GREY, stored.tobytes(), chunk(b"eXIf", exif(orientation)))
    elif kind == "tiff":
        content = tiff("<", width, height, 8, 1, stored.tobytes(), orientation=orientation)
    else:
        deep = (stored.astype(int) << 8).astype(">u2").tobytes()
        content = tiff(">", width, height, 16, 1, deep, orientation=orientation)
    np.testing.assert_array_equal(read_image(written(tmp_path, content)).pixels[..., 1], PICTURE)


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_orientation_of_photos(format_, tmp_path):
    halves = Image.new("RGB", (16, 16))
    halves.paste((255, 255, 255), (0, 0, 8, 16))  # white on the left as stored: on top once turned right
    found = read_image(
        written(tmp_path, saved(halves, format_, exif=b"Exif\0\0" + exif(6), quality=100))
    ).pixels
    assert found[:7].min() > 250
    assert found[9:].max() < 5


# -- more than one frame


def frames(format_: str) -> bytes:
    first, second = Image.new("RGB", (16, 16), (10, 20, 30)), Image.new("RGB", (16, 16), (200, 0, 0))
    options = {"lossless": True} if format_ == "WEBP" else {}
    return saved(first, format_, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read_and_noted(format_, tmp_path):
    path = written(tmp_path, frames(format_), "many.frames")
    image = read_image(path)
    pixels, notes = image.pixels, image.notes
    assert np.abs(pixels.astype(int) - [10, 20, 30]).max() <= (2 if format_ == "MPO" else 0)
    assert len(notes) == 1
    assert "many.frames" in notes[0]
    assert "only the first is read" in notes[0]


def test_a_single_frame_has_no_note(tmp_path):
    assert read_image(written(tmp_path, saved(SMALL, "TIFF"))).notes == ()


# -- what is no regular file


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.symlink_to(path.with_name("gone")), "No such file"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
    ],
    ids=["missing", "folder", "empty", "link to itself", "dangling link", "device"],
)
def test_only_regular_files_are_opened(make, reason, tmp_path):
    path = tmp_path / "picture.png"
    make(path)
    assert reason in refusal(path)


def test_a_pipe_does_not_hang(tmp_path):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: refusal(path), daemon=True)
    reader.start()
    reader.join(timeout=10)
    assert not reader.is_alive()


def test_a_huge_sparse_file_is_refused_unread(tmp_path):
    path = written(tmp_path, grey_png(1))
    os.truncate(path, 3 << 30)
    assert "bytes, more than the" in refusal(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    path = written(tmp_path, grey_png(1))

    def denied(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refusal(path)


# -- damage

SOUND = {
    "PNG": saved(NOISE, "PNG"),
    "JPEG": saved(NOISE, "JPEG", exif=b"Exif\0\0" + exif(6)),
    "TIFF": saved(NOISE, "TIFF"),
    "TIFF, compressed": saved(NOISE, "TIFF", compression="tiff_lzw"),
    "BMP": saved(NOISE, "BMP"),
    "WEBP": saved(NOISE, "WEBP"),
}


def mutant(content: bytes, draw: random.Random) -> bytes:
    """Truncate, flip, insert or delete, near the header half of the time."""
    reach = len(content) if draw.random() < 0.5 else min(200, len(content))
    changed, at = bytearray(content), draw.randrange(reach)
    kind = draw.choice(["truncate", "flip", "insert", "delete"])
    if kind == "truncate":
        return bytes(changed[:at])
    if kind == "flip":
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(reach)] ^= 1 << draw.randrange(8)
    elif kind == "insert":
        changed[at:at] = draw.randbytes(draw.randint(1, 16))
    else:
        del changed[at : at + draw.randint(1, 16)]
    return bytes(changed)


def test_a_damaged_file_is_decoded_or_one_error(tmp_path):
    draw = random.Random(20)  # noqa: S311 - damage, not secrets
    images, messages = [], []
    for number in range(MUTANTS):
        path = written(tmp_path, mutant(SOUND[draw.choice(sorted(SOUND))], draw), f"mutant-{number}.png")
        try:
            images.append(read_image(path).pixels)
        except DataError as error:
            messages.append(str(error))
    assert all(len(message) <= 300 and "\n" not in message for message in messages)
    assert all(image.dtype == np.uint8 and image.shape[2:] == (3,) for image in images)
    assert min(len(images), len(messages)) > MUTANTS // 20


def test_what_a_decoder_raises_by_accident_is_one_error(tmp_path, monkeypatch):
    path = written(tmp_path, grey_png(1))
    for error in (MemoryError(), RecursionError("deep"), KeyError(3), struct.error("x\ny"), zlib.error("z")):

        def broken(_image: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", broken)
        refusal(path)


# -- from memory


@pytest.mark.parametrize("content", [saved(NOISE, "PNG"), b"", b"no image"], ids=["good", "empty", "other"])
def test_bytes_and_a_file_are_read_alike(content, tmp_path):
    path = written(tmp_path, content)

    def outcome(read):
        try:
            image = read()
        except DataError as error:
            return str(error)
        return image.pixels.tolist(), image.notes

    assert outcome(lambda: read_image(content, name=path)) == outcome(lambda: read_image(path))


# -- messages and warnings


def test_names_are_shown_on_one_line():
    assert display(Path("a\nb\udcff.png")) == "a\\nb\\udcff.png"
    assert len(display("x" * 255)) == 100


def test_the_processs_warning_filters_stay(tmp_path):
    path = written(tmp_path, grey_png(1))
    before = list(warnings.filters)
    readers = [threading.Thread(target=lambda: [read_image(path) for _ in range(50)]) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert list(warnings.filters) == before


def test_a_file_read_alone_equals_the_same_file_in_training(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    rule = config.Image(size=32, resize="pad", interpolation="bicubic")
    decoded = image_cache.decode(manifest.load(tmp_path / "scans").manifest, tmp_path / "cache", rule)
    for sample, image in zip(decoded.manifest.samples, decoded.images, strict=True):
        assert np.array_equal(read_input(str(sample.path), rule), image)
        assert np.array_equal(read_input(sample.path.read_bytes(), rule), image)


def test_stretch_fills_the_square():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 200
    found = to_input(image, config.Image(size=32, interpolation="box"))
    assert found.shape == (32, 32, 3)
    assert found.dtype == np.uint8
    assert (found[:, :16] == 0).all()
    assert (found[:, 16:] == 200).all()


def test_pad_keeps_the_shape_and_centres_on_black():
    found = to_input(np.full((10, 20, 3), 200, np.uint8), config.Image(size=40, resize="pad"))
    assert (found[10:30] == 200).all()
    assert (found[:10] == 0).all()
    assert (found[30:] == 0).all()


def test_pad_of_a_line_keeps_a_pixel():
    found = to_input(np.full((1, 900, 3), 200, np.uint8), config.Image(size=32, resize="pad"))
    assert (found == 200).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "box"])
def test_shrinking_is_antialiased(interpolation):
    board = np.zeros((256, 256, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    found = to_input(board, config.Image(size=32, interpolation=interpolation))
    assert np.abs(found[4:-4, 4:-4].astype(int) - 127).max() <= 3


def test_an_image_of_the_right_size_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(to_input(image, config.Image(size=32)), image)
