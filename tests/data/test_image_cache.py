import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tumorboard import config, storage
from tumorboard.data import image_cache
from tumorboard.data.image_cache import decode, pixel_digest
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.manifest import load
from tumorboard.errors import DataError, StorageError

from .pictures import GREY, bmp, chunk, grey_png, plant, png, saved, tiff

RULE = config.Image(size=32)


@pytest.fixture
def data(tmp_path):
    files = {f"{name}/{n}.png": grey_png(50 * n + step) for step, name in enumerate("ab") for n in range(3)}
    return plant(tmp_path / "data", files)


def forbid_reading(monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("read again")

    monkeypatch.setattr(image_cache, "read_image", fail)


def test_rows_are_the_images_in_the_manifests_order(data, tmp_path):
    manifest = load(data).manifest
    decoded = decode(manifest, tmp_path / "cache", RULE)
    expected = np.stack([to_input(read_image(sample.path).pixels, RULE) for sample in manifest.samples])
    np.testing.assert_array_equal(decoded.images, expected)
    assert decoded.images.dtype == np.uint8
    assert decoded.manifest == manifest
    with pytest.raises(ValueError, match="read-only"):
        decoded.images[0] = 0


def test_more_images_than_are_held_at_once_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "_AT_ONCE", 4)
    plant(tmp_path, {f"{name}/{n}.png": grey_png(n, 32) for name in "ab" for n in range(9)})
    decoded = decode(load(tmp_path).manifest, tmp_path / "cache", RULE)
    assert decoded.images[:, 0, 0, 0].tolist() == [*range(9), *range(9)]


def test_decoded_once(data, tmp_path, monkeypatch):
    manifest = load(data).manifest
    first = decode(manifest, tmp_path / "cache", RULE)
    forbid_reading(monkeypatch)
    again = decode(manifest, tmp_path / "cache", RULE)
    np.testing.assert_array_equal(first.images, again.images)
    assert again.pixel_sha256 == first.pixel_sha256


def test_content_and_rule_are_the_key_and_names_are_not(data, tmp_path, monkeypatch):
    manifest = load(data).manifest
    decode(manifest, tmp_path / "cache", RULE)
    data.rename(tmp_path / "moved")
    moved = load(tmp_path / "moved").manifest
    with monkeypatch.context() as patch:
        forbid_reading(patch)
        assert decode(moved, tmp_path / "cache", RULE).manifest == moved
        for change in ({"size": 33}, {"resize": "pad"}, {"interpolation": "box"}):
            with pytest.raises(AssertionError, match="read again"):
                decode(moved, tmp_path / "cache", RULE.model_copy(update=change))
    (tmp_path / "moved" / "a" / "0.png").write_bytes(grey_png(99))
    changed = decode(load(tmp_path / "moved").manifest, tmp_path / "cache", RULE)
    assert (changed.images[0] == 99).all()


def test_parts_of_the_same_images_share_them_in_their_own_order(data, tmp_path, monkeypatch):
    plant(data, {"b/again.png": grey_png(50)})  # the same file as a/1.png
    whole = load(data).manifest
    first = decode(whole, tmp_path / "cache", RULE)
    forbid_reading(monkeypatch)
    picked = [6, 1, 4]
    part = decode(replace(whole, samples=tuple(whole.samples[i] for i in picked)), tmp_path / "cache", RULE)
    assert [sample.id for sample in part.manifest.samples] == [whole.samples[i].id for i in picked]
    np.testing.assert_array_equal(part.images[:], np.array(first.images)[picked])
    assert part.pixel_sha256 == tuple(first.pixel_sha256[i] for i in picked)
    with pytest.raises(DataError, match="1 of 4 images cannot be read"):
        decode(part.manifest, tmp_path / "cache", RULE, problems=("no file",))


