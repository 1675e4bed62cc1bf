import numpy as np
import pytest

from tests.audit.facts import Row, dataset, only, passes, reason, scene
from tumorboard.audit.runner import CHECKS
from tumorboard.audit.shortcut_checks import blurred, borders, intensities, metadata, one_hot, sizes
from tumorboard.data.image_headers import Header
from tumorboard.data.pixels import Pixels

VALUES = {
    "TB201": ({"header": Header("PNG", "RGB", 8)}, {"header": Header("PNG", "RGBA", 8)}),
    "TB202": ({"header": Header("PNG", "L", 8)}, {"header": Header("PNG", "L", 16)}),
    "TB203": ({"height": 100}, {"height": 200}),
    "TB204": ({"header": Header("PNG", "L", 8)}, {"header": Header("JPEG", "L", 8)}),
}


@pytest.mark.parametrize("code", VALUES)
def test_a_value_that_depends_on_the_class_is_reported(code: str) -> None:
    finding = only(CHECKS[code], dataset(Row(label="ab"[i % 2], **VALUES[code][i % 2]) for i in range(60)))
    assert finding.severity == "warning"
    assert finding.numbers["a: sensitivity"] == finding.numbers["b: sensitivity"] == 1
    assert finding.numbers["a: false-positive rate"] == 0


@pytest.mark.parametrize("code", VALUES)
def test_a_value_that_does_not_depend_on_the_class_passes(code: str) -> None:
    assert passes(
        CHECKS[code], dataset(Row(label="ab"[i // 2 % 2], **VALUES[code][i % 2]) for i in range(120))
    )


@pytest.mark.parametrize("code", VALUES)
def test_one_value_for_all_passes(code: str) -> None:
    assert passes(CHECKS[code], dataset(Row(label="ab"[i % 2]) for i in range(60)))


def test_the_aspect_ratio_alone_predicts_as_well() -> None:
    rows = [Row(label="ab"[i % 2], height=100 + i, width=(100 + i) * (1 + i % 2)) for i in range(60)]
    assert only(CHECKS["TB203"], dataset(rows)).numbers["a: sensitivity"] > 0.9


def test_features_that_predict_only_together_are_reported() -> None:
    rows = [
        Row(
            label="ab"[i % 2 ^ i // 2 % 2],
            height=(100, 200)[i % 2],
            header=Header("PNG", ("L", "RGB")[i // 2 % 2], 8),
        )
        for i in range(80)
    ]
    assert only(CHECKS["TB501"], dataset(rows)).numbers["accuracy"] > 0.9


def test_metadata_independent_of_the_class_pass() -> None:
    rng = np.random.default_rng(0)
    rows = [Row(label="ab"[i % 2], height=int(rng.integers(100, 300))) for i in range(100)]
    assert passes(CHECKS["TB501"], dataset(rows))


def test_too_few_different_images_are_not_judged() -> None:
    rows = [Row(label="ab"[i % 2], height=100 + i % 2) for i in range(12)]
    assert "fewer than two classes" in reason(CHECKS["TB501"], dataset(rows))


def _shuffled(i: int, brighter: int) -> Pixels:
    """The same greys wherever they are; only their brightness differs."""
    pixels = np.arange(4096) % 200 + brighter
    return np.random.default_rng(i).permutation(pixels).astype(np.uint8).reshape(64, 64)


def test_a_brighter_class_is_found() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_shuffled(i, 20 * (i % 2))) for i in range(60)]
    found = only(CHECKS["TB502"], dataset(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy"] == 1


def test_equal_histograms_pass() -> None:
    assert passes(
        CHECKS["TB502"], dataset(Row(label="ab"[i % 2], thumbnail=_shuffled(i, 0)) for i in range(60))
    )


def _marked(i: int, marked: bool) -> Pixels:
    picture = scene(i).copy()
    if marked:
        picture[1:3, 60:63] = 255  # a mark in a corner, two by three of 64 pixels
    return picture


def test_a_planted_corner_mark_is_found() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_marked(i, i % 2 == 1)) for i in range(120)]
    found = only(CHECKS["TB503"], dataset(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy, low"] > found.numbers["majority class"]


def test_a_difference_in_the_middle_does_not_change_the_border() -> None:
    rows = []
    for i in range(120):
        picture = scene(i).copy()
        picture[20:40, 20:40] = 255 * (i % 2)
        rows.append(Row(label="ab"[i % 2], thumbnail=picture))
    assert passes(CHECKS["TB503"], dataset(rows))


def _half_brighter(i: int, brighter: int) -> Pixels:
    picture = scene(i) // 2
    picture[:32] += np.uint8(brighter)
    return picture


def test_a_class_with_other_coarse_brightness_is_reported() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_half_brighter(i, 100 * (i % 2))) for i in range(120)]
    found = only(CHECKS["TB504"], dataset(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy, low"] > found.numbers["majority class"]


def test_a_fine_pattern_is_blurred_away() -> None:
    checks = 20 * (np.indices((64, 64)).sum(axis=0) % 2)
    rows = []
    for i in range(120):
        pattern = checks if i % 2 else 20 - checks
        rows.append(Row(label="ab"[i % 2], thumbnail=(scene(i) // 2 + pattern).astype(np.uint8)))
    assert passes(CHECKS["TB504"], dataset(rows))


def test_each_category_has_its_column() -> None:
    found = one_hot(["RGB", "L", "RGB"])
    assert found.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_sizes_hold_height_width_and_aspect() -> None:
    assert sizes(dataset([Row(height=100, width=250)])).tolist() == [[100, 250, 2.5]]


def test_metadata_hold_size_format_mode_and_depth() -> None:
    rows = [Row(), Row(header=Header("JPEG", "RGB", 16), suffix=".jpg")]
    assert metadata(dataset(rows)).shape == (2, 3 + 2 + 2 + 2)


def test_intensities_do_not_depend_on_where_greys_are() -> None:
    picture = np.arange(4096, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    found = intensities(dataset([Row(thumbnail=picture), Row(thumbnail=picture[::-1, ::-1])]))
    assert np.array_equal(found[0], found[1])
    assert np.allclose(found[0, :16], 1 / 16)


def test_borders_see_the_outermost_four_pixels_and_no_more() -> None:
    black, inside, corner = (np.zeros((64, 64), np.uint8) for _ in range(3))
    inside[4:60, 4:60] = 255
    corner[3, 3] = 16
    found = borders(dataset([Row(thumbnail=one) for one in (black, inside, corner)]))
    assert found.shape == (3, 120)
    assert np.array_equal(found[0], found[1])
    assert sorted(found[2])[-2:] == [1, 16]


def test_a_blurred_picture_is_the_means_of_its_blocks() -> None:
    picture = np.zeros((64, 64), np.uint8)
    picture[:8, 8:16] = 200
    picture[63, 63] = 64
    found = blurred(dataset([Row(thumbnail=picture)]))
    assert found.shape == (1, 64)
    assert (found[0, 1], found[0, 63], found.sum()) == (200, 1, 201)
