"""Slices of volumes as images: which are chosen, what they show, and what is refused."""

import os
import struct
import tracemalloc

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.data.dicoms import JPEG, PYDICOMS, RLE, encapsulated, frames, image
from tests.data.pictures import grey_png, plant, saved
from tumorboard.config import parse_frames
from tumorboard.data import manifest, sandbox, volumes
from tumorboard.data.dicom import header
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.dicom.pixels import stored_pixels
from tumorboard.data.image_reader import read_image, split_address
from tumorboard.errors import DataError, UsageError

FULL = {"center": 32768, "width": 65536, "function": "LINEAR_EXACT"}
"""A window that shows value >> 8."""
STACK = np.arange(1, 8, dtype=np.uint16)[:, None, None] * np.full((7, 2, 3), 10 * 257, np.uint16)


def shown(paths):
    """The grey of each slice's first pixel."""
    return [int(read_image(path).pixels[0, 0, 0]) for path in paths]


@pytest.fixture
def stack(tmp_path):
    return plant(tmp_path, {"stack": frames(STACK, **FULL)}) / "stack"


# -- which slices


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        ("all", [1, 2, 3, 4, 5, 6, 7]),
        ("middle", [4]),
        (1, [4]),
        (2, [2, 6]),
        (3, [2, 4, 6]),
        (7, [1, 2, 3, 4, 5, 6, 7]),
        (100, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_all_slices_are_chosen_or_some_at_even_distances(choice, numbers, stack):
    paths = volumes.slices(stack, choice)
    assert [path.name for path in paths] == [f"stack#{number}" for number in numbers]
    assert shown(paths) == [10 * number for number in numbers]


@pytest.mark.parametrize("count", [1, 2, 5, 60, 99])
def test_a_choice_has_its_number_rises_and_leaves_like_margins(count):
    numbers = volumes.chosen(tuple(range(1, 101)), count)
    assert len(numbers) == count
    assert list(numbers) == sorted(set(numbers))
    assert abs((numbers[0] - 1) - (100 - numbers[-1])) <= 1


def test_without_a_choice_a_volume_is_refused_and_the_message_says_how_to_choose(stack):
    assert volumes.slices(stack, "refuse") == [stack]
    with pytest.raises(DataError, match="7 frames, which do not stand for one image; choose with --frames"):
        read_image(stack)


def test_other_images_are_no_volumes(tmp_path):
    folder = plant(tmp_path, {"a.png": grey_png(1), "b.dcm": image([1, 2]), "c": b"text"})
    for name in ("a.png", "b.dcm", "c", "missing"):
        assert volumes.slices(folder / name, "all") == [folder / name]


def test_a_slice_is_not_cut_again(stack):
    address = stack.with_name("stack#3")
    assert volumes.slices(address, 2) == [address]


def test_a_file_whose_name_looks_like_an_address_is_a_file(tmp_path):
    folder = plant(tmp_path, {"scan#2": grey_png(9)})
    assert split_address(folder / "scan#2") == (folder / "scan#2", 0)
    assert shown([folder / "scan#2"]) == [9]


@pytest.mark.parametrize("name", ["stack#8", "stack#0", "stack#999999999999999999", "stack#x", "stack#²"])
def test_a_slice_that_is_not_there_is_one_line(name, stack):
    with pytest.raises(DataError) as caught:
        read_image(stack.with_name(name))
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


def test_a_picture_has_no_slices(tmp_path):
    with pytest.raises(DataError, match="is no volume"):
        read_image(plant(tmp_path, {"a.png": grey_png(9)}) / "a.png#1")


@pytest.mark.parametrize(("text", "choice"), [("all", "all"), ("middle", "middle"), ("12", 12)])
def test_frames_are_read_from_the_command_line(text, choice):
    assert parse_frames(text) == choice


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "10001", "every", "9" * 5000, "²"])
def test_frames_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match="as --frames, found"):
        parse_frames(text)