def test_good_images_are_shared_though_others_beside_them_were_bad(data, tmp_path, monkeypatch):
    plant(data, {"a/bad.png": b"not an image"})
    good = decode(load(data).manifest, tmp_path / "cache", RULE, skip_bad=True)
    forbid_reading(monkeypatch)
    again = decode(good.manifest, tmp_path / "cache", RULE)
    np.testing.assert_array_equal(again.images[:], good.images)
    assert again.problems == ()


def test_images_never_have_the_facts_of_others(data, tmp_path, monkeypatch):
    decode(load(data).manifest, tmp_path / "cache", RULE)
    (data / "a" / "0.png").write_bytes(grey_png(255))
    replaced, replace_file = [], os.replace

    def stopped(source, target):
        if replaced:
            raise KeyboardInterrupt  # the facts have their name by now, the images not yet
        replaced.append(target)
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            decode(load(data).manifest, tmp_path / "cache", RULE)
    assert (decode(load(data).manifest, tmp_path / "cache", RULE).images[0] == 255).all()


def test_other_images_than_those_that_lie_there_are_decoded(data, tmp_path):
    whole = load(data).manifest
    decode(replace(whole, samples=whole.samples[:5]), tmp_path / "cache", RULE)
    found = decode(whole, tmp_path / "cache", RULE)
    assert found.images[5, 0, 0, 0] == read_image(whole.samples[5].path).pixels[0, 0, 0]


@pytest.mark.parametrize("damage", ["short", "no facts", "odd facts"])
def test_a_damaged_cache_is_made_again(damage, data, tmp_path):
    manifest = load(data).manifest
    first = np.array(decode(manifest, tmp_path / "cache", RULE).images)
    rows, facts = next((tmp_path / "cache").glob("*.u8")), next((tmp_path / "cache").glob("*.json"))
    if damage == "short":
        os.truncate(rows, 100)
    elif damage == "no facts":
        facts.unlink()
    else:
        facts.write_text(json.dumps([1]), encoding="utf-8")
    np.testing.assert_array_equal(decode(manifest, tmp_path / "cache", RULE).images, first)


def test_twins_share_a_pixel_hash_across_formats_and_shapes_count(tmp_path):
    files = {
        "a/1.png": grey_png(7, 4),
        "a/2.bmp": saved(Image.new("RGB", (4, 4), (7, 7, 7)), "BMP"),
        "b/1.png": png(2, 8, 8, GREY, b"\x07" * 16),
        "b/2.png": grey_png(8, 4),
    }
    one, twin, reshaped, other = decode(
        load(plant(tmp_path, files)).manifest, tmp_path / "cache", RULE
    ).pixel_sha256
    assert one == twin
    assert len({one, reshaped, other}) == 3
    assert one == pixel_digest(np.full((4, 4, 3), 7, np.uint8))


