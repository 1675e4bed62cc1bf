import os
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests import hostile_names
from tumorboard.errors import DataError
from tumorboard.run_folder import RunFolder
from tumorboard.server.workspace import Workspace, require_name, run_id

SEED = 20261128


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "work"
    for split in ("train", "test"):
        for name in ("normal", "tumor"):
            for number in range(8):
                path = root / "scans" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 10 * number + 50).save(path)
    (tmp_path / "secret").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "secret" / "one.png")
    return Workspace.of(root)


# -- paths

PIECES = (
    *(
        "..",
        ".",
        "",
        "/",
        "//",
        "\\",
        "\\\\",
        "scans",
        "train",
        "normal",
        "0.png",
        "out",
        "loop",
        "file",
        ".ssh",
    ),
    *(
        "secret",
        "work",
        "C:",
        "c:\\windows",
        "\\\\host\\share",
        "//host/share",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
    ),
    *(
        "%2f",
        "..%2f",
        "%00",
        "\0",
        "\n",
        "\x1b",
        "\ud800",
        "\u202e",
        "\uff0e\uff0e",
        "\u2215",
        "nul",
        "con",
        "aux.txt",
    ),
    *(
        "file:",
        "http:",
        "a" * 300,
        "*",
        "?",
        "|",
        "<",
        ";",
        "'",
        '"',
        " ",
        ". .",
        "...",
        "/etc/passwd",
        "proc",
    ),
    *("scans/../..", "scans/../../secret", "out/one.png", "file/x", "loop/loop", "/proc/self/root"),
)


def test_of_ten_thousand_hostile_paths_none_leads_outside(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "out").symlink_to(tmp_path / "secret")
    (workspace.root / "scans" / "out").symlink_to("../../secret/one.png")
    (workspace.root / "loop").symlink_to("loop")
    (workspace.root / "file").symlink_to("/etc/passwd")
    (workspace.root / ".ssh").mkdir()
    draw, found = random.Random(SEED), set()  # noqa: S311
    paths = [*PIECES, *hostile_names.NAMES, str(workspace.root), str(tmp_path / "secret"), "a/" * 2000]
    while len(paths) < 10_000:
        pieces = draw.choices(PIECES, k=draw.randint(1, 6))
        paths.append(draw.choice(("/", "", "\\", "//", "/./", "/../")).join(pieces))
    for path in paths:
        try:
            resolved = workspace.resolve(path)
        except DataError:
            continue
        found.add(path)
        real = os.path.realpath(resolved)
        assert real == str(workspace.root) or real.startswith(f"{workspace.root}/scans"), path
    assert {"scans", "", "scans/train"} & found


@pytest.mark.parametrize("name", ["C:", "a\\b", "a\nb", "a\u0085"])
def test_a_name_that_another_system_or_a_terminal_reads_otherwise_is_refused(
    workspace: Workspace, name: str
) -> None:
    (workspace.root / name).mkdir()
    with pytest.raises(DataError, match="expected a path below the folder of this workspace"):
        workspace.resolve(name)


def test_a_folder_beside_the_workspace_whose_name_begins_alike_is_outside(workspace: Workspace) -> None:
    beside = workspace.root.with_name(f"{workspace.root.name}-2")
    beside.mkdir()
    (workspace.root / "linked").symlink_to(beside)
    with pytest.raises(DataError, match="expected a path below the folder of this workspace"):
        workspace.resolve("linked")


@pytest.mark.parametrize("path", ["", "scans", "scans/train/normal/0.png"])
def test_what_lies_inside_is_found(workspace: Workspace, path: str) -> None:
    resolved = workspace.resolve(path)
    assert resolved == workspace.root / path
    assert workspace.relative(resolved) == path


def test_a_link_that_stays_inside_is_followed(workspace: Workspace) -> None:
    (workspace.root / "again").symlink_to("scans")
    assert workspace.resolve("again/train") == workspace.root / "scans" / "train"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        ".hidden",
        "-x",
        "a b",
        "con",
        "NUL.txt",
        "a.",
        "x" * 61,
        "a\0",
        "\u00e9",
        "a\n",
    ],
)
def test_what_is_no_name_of_a_run(name: str) -> None:
    with pytest.raises(DataError, match="expected a name"):
        require_name(name)


def test_names_of_runs() -> None:
    assert [require_name(name) for name in ("first", "2026-11.run_3", "x" * 60)]


# -- what is found


def test_folders_and_tables_are_listed_and_runs_are_not(workspace: Workspace, tmp_path: Path) -> None:
    run = RunFolder(workspace.root / "runs" / "first")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text("{}")
    (workspace.root / "list.csv").write_text("path,label\n")
    (workspace.root / "out").symlink_to(tmp_path / "secret")
    (workspace.root / ".git").mkdir()
    found = workspace.list_data("")
    assert (found["folders"], found["tables"]) == (["runs", "scans"], ["list.csv"])
    assert workspace.list_data("runs")["folders"] == []
    assert list(workspace.runs().items()) == [(run_id("runs/first"), run)]
    with pytest.raises(DataError, match="found a file"):
        workspace.list_data("list.csv")