# -- what they show

SAME_VALUES = ["SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"]
STRETCHED = ["rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm"]


@pytest.mark.parametrize("name", [*SAME_VALUES, *STRETCHED])
def test_frames_are_those_that_pydicom_decodes(name):
    expected = pydicom.dcmread(PYDICOMS[name]).pixel_array
    paths = volumes.slices(PYDICOMS[name], "all")
    assert len(paths) == len(expected)
    for path, values in zip(paths, expected.astype(np.float64), strict=True):
        pixels = read_image(path).pixels
        if name in STRETCHED:  # 32 bits without a window
            low, high = values.min(), values.max()
            np.testing.assert_array_equal(pixels[..., 0], np.rint((values - low) / (high - low) * 255))
        else:
            np.testing.assert_array_equal(pixels, values // (257 if values.max() > 255 else 1))


def test_frames_of_a_jpeg_film_are_those_that_pydicom_decodes():
    path = PYDICOMS["examples_ybr_color.dcm"]
    expected = pydicom.dcmread(path).pixel_array[[4, 14, 24]]
    seen = np.stack([read_image(address).pixels for address in volumes.slices(path, 3)])
    assert [address.name[-3:] for address in volumes.slices(path, 3)] == ["m#6", "#16", "#26"]
    assert seen.shape == expected.shape


JPEGS = [saved(Image.new("L", (4, 4), 40 * number), "JPEG") for number in (1, 2, 3)]
FILM = {"rows": 4, "columns": 4, "allocated": 8, "frames": 3}
EVEN = [len(jpeg) + len(jpeg) % 2 for jpeg in JPEGS]


@pytest.mark.parametrize("table", [(), (0, 8 + EVEN[0], 16 + EVEN[0] + EVEN[1])], ids=["no table", "table"])
@pytest.mark.parametrize("parts", [1, 2])
def test_compressed_frames_are_found_with_and_without_a_table_of_offsets(table, parts, tmp_path):
    fragments = JPEGS
    if parts == 2:
        fragments = [part for jpeg in JPEGS for part in (jpeg[:100], jpeg[100:])]
        table = tuple(offset + 8 * number for number, offset in enumerate(table))
    content = encapsulated(fragments, JPEG, offsets=table, **FILM)
    paths = volumes.slices(plant(tmp_path, {"film": content}) / "film", "all")
    assert shown(paths) == [40, 80, 120]


def test_a_frame_has_the_rescale_and_the_window_of_its_own_group(tmp_path):
    groups = [
        {
            "frame_rescale": [{"slope": slope, "intercept": 0}],
            "frame_window": [{"center": center, "width": 256, "function": "LINEAR_EXACT"}],
        }
        for slope, center in ((1, 128), (2, 128), (1, 178))
    ]
    content = frames(np.full((3, 2, 2), 100), frame_groups=groups)
    assert shown(volumes.slices(plant(tmp_path, {"x": content}) / "x", "all")) == [100, 199, 50]


# -- their order in the patient

AXIAL, OBLIQUE = "1\\0\\0\\0\\1\\0", "0.8\\0.6\\0\\0\\0\\-1"


def enhanced(planes):
    groups = [
        {"plane_position": [{"position": position}], "plane_orientation": [{"orientation": orientation}]}
        for position, orientation in planes
    ]
    return frames(STACK[: len(planes)], frame_groups=groups, **FULL)


@pytest.mark.parametrize(
    ("planes", "numbers"),
    [
        ([("0\\0\\30", AXIAL), ("0\\0\\-10", AXIAL), ("0\\0\\10", AXIAL)], [2, 3, 1]),
        # The normal of OBLIQUE is (-0.6, 0.8, 0); what lies in the plane does not matter.
        ([("6\\-8\\0", OBLIQUE), ("-6\\8\\0", OBLIQUE), ("8\\6\\99", OBLIQUE)], [1, 3, 2]),
        ([("0\\0\\3", AXIAL), ("0\\0\\1", AXIAL), ("0\\0\\1", AXIAL)], [1, 2, 3]),  # two times of one place
        ([("0\\0\\3", AXIAL), ("0\\0\\1", OBLIQUE), ("0\\0\\2", AXIAL)], [1, 2, 3]),
        ([("0\\0\\3", AXIAL), ("", ""), ("0\\0\\2", AXIAL)], [1, 2, 3]),
    ],
    ids=["axial", "oblique", "one place", "not parallel", "unknown"],
)
def test_frames_are_in_the_order_of_their_planes_if_they_are_one_stack(planes, numbers, tmp_path):
    path = plant(tmp_path, {"x": enhanced(planes)}) / "x"
    assert volumes.slice_numbers(path) == tuple(numbers)
    assert shown(volumes.slices(path, "middle")) == [10 * numbers[1]]


def series(planes, uid="1.2.3", **more):
    """Files of one slice each, named in the order given; slice N shows 10 N."""
    return {
        f"{number:02d}.dcm": image(
            STACK[number - 1], series=uid, position=position, orientation=orientation, **FULL, **more
        )
        for number, (position, orientation) in enumerate(planes, start=1)
    }


def test_the_files_of_a_series_are_in_the_order_of_their_planes_not_of_their_names(tmp_path):
    heights = [30, -10, 10, 50, 20]
    folder = plant(tmp_path, series([(f"5\\6\\{height}", AXIAL) for height in heights]))
    paths = sorted(folder.iterdir())
    assert list(volumes.expanded(paths, "refuse")) == paths
    assert shown(volumes.expanded(paths, "all")) == [20, 30, 50, 10, 40]
    assert shown(volumes.expanded(paths, "middle")) == [50]
    assert shown(volumes.expanded(paths, 2)) == [30, 10]


def test_series_are_told_apart_and_other_files_stay_where_they_are(tmp_path):
    files = {
        f"a/{name}": content for name, content in series([("0\\0\\2", AXIAL), ("0\\0\\1", AXIAL)]).items()
    }
    other = series([("0\\0\\9", AXIAL), ("0\\0\\8", AXIAL), ("0\\0\\7", AXIAL)], uid="1.2.4")
    files |= {f"a/x{name}": content for name, content in other.items()}
    files |= {f"b/{name}": content for name, content in series([("0\\0\\5", AXIAL)]).items()}
    files |= {"a/015.png": grey_png(99), "a/none.dcm": image([1, 2]), "a/film": frames(STACK, series="1.2.3")}
    folder = plant(tmp_path, files)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in volumes.expanded([*paths, paths[0]], "middle")]
    assert names == ["a/01.dcm", "a/015.png", "a/film#4", "a/none.dcm", "a/x02.dcm", "b/01.dcm", "a/01.dcm"]


