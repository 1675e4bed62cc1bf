"""Commands for data: audit, split and fetch."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.audit.facts import scene
from tests.data.pictures import plant, saved
from tumorboard import optional
from tumorboard.cli.main import main
from tumorboard.errors import DataError
from tumorboard.workflows import datasets


def _png(seed: int) -> bytes:
    return saved(Image.fromarray(scene(seed)), "PNG")


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    files = {f"{split}/{c}/{i}.png": _png(hash_) for hash_, (split, c, i) in enumerate(_places())}
    return plant(tmp_path / "data", {**files, "test/a/0.png": files["train/a/0.png"]})


def _places() -> list[tuple[str, str, int]]:
    return [(split, c, i) for split in ("train", "test") for c in "ab" for i in range(3)]


def _calm(tmp_path: Path) -> Path:
    return plant(
        tmp_path / "data", {f"{c}/{i}.png": _png(10 * i + (c == "b")) for c in "ab" for i in range(3)}
    )


def test_findings_end_with_code_9_and_a_last_line_that_says_where_all_is(
    leaking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = leaking.parent / "out"
    assert main(["audit", str(leaking), "--out", str(out), "--quiet"]) == 9
    said = capsys.readouterr()
    assert "error TB401: " in said.out
    assert said.out.splitlines()[-2:] == [f"Report: {out / 'report.html'}", f"Results: {out}"]
    assert "test/a/0.png" in (out / "report.html").read_text()
    assert json.loads((out / "audit.json").read_text())["leaked"] == ["test/a/0.png"]
    assert "--mute" in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert (out / "TB401.png").is_file()


def test_notes_alone_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(_calm(tmp_path)), "--quiet"]) == 0
    assert "note TB408: " in capsys.readouterr().out


def test_muting_what_is_accepted_ends_with_0(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    muted = ["--mute", "TB401", "--mute", "TB304"]
    assert main(["audit", str(leaking), "--quiet", *muted]) == 0
    assert "Muted: TB304, TB401" in capsys.readouterr().out.splitlines()


def test_json_is_the_only_thing_on_standard_output(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(leaking), "--json"]) == 9
    content = json.loads(capsys.readouterr().out)
    assert not {"results", "report"} & content.keys()  # nothing was written
    assert main(["audit", str(leaking), "--json", "--out", str(leaking.parent / "report")]) == 9
    written = json.loads(capsys.readouterr().out)
    assert Path(written["report"]).is_file()
    assert written == {"results": str(leaking.parent / "report"), "report": written["report"], **content}
    assert content["format_version"] == 1
    assert content["leaked"] == ["test/a/0.png"]


def test_an_unknown_code_ends_with_2(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(leaking), "--mute", "TB1"]) == 2
    assert "TB101" in capsys.readouterr().err


def test_a_missing_folder_ends_with_3(tmp_path: Path) -> None:
    assert main(["audit", str(tmp_path / "missing")]) == 3


def test_classes_can_be_merged(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(
        leaking,
        {
            f"{split}/c/{i}.png": _png(90 + i + 9 * (split == "test"))
            for split in ("train", "test")
            for i in range(3)
        },
    )
    main(["audit", str(leaking), "--json", "--merge", "ab=a,b"])
    assert json.loads(capsys.readouterr().out)["counts"]["train"] == {"ab": 6, "c": 3}


def test_the_licence_is_shown_and_where_the_images_are(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(datasets, "fetch", lambda out, console: out)
    monkeypatch.setattr(optional, "find_spec", lambda name: True)
    assert main(["fetch", "chest-ct", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert datasets.LICENCE in text
    assert text.endswith(f"Images: {tmp_path}\n")
    assert main(["fetch", "chest-ct", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": str(tmp_path), "licence": datasets.LICENCE}


def test_offline_fetch_tells_what_to_do(monkeypatch, capsys):
    def offline(out, console):
        raise datasets._by_hand("no route to host")

    monkeypatch.setattr(datasets, "fetch", offline)
    monkeypatch.setattr(optional, "find_spec", lambda name: True)
    assert main(["fetch", "chest-ct"]) == DataError.exit_code
    assert datasets.PAGE in capsys.readouterr().err


def test_without_the_extra_fetch_tells_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "kagglehub" else name)
    assert main(["fetch", "chest-ct"]) == 2
    assert 'pip install "kagglehub>=' in capsys.readouterr().err


def test_other_data_sets_are_refused():
    with pytest.raises(SystemExit):
        main(["fetch", "another"])
