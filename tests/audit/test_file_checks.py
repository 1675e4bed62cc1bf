import numpy as np

from tests.audit.facts import Row, dataset, only, passes, reason, scene
from tumorboard.audit.file_checks import (
    blank_images,
    extreme_sizes,
    lost_contrast,
    misnamed_files,
    several_frames,
    unreadable_files,
)
from tumorboard.data.grey import LOST_CONTRAST
from tumorboard.data.image_headers import Header


def test_every_known_problem_is_named() -> None:
    found = only(unreadable_files, dataset([Row()], problems=("a.png: damaged", "b.png: empty")))
    assert found.severity == "error"
    assert found.files == (("a.png: damaged",), ("b.png: empty",))
    assert found.numbers == {"files": 2}


def test_no_problem_passes() -> None:
    assert passes(unreadable_files, dataset([Row()]))


def test_names_that_promise_another_format_are_found_and_counted() -> None:
    jpeg, png = Header("JPEG", "L", 8), Header("PNG", "L", 8)
    rows = [Row(header=jpeg), Row(header=jpeg), Row(header=png, suffix=".tif"), Row(header=png)]
    found = only(misnamed_files, dataset(rows))
    assert found.files == (("0000",), ("0001",), ("0002",))
    assert found.numbers == {"JPEG named PNG": 2, "PNG named TIFF": 1}
    assert found.severity == "note"


def test_every_usual_ending_of_a_format_passes() -> None:
    endings = {"JPEG": (".jpg", ".JPEG"), "TIFF": (".tif", ".tiff"), "BMP": (".bmp",), "DICOM": (".dcm",)}
    rows = [Row(suffix=s, header=Header(f, "L", 8)) for f, suffixes in endings.items() for s in suffixes]
    assert passes(misnamed_files, dataset(rows))


def test_names_without_a_known_ending_promise_nothing() -> None:
    assert passes(
        misnamed_files,
        dataset([Row(suffix=""), Row(suffix=".001", header=Header("DICOM", "MONOCHROME2", 12))]),
    )


def test_files_with_further_frames_are_named() -> None:
    stack = Header("TIFF", "L", 8, several=True)
    found = only(several_frames, dataset([Row(), Row(header=stack, suffix=".tif")]))
    assert found.files == (("0001",),)
    assert found.severity == "warning"


def test_single_frames_pass() -> None:
    assert passes(several_frames, dataset([Row(), Row()]))


def test_a_short_side_is_tiny() -> None:
    found = only(extreme_sizes, dataset([*[Row()] * 3, Row(height=63, width=300)]))
    assert (found.severity, found.files) == ("warning", (("0003",),))


def test_fifty_times_fewer_pixels_than_the_median_are_tiny() -> None:
    assert only(
        extreme_sizes, dataset([*[Row(height=600, width=600)] * 3, Row(height=70, width=70)])
    ).files == (("0003",),)


def test_more_than_25_million_pixels_are_huge() -> None:
    found = only(extreme_sizes, dataset([Row(height=5000, width=5000)] * 3 + [Row(height=5001, width=5000)]))
    assert (found.severity, found.files) == ("note", (("0003",),))


def test_fifty_times_the_medians_pixels_are_huge() -> None:
    assert only(extreme_sizes, dataset([*[Row()] * 3, Row(height=710, width=710)])).files == (("0003",),)


def test_ordinary_sizes_pass() -> None:
    assert passes(
        extreme_sizes,
        dataset([Row(height=64, width=64), Row(height=400, width=300), Row(height=300, width=400)]),
    )


def test_flat_and_nearly_black_images_are_found() -> None:
    flat, dark = np.full((64, 64), 130, np.uint8), scene(1) // 20
    found = only(blank_images, dataset([Row(), Row(thumbnail=flat), Row(thumbnail=dark)]))
    assert (found.severity, found.files) == ("warning", (("0001",), ("0002",)))


def test_faint_structure_is_not_blank() -> None:
    assert passes(blank_images, dataset([Row(thumbnail=100 + scene(1) // 20)]))


def test_images_that_lose_their_levels_are_named() -> None:
    deep = Header("PNG", "I;16", 16)
    lost = Row(header=deep, notes=(f"0001.png: {LOST_CONTRAST} (advice)",))
    found = only(lost_contrast, dataset([Row(header=deep), lost, Row(header=deep, notes=("other",))]))
    assert (found.severity, found.files, found.numbers) == ("warning", (("0001",),), {"files": 1})


def test_images_of_more_than_8_bits_that_keep_their_levels_pass() -> None:
    assert passes(lost_contrast, dataset([Row(), Row(header=Header("TIFF", "I;16", 16))]))


def test_images_of_8_bits_have_no_levels_to_lose() -> None:
    assert reason(lost_contrast, dataset([Row()])) == "no images of more than 8 bits"