@pytest.mark.parametrize(
    "planes",
    [
        [("0\\0\\3", AXIAL), ("0\\0\\1", AXIAL), ("0\\0\\1", AXIAL)],
        [("0\\0\\3", AXIAL), ("0\\0\\1", OBLIQUE), ("0\\0\\2", AXIAL)],
        [("0\\0\\3", AXIAL), (None, None), ("0\\0\\2", AXIAL)],
        [("0\\0\\3", AXIAL), ("0\\0\\one", AXIAL), ("0\\0\\2", AXIAL)],
    ],
    ids=["one place", "not parallel", "unknown", "no number"],
)
def test_files_that_are_no_stack_keep_their_order(planes, tmp_path):
    paths = sorted(plant(tmp_path, series(planes)).iterdir())
    assert list(volumes.expanded(paths, "all")) == paths


def ended_at(monkeypatch, *names):
    """Let the process that reads headers end at files of these names."""
    ask = dicom.POOL.ask_of_file

    def ask_or_end(request, source, seconds=None):
        if any(name in (source if isinstance(source, bytes) else os.fsencode(source)) for name in names):
            raise sandbox.SandboxEndedError
        return ask(request, source, seconds)

    monkeypatch.setattr(dicom.POOL, "ask_of_file", ask_or_end)