def test_progress_counts_every_image(data, tmp_path):
    seen = []
    decode(load(data).manifest, tmp_path / "cache", RULE, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_every_bad_file_is_named_at_once(data, tmp_path):
    plant(data, {"a/text.png": b"not an image", "b/cut.png": grey_png(1)[:40], "b/empty.png": b""})
    loaded = load(data)
    for _ in range(2):  # the second call finds the cache of the first
        with pytest.raises(DataError, match=r"3 of 9 images cannot be read; .* --skip-bad") as caught:
            decode(loaded.manifest, tmp_path / "cache", RULE, problems=loaded.problems)
        listed = "\n".join(caught.value.details)
        assert len(caught.value.details) == 3
        assert all(name in listed for name in ("text.png", "cut.png", "empty.png"))


def test_one_bad_file_is_in_the_message_itself(data, tmp_path):
    plant(data, {f"a/{'long' * 40}.png": b"not an image"})
    with pytest.raises(DataError, match=r"1 of 7 .*long\.png") as caught:
        decode(load(data).manifest, tmp_path / "cache", RULE)
    assert len(str(caught.value)) <= 300


def test_skip_bad_goes_on_with_the_rest(data, tmp_path, monkeypatch):
    plant(data, {"a/1-text.png": b"not an image", "b/empty.png": b""})
    loaded = load(data)
    first = decode(loaded.manifest, tmp_path / "cache", RULE, skip_bad=True, problems=loaded.problems)
    assert len(first.problems) == 2
    assert "a/1-text.png" not in first.manifest.ids
    expected = np.stack([to_input(read_image(sample.path).pixels, RULE) for sample in first.manifest.samples])
    np.testing.assert_array_equal(first.images, expected)
    assert len(first.pixel_sha256) == len(first.manifest.samples) == 6
    forbid_reading(monkeypatch)
    again = decode(loaded.manifest, tmp_path / "cache", RULE, skip_bad=True, problems=loaded.problems)
    assert again.manifest == first.manifest
    np.testing.assert_array_equal(again.images, first.images)


def test_skipping_may_leave_too_little(data, tmp_path):
    for n in range(2):
        (data / "a" / f"{n}.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match="found 1 of 'a'"):
        decode(load(data).manifest, tmp_path / "cache", RULE, skip_bad=True)


def test_notes_are_collected(data, tmp_path):
    frames = Image.new("L", (8, 8), 5)
    plant(data, {"a/pages.png": saved(frames, "TIFF", save_all=True, append_images=[frames])})
    notes = decode(load(data).manifest, tmp_path / "cache", RULE).notes
    assert len(notes) == 1
    assert "pages.png" in notes[0]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(data, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        decode(load(data).manifest, tmp_path / "cache", RULE)
    assert [one.name for one in (tmp_path / "cache").iterdir() if not one.name.startswith(".turn")] == []


def test_labels_and_parts_do_not_matter_to_the_cache(data, tmp_path, monkeypatch):
    manifest = load(data).manifest
    decode(manifest, tmp_path / "cache", RULE)
    moved = replace(manifest, samples=tuple(replace(s, split="train") for s in manifest.samples))
    forbid_reading(monkeypatch)
    assert decode(moved, tmp_path / "cache", RULE).manifest == moved


def planted_problems(folder):
    """Thirty files that must be named, of every kind that this system lets a test make."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    contents = {
        "zero": b"",
        "text": b"not an image",
        "html": b"<!doctype html>",
        "svg": b"<svg/>",
        "gif": saved(noise, "GIF"),
        "pdf": b"%PDF-1.7",
        "zip": b"PK\x03\x04",
        "dicom": b"\0" * 128 + b"DICM",
        "nulls": b"\0" * 500,
        "bomb": png(60_000, 60_000, 1, GREY, b""),
        "bomb beyond the limit": png(10_001, 10_000, 1, GREY, b""),
        "float": tiff("<", 1, 1, 32, 1, b"\0\0\xa0\x40", sample_format=3),
        "lab": tiff("<", 1, 1, 8, 8, b"\x80\x40\x01", samples=3),
        "negative": tiff("<", 1, 1, 16, 1, b"\xff\xff", sample_format=2),
        "bmp header": bmp(40, 40, b""),
        **{f"half a {kind}": saved(noise, kind)[:700] for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")},
    }
    plant(folder / "a", {f"bad {name}.png": content for name, content in contents.items()})
    a = folder / "a"
    (a / "bad folder.png").mkdir()
    (a / "bad dangling.png").symlink_to("gone")
    (a / "bad itself.png").symlink_to("bad itself.png")
    (a / "bad device.png").symlink_to("/dev/zero")
    (a / "bad loop").symlink_to(a)
    os.mkfifo(a / "bad pipe.png")
    plant(
        folder, {"a/bad line\nbreak.png": grey_png(1), "bad stray.png": grey_png(1), "a/bad huge.png": b"x"}
    )
    os.truncate(a / "bad huge.png", 2 << 30)
    with open(os.fsencode(a) + b"/bad latin \xe9.png", "wb") as file:
        file.write(grey_png(1))


def test_thirty_planted_problems_are_all_named_and_no_good_file(tmp_path):
    data = plant(tmp_path / "data", {f"{c}/{n}.png": grey_png(n % 256, 4) for c in "ab" for n in range(500)})
    planted_problems(data)
    loaded = load(data)
    with pytest.raises(DataError, match=r"30 of 1030 images cannot be read") as caught:
        decode(loaded.manifest, tmp_path / "cache", RULE, problems=loaded.problems)
    assert all("bad " in line for line in caught.value.details)
    assert all(len(line) <= 300 and "\n" not in line for line in caught.value.details)


def deep(largest, chunks=b""):
    """A 16-bit PNG, wholly of one value."""
    return png(4, 4, 16, GREY, largest.to_bytes(2, "big") * 16, chunks)


DEPTHS = {
    "the largest value of all": ({"a/1.png": deep(700), "b/1.png": deep(3000)}, {}, 12),
    "not only of 16 bits": ({"a/1.png": deep(700), "b/1.png": grey_png(255)}, {}, 10),
    "a full range": ({"a/1.png": deep(700), "b/1.png": deep(65535)}, {}, 16),
    "8 bits in 16": ({"a/1.png": deep(255), "b/1.png": deep(1)}, {}, 8),
    "test is not looked at": (
        {
            f"{s}/{c}/{n}.png": deep(9000 if s == "test" else 700)
            for s in ("train", "test")
            for c in "ab"
            for n in "12"
        },
        {},
        10,
    ),
    "a preset is for other values": ({"a/1.png": deep(3000), "b/1.png": grey_png(1)}, {"window": "lung"}, 12),
    "a window needs none": ({"a/1.png": deep(3000), "b/1.png": grey_png(1)}, {"window": "40,400"}, "auto"),
    "8 bits": ({"a/1.png": grey_png(1), "b/1.png": grey_png(2)}, {}, "auto"),
    "declared": (
        {"a/1.png": deep(3000, chunk(b"sBIT", b"\x0e")), "b/1.png": tiff("<", 2, 1, 12, 1, b"\xff\xf0\1")},
        {},
        "auto",
    ),
    "given": ({"a/1.png": deep(700), "b/1.png": deep(3000)}, {"depth": 16}, 16),
    "values that need a window": (
        {"a/1.png": deep(700), "b/1.png": tiff("<", 1, 1, 32, 1, b"\0\0\1\0")},
        {},
        10,
    ),
    "damaged files": ({"a/1.png": deep(700), "b/1.png": deep(3000)[:50], "b/2.png": b""}, {}, 10),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_a_data_set_has_one_depth(name, tmp_path):
    files, settings, expected = DEPTHS[name]
    files |= {f"{label}/more.png": grey_png(9) for label in "ab" if "/a/" not in "".join(files)}
    manifest = load(plant(tmp_path / "data", files)).manifest
    found = image_cache.with_depth(config.Image(**settings), manifest.samples)
    assert found == config.Image(**settings | {"depth": expected})


def test_depths_of_many_images_are_found_with_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "_AT_ONCE", 4)
    files = {f"{label}/{n}.png": deep(100 * n) for label in "ab" for n in range(1, 11)}
    seen = []
    samples = load(plant(tmp_path, files)).manifest.samples
    found = image_cache.with_depth(config.Image(), samples, lambda done, total: seen.append((done, total)))
    assert found.depth == 10
    assert seen == [(4, 20), (8, 20), (12, 20), (16, 20), (20, 20)]


def test_another_reader_reads_again(data, tmp_path, monkeypatch):
    manifest = load(data).manifest
    decode(manifest, tmp_path / "cache", RULE)
    forbid_reading(monkeypatch)
    monkeypatch.setattr(image_cache, "READER_VERSION", image_cache.READER_VERSION + 1)
    with pytest.raises(AssertionError, match="read again"):
        decode(manifest, tmp_path / "cache", RULE)