def test_data_is_described_without_opening_an_image(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened"))
    (workspace.root / "scans" / "test" / "tumor").rename(workspace.root / "scans" / "test" / "Tumor")
    (workspace.root / "scans" / "Thumbs.db").write_text("")
    found = workspace.describe_data("scans")
    assert (found["images"], found["splits"], found["groups"]) == (32, ["train", "test"], 0)
    tumor, normal = found["classes"]
    assert (normal["name"], normal["counts"], normal["folders"]) == ("normal", {"train": 8, "test": 8}, [])
    assert (tumor["name"], tumor["folders"]) == ("Tumor", ["tumor"])
    assert len(normal["pictures"]) == 6
    assert all(workspace.resolve(path).is_file() for path in normal["pictures"])
    assert found["left_out"] == ["scans: Thumbs.db (left out by name)"]


def test_pictures_in_hidden_folders_are_not_shown(workspace: Workspace) -> None:
    (workspace.root / ".store").mkdir()
    for path in (workspace.root / "scans" / "train" / "normal").iterdir():
        stored = path.rename(workspace.root / ".store" / path.name)
        path.symlink_to(stored)
    normal = next(row for row in workspace.describe_data("scans")["classes"] if row["name"] == "normal")
    assert normal["counts"] == {"train": 8, "test": 8}
    assert normal["pictures"]
    assert all(workspace.resolve(path).is_file() for path in normal["pictures"])


def test_a_table_with_patients_is_described(workspace: Workspace) -> None:
    rows = [f"scans/train/{name}/{n}.png,{name},{n // 2}" for name in ("normal", "tumor") for n in range(8)]
    (workspace.root / "list.csv").write_text("\n".join(["path,label,patient", *rows]))
    found = workspace.describe_data("list.csv")
    assert (found["images"], found["splits"], found["groups"]) == (16, [""], 4)


def test_images_outside_are_refused_whether_by_link_or_table(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "list.csv").write_text("path,label\nscans/train/normal/0.png,a\n../secret/one.png,b\n")
    with pytest.raises(DataError, match=r"found '../secret/one.png' outside it"):
        workspace.describe_data("list.csv")
    shutil.copytree(workspace.root / "scans", workspace.root / "linked")
    (workspace.root / "linked" / "train" / "normal" / "9.png").symlink_to(tmp_path / "secret" / "one.png")
    with pytest.raises(DataError, match=r"found 'train/normal/9.png' outside"):
        workspace.describe_data("linked")
    shutil.rmtree(workspace.root / "linked" / "train" / "normal")
    (workspace.root / "linked" / "train" / "normal").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=" outside"):
        workspace.describe_data("linked")


def test_a_link_out_is_refused_before_anything_is_listed(
    workspace: Workspace, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "secret").mkdir(exist_ok=True)
    (workspace.root / "more").mkdir()
    (workspace.root / "more" / "a").symlink_to(tmp_path / "secret")
    monkeypatch.setattr("tumorboard.server.workspace.survey", None)
    with pytest.raises(DataError, match="'a' outside it"):
        workspace.describe_data("more")


def test_own_runs_are_found_beside_more_folders_of_data_than_are_searched(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tumorboard.server.workspace._MAX_FOLDERS", 5)
    for number in range(9):
        (workspace.root / f"data{number}").mkdir()
    run = RunFolder(workspace.root / "runs" / "first")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text("{}")
    assert [found.root for found in workspace.runs().values()] == [run.root]


def test_runs_are_not_searched_behind_links(workspace: Workspace) -> None:
    run = RunFolder(workspace.root / "studies" / "first")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text("{}")
    for name in ("runs", "again"):
        (workspace.root / name).symlink_to("studies")
    assert list(workspace.runs()) == [run_id("studies/first")]


def test_a_folder_that_is_no_data_says_so(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="expected"):
        workspace.describe_data("scans/train/normal")
    with pytest.raises(DataError, match="expected a folder at"):
        Workspace.of(workspace.root / "nowhere")


@pytest.mark.parametrize(
    "name", ["state/log.txt", "report.html", "summary.txt", "environment.json", "state/job.json", "models"]
)
def test_a_run_with_a_link_out_is_not_shown(workspace: Workspace, tmp_path: Path, name: str) -> None:
    run = RunFolder(workspace.root / "runs" / "first")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text("{}")
    (run.root / name).symlink_to(tmp_path / "secret" / "one.png")
    assert workspace.runs() == {}
    (run.root / name).unlink()
    assert len(workspace.runs()) == 1