def test_a_file_at_which_the_process_ends_is_by_itself_and_its_series_stays_one_volume(tmp_path, monkeypatch):
    planes = [(f"0\\0\\{height}", AXIAL) for height in (1, 2, 3, 4)]
    paths = sorted(plant(tmp_path, series(planes)).iterdir())
    ended_at(monkeypatch, b"02.dcm")
    names = [path.name for path in volumes.expanded(paths, "middle")]
    assert names == ["03.dcm", "02.dcm#1"]  # whoever decodes the latter reports its fault
    ended_at(monkeypatch, b"dcm")
    assert [path.name for path in volumes.expanded(paths, "middle")] == [f"0{n}.dcm#1" for n in (1, 2, 3, 4)]


def test_if_the_process_ends_at_no_file_alone_nothing_is_guessed(tmp_path, monkeypatch):
    paths = sorted(plant(tmp_path, series([("0\\0\\1", AXIAL), ("0\\0\\2", AXIAL)])).iterdir())
    ended_at(monkeypatch, b"\0")  # between several names
    with pytest.raises(DataError, match=r"which DICOM files in .* are one series.*ended twice.*free memory"):
        list(volumes.expanded(paths, "middle"))


def test_the_volume_of_each_slice_is_known(tmp_path):
    planes = [(f"0\\0\\{height}", AXIAL) for height in (3, 1, 2)]
    folder = plant(tmp_path, series(planes) | {"film": frames(STACK), "x.png": grey_png(9)})
    paths, volume_of = sorted(folder.iterdir()), {}
    chosen = list(volumes.expanded([*paths, folder / "film#7"], 2, volume_of))
    assert folder / "x.png" in chosen
    assert {path.name: volume.name for path, volume in volume_of.items()} == {
        **{"02.dcm": "02.dcm", "01.dcm": "02.dcm", "film#2": "film", "film#6": "film", "film#7": "film"},
    }


def test_a_series_is_a_volume_among_labelled_images(tmp_path):
    files = {}
    for label, uid in (("a", "1.1"), ("a", "1.2"), ("b", "1.3"), ("b", "1.4")):
        planes = [(f"0\\0\\{height}", AXIAL) for height in (2, 3, 1)]
        files |= {f"{label}/{uid}-{name}": content for name, content in series(planes, uid).items()}
    folder = plant(tmp_path, files)
    assert len(manifest.load(folder).manifest.samples) == 12
    middle = manifest.load(folder, frames="middle").manifest
    assert middle.ids == ("a/1.1-01.dcm", "a/1.2-01.dcm", "b/1.3-01.dcm", "b/1.4-01.dcm")
    assert len(set(middle.groups.values())) == 4


def test_a_pipe_among_the_files_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert list(volumes.expanded([tmp_path / "pipe"], "all")) == [tmp_path / "pipe"]


# -- hostile volumes

