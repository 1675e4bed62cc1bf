import numpy as np

from tests.auditing.studies import Row, study
from tumorboard.auditing import clues
from tumorboard.data.image_headers import Header


def test_each_category_has_its_column() -> None:
    found = clues.categories(["RGB", "L", "RGB"])
    assert found.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_sizes_hold_height_width_and_aspect() -> None:
    assert clues.sizes(study([Row(height=100, width=250)])).tolist() == [[100, 250, 2.5]]


def test_metadata_hold_size_format_mode_and_depth() -> None:
    rows = [Row(), Row(header=Header("JPEG", "RGB", 16), suffix=".jpg")]
    assert clues.metadata(study(rows)).shape == (2, 3 + 2 + 2 + 2)


def test_intensities_do_not_depend_on_where_greys_are() -> None:
    picture = np.arange(4096, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    found = clues.intensities(study([Row(thumbnail=picture), Row(thumbnail=picture[::-1, ::-1])]))
    assert np.array_equal(found[0], found[1])
    assert np.allclose(found[0, :16], 1 / 16)


def test_borders_see_the_outermost_four_pixels_and_no_more() -> None:
    black, inside, corner = (np.zeros((64, 64), np.uint8) for _ in range(3))
    inside[4:60, 4:60] = 255
    corner[3, 3] = 16
    found = clues.borders(study([Row(thumbnail=one) for one in (black, inside, corner)]))
    assert found.shape == (3, 120)
    assert np.array_equal(found[0], found[1])
    assert sorted(found[2])[-2:] == [1, 16]


def test_a_blurred_picture_is_the_means_of_its_blocks() -> None:
    picture = np.zeros((64, 64), np.uint8)
    picture[:8, 8:16] = 200
    picture[63, 63] = 64
    found = clues.blurred(study([Row(thumbnail=picture)]))
    assert found.shape == (1, 64)
    assert (found[0, 1], found[0, 63], found.sum()) == (200, 1, 201)
