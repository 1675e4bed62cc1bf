from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import PATHS
from tumorboard import run_folder
from tumorboard.run_folder import RunFolder


def leads_inside(folder, name):
    """The oracle: joined and resolved, it is an entry of the folder itself."""
    try:
        return (folder / name).resolve().parent == folder and bool(name)
    except (ValueError, OSError):  # NUL, or longer than the system allows
        return False


@settings(max_examples=100)
@given(st.lists(PATHS, min_size=100, max_size=100))
def test_of_ten_thousand_names_those_that_are_let_in_lie_in_the_folder(names):
    folder = Path("/run/models")
    for name in names:
        # What leads elsewhere on Windows alone.
        foreign = any(one in name for one in ("\\", ":")) or not name.strip(" .")
        expected = leads_inside(folder, name) and Path(name).name == name and not foreign
        assert run_folder.is_plain(name) == expected, name


def test_a_listed_name_that_leads_elsewhere_is_not_listed(tmp_path):
    run = RunFolder(tmp_path)
    run.checksums.write_text("aa  models/custom.keras\nbb  models/../custom.keras\ncc  models//etc/passwd\n")
    assert run_folder.read_checksums(run) == {"custom.keras": "aa"}