HOSTILE = {
    "10^6 frames": (image([1, 2], frames=1_000_000), "1000000 frames, more than the 10,000 allowed"),
    "more frames than bytes": (image([1, 2], frames=10_000), "cut off after 4 of 40000 bytes"),
    "a frame less": (frames(STACK).replace(b"IS\2\x007 ", b"IS\2\x008 "), "cut off after 84 of 96 bytes"),
    "a frame more": (frames(STACK).replace(b"IS\2\x007 ", b"IS\2\x006 "), "more pixels than its header says"),
    "cut off": (frames(STACK)[:-5], "cut off after 79 of 84 bytes"),
    "sizes that multiply beyond 64 bits": (
        image([1], pixels=b"\0\0", rows=65535, columns=65535, frames=10_000),
        "more than the 100,000,000 allowed",
    ),
    "a compressed frame less": (encapsulated(JPEGS[:2], JPEG, **FILM), "fewer frames than"),
    "a compressed frame more": (encapsulated(JPEGS, JPEG, **FILM | {"frames": 2}), "more frames than"),
    "offsets between the fragments": (
        encapsulated(JPEGS, JPEG, offsets=(0, 5, 9), **FILM),
        "table of offsets does not fit",
    ),
    "one offset for all": (encapsulated(JPEGS, JPEG, offsets=(0, 0, 0), **FILM), "table of offsets"),
    "compressed, cut off": (encapsulated(JPEGS, JPEG, **FILM)[:-200], "cut off or damaged"),
    "a million fragments": (
        encapsulated([b""] * 20_000, RLE, rows=1, columns=4, allocated=8, frames=10_000),
        "cut off or damaged",
    ),
    "a bomb of many bytes in one frame": (
        encapsulated([JPEGS[0], JPEGS[1] + bytes(3 << 20), JPEGS[2]], JPEG, **FILM),
        "more compressed bytes than its size explains",
    ),
    "groups that are cut off": (
        frames(STACK, frame_groups=struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFF0)),
        "do not fit their number",
    ),
    "a group less": (frames(STACK, frame_groups=[{}] * 6), "do not fit their number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_volume_is_one_line(name, tmp_path):
    content, reason = HOSTILE[name]
    paths = volumes.slices(plant(tmp_path, {"x.dcm": content}) / "x.dcm", "all")
    assert len(paths) == (3 if "bomb" in name else 1)
    with pytest.raises(DataError) as caught:
        shown(paths)
    message = str(caught.value)
    assert reason in message
    assert len(message) <= 300
    assert "\n" not in message


def test_of_a_large_volume_one_frame_is_read_at_a_time(tmp_path, monkeypatch):
    """The file takes no room on the disk: 600 frames of 1 MB, all zeros but one."""
    monkeypatch.setattr(sandbox, "limit_time", lambda seconds: None)  # would end this process
    rows, count = 1024, 600
    content = image(np.zeros((1, 1)), rows=rows, columns=512, frames=count, pixels=b"", **FULL)
    length = rows * 512 * 2 * count
    content = content[:-4] + struct.pack("<I", length)
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.write(content)
        file.seek(len(content) + 399 * rows * 1024)
        file.write(b"\xff" * 2)
        file.truncate(len(content) + length)
    assert len(volumes.slices(path, "all")) == count
    assert shown([path.with_name("large.dcm#400"), path.with_name("large.dcm#401")]) == [255, 0]
    monkeypatch.setattr(sandbox, "limit_time", lambda seconds: None)  # of this process
    with path.open("rb", buffering=0) as file:
        tracemalloc.start()
        parsed = header.read_header(file, several=True)
        stored_pixels(parsed, 10**8)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 << 20


# -- volumes among labelled images


@pytest.fixture
def scans(tmp_path):
    """Two classes of two patients, one of whom has two volumes; and one picture."""
    rng = np.random.default_rng(0)
    files = {
        f"{label}/{name}": frames(rng.integers(0, 65536, (4, 8, 8)), **FULL)
        for label, name in (("a", "p1-x.dcm"), ("a", "p2-x.dcm"), ("b", "p3-x.dcm"), ("b", "p3-y.dcm"))
    }
    return plant(tmp_path / "scans", files | {"a/plain.png": grey_png(9)})


def test_slices_are_samples_of_one_group(scans):
    loaded = manifest.load(scans, frames="all").manifest
    assert len(loaded.samples) == 17
    assert [s.id for s in loaded.samples][:2] == ["a/p1-x.dcm#1", "a/p1-x.dcm#2"]
    assert loaded.groups["b/p3-y.dcm#4"] == "b/p3-y.dcm"
    assert "a/plain.png" not in loaded.groups
    assert len({s.sha256 for s in loaded.samples}) == 17
    assert len({s.file_sha256 for s in loaded.samples}) == 5


def test_one_slice_of_each_volume_needs_no_group(scans):
    loaded = manifest.load(scans, frames="middle").manifest
    assert loaded.ids == ("a/p1-x.dcm#3", "a/p2-x.dcm#3", "a/plain.png", "b/p3-x.dcm#3", "b/p3-y.dcm#3")
    assert not loaded.groups


def test_volumes_of_one_patient_are_grouped_by_name(scans):
    source = manifest.DataSource(scans, group_by_name=r"^(p\d)-.*\.dcm$")
    groups = manifest.load(source, frames=2).manifest.groups
    assert groups["b/p3-x.dcm#2"] == groups["b/p3-y.dcm#4"] == "b/p3"


def test_the_patient_of_the_header_is_the_group(tmp_path):
    files = {
        f"{label}/{name}": frames(STACK + number, patient=patient)
        for number, (label, name, patient) in enumerate(
            (("a", "1", "P1"), ("a", "2", "P1"), ("b", "1", "P2"), ("b", "2", "P3"))
        )
    }
    groups = manifest.load(plant(tmp_path, files), frames="all").manifest.groups
    assert len(set(groups.values())) == 3
    assert groups["a/1#1"] == groups["a/2#7"] != groups["b/1#1"]


def test_a_patient_whom_a_table_names_at_some_files_is_the_same_at_the_others(tmp_path):
    files = {f"{name}.dcm": image([number, 2], patient=name[0]) for number, name in enumerate(("A1", "A2"))}
    files |= {f"{name}.dcm": image([number, 3], patient=name[0]) for number, name in enumerate(("B1", "B2"))}
    files |= {
        f"{name}.dcm": image([number, 4], patient="C") for number, name in enumerate(("C1", "C2", "C3"))
    }
    plant(tmp_path, files | {"plain.png": grey_png(9)})
    rows = ["A1.dcm,a,7", "A2.dcm,a,", "B1.dcm,b,", "B2.dcm,b,", "C1.dcm,a,8", "C2.dcm,a,9", "C3.dcm,b,"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,group", *rows, "plain.png,b,"]))
    groups = manifest.load(table).manifest.groups
    assert groups["A1.dcm"] == groups["A2.dcm"] == "7"
    assert groups["B1.dcm"] == groups["B2.dcm"]
    assert groups["B1.dcm"].startswith(dicom.PREFIX)
    assert (groups["C1.dcm"], groups["C2.dcm"]) == ("8", "9")
    assert groups["C3.dcm"] not in ("8", "9", groups["B1.dcm"])  # which of the two is not known
    assert "plain.png" not in groups


def test_a_volume_and_a_slice_of_it_are_not_both_named(scans):
    table = scans / "table.csv"
    table.write_text("path,label\na/p1-x.dcm,a\na/p2-x.dcm,a\nb/p3-x.dcm,b\nb/p3-y.dcm,b\na/p1-x.dcm#2,b\n")
    with pytest.raises(DataError, match=r"found 1 more than once, the first a/p1-x\.dcm#2; name") as caught:
        manifest.load(table, frames="all")
    assert caught.value.details == ("a/p1-x.dcm#2",)
    assert len(str(caught.value)) <= 300


def test_a_manifest_names_slices(scans, tmp_path):
    whole = manifest.load(scans, frames=2).manifest
    table = tmp_path / "table.csv"
    table.write_text(manifest.write_source_csv(whole, table))
    again = manifest.load(table).manifest
    assert [(s.path, s.label, s.group, s.sha256) for s in again.samples] == [
        (s.path, s.label, s.group, s.sha256) for s in whole.samples
    ]


def test_a_volume_that_cannot_be_read_is_one_bad_file(scans):
    (scans / "a" / "p1-x.dcm").write_bytes(frames(STACK)[:-5])
    loaded = manifest.load(scans, frames="all").manifest
    assert [s.id for s in loaded.samples if "p1" in s.id] == ["a/p1-x.dcm#1"]
