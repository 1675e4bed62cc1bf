import csv
import json
import os
import shlex
from concurrent.futures import ThreadPoolExecutor

import pytest

from tumorboard.cli.main import _parser
from tumorboard.cli.options import data_source
from tumorboard.data.manifest import load
from tumorboard.errors import DataError, RunFolderError
from tumorboard.server.choices import Choices, list_name, read_choices, read_findings, save_choices
from tumorboard.server.jobs import Job, Jobs
from tumorboard.server.workspace import Workspace

STAYING = "test/bar/bar1.png"
LEFT_OUT = {"train/bar/bar0.png": "TB401", "test/disc/disc1.png": ""}
CHOICES = Choices(mute=("TB408",), exclude=LEFT_OUT, class_map=("shape=bar,disc",), skip_bad=True)


@pytest.fixture
def workspace(root):
    return Workspace.of(root)


@pytest.fixture
def jobs(workspace):
    return Jobs(workspace)


def finding(code, *groups, **change):
    texts = {"severity": "error", "title": "t", "consequence": "c", "remedy": "r", "page": "p"}
    return {"code": code, **texts, "files": groups, **change}


def write_audit(jobs, *findings, **change):
    audit = jobs.audit_of("scans")
    audit.audit.parent.mkdir(parents=True, exist_ok=True)
    report = {"findings": findings, "passed": ["TB102"], "not_applicable": {}, "muted": []}
    audit.audit.write_text(json.dumps(report | change))
    return audit


def test_choices_are_kept_for_these_images_alone(jobs, workspace) -> None:
    save_choices(workspace, jobs.audit_of("scans"), CHOICES)
    assert jobs.choices("scans") == CHOICES
    assert jobs.choices("other") == jobs.choices("") == Choices()
    train, audit = (jobs.with_choices(Job(kind=kind, data="scans")) for kind in ("train", "audit"))
    assert (train.mute, train.skip_bad, audit.mute, audit.skip_bad) == ((), True, ("TB408",), False)
    assert train.class_map == audit.class_map == ("shape=bar,disc",)


def test_the_command_with_the_choices_reads_the_same_images(jobs, workspace, root, monkeypatch) -> None:
    save_choices(workspace, jobs.audit_of("scans"), CHOICES)
    run, audit = jobs.run_named("first"), jobs.audit_of("scans")
    monkeypatch.chdir(root)
    for of, kind in ((run, "train"), (audit, "audit")):
        words = shlex.split(jobs.command(of, jobs.with_choices(Job(kind=kind, data="scans"))).splitlines()[1])
        options = _parser().parse_args(words[1:])
        loaded = load(data_source(options))
        assert loaded.manifest.class_names == ("noise", "shape")
        assert set(LEFT_OUT).isdisjoint(loaded.manifest.ids)
        assert len(loaded.manifest.samples) == 25
    assert options.mute == ["TB408"]


def test_the_list_says_why_and_never_changes(jobs, workspace, root) -> None:
    audit = jobs.audit_of("scans")
    save_choices(workspace, audit, CHOICES)
    first = root / list_name(CHOICES.excluded)
    rows = list(csv.reader(first.read_text("utf-8").splitlines()))
    assert rows[0] == ["path", "left out because of"]
    assert dict(rows[1:]) == LEFT_OUT
    before = first.read_bytes()
    save_choices(workspace, audit, CHOICES.model_copy(update={"exclude": {"train/bar/bar0.png": ""}}))
    assert first.read_bytes() == before  # a run that was begun with it can be resumed
    assert len(list(first.parent.glob("excluded-*.csv"))) == 2


def test_of_changes_at_once_one_alone_is_saved(jobs, workspace) -> None:
    audit, none = jobs.audit_of("scans"), Choices()

    def save(number):
        try:
            save_choices(workspace, audit, Choices(mute=(f"TB{number}",)), none.digest)
        except DataError:
            return None
        return f"TB{number}"

    with ThreadPoolExecutor(8) as threads:
        saved = list(filter(None, threads.map(save, range(100, 140))))
    assert saved == list(read_choices(workspace, audit).mute)
    assert len(saved) == 1


def test_choices_that_could_not_be_read_again_are_refused_with_a_remedy(jobs, workspace) -> None:
    audit = jobs.audit_of("scans")
    many, too_many = (
        {f"{number:0100}.png": "TB401" for number in range(count)} for count in (30_000, 40_000)
    )
    save_choices(workspace, audit, Choices(exclude=many))
    with pytest.raises(DataError, match="found more: 40000 images left out; list them"):
        save_choices(workspace, audit, Choices(exclude=too_many))
    assert read_choices(workspace, audit).exclude == many


def test_what_is_kept_is_no_image_of_the_whole_folder(root) -> None:
    workspace = Workspace.of(root / "scans")

    jobs = Jobs(workspace)
    save_choices(workspace, jobs.audit_of(""), CHOICES)
    assert workspace.describe_data("", jobs.choices("").class_map, jobs.choices("").exclude)["images"] == 25


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b'{"mute": ["x"]}', b'{"exclude": []}', b'{"program": "sh"}', b'{"mute": "TB401"}'],
)
def test_choices_that_cannot_be_read_are_none(jobs, workspace, content) -> None:
    audit = jobs.audit_of("scans")
    save_choices(workspace, audit, CHOICES)
    (file,) = audit.root.parent.glob("choices-*.json")
    file.write_bytes(content)
    assert read_choices(workspace, audit) == Choices()


def test_links_are_not_followed(jobs, workspace, root, tmp_path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text(CHOICES.model_dump_json())
    audit = jobs.audit_of("scans")
    audit.root.parent.mkdir()
    file = audit.root.parent / f"choices-{audit.root.name}.json"
    file.symlink_to(outside)
    assert read_choices(workspace, audit) == Choices()
    save_choices(workspace, audit, Choices(mute=("TB408",)))
    assert outside.read_text() == CHOICES.model_dump_json()
    save_choices(workspace, audit, CHOICES)
    (root / list_name(CHOICES.excluded)).unlink()
    (root / list_name(CHOICES.excluded)).symlink_to(outside)
    jobs.begin("first", Job(data="scans"))  # the link is replaced
    assert not (root / list_name(CHOICES.excluded)).is_symlink()
    assert outside.read_text() == CHOICES.model_dump_json()
    audit.root.parent.rename(tmp_path / "audits")
    audit.root.parent.symlink_to(tmp_path / "audits")
    with pytest.raises(RunFolderError, match="found a link"):
        save_choices(workspace, audit, CHOICES)


def test_findings_come_with_their_images(jobs, workspace) -> None:
    pair, label = ["train/bar/bar0.png", "test/bar/bar1.png"], ["train/bar/bar2.png", "train/disc/disc0.png"]
    unreadable = finding("TB101", [f"{workspace.root}/scans/x: bad"])
    audit = write_audit(jobs, finding("TB401", pair), finding("TB403", label), unreadable)
    leak, labels, bad = read_findings(workspace, audit, "scans")["findings"]
    assert leak["groups"][0][1] == {
        "id": "test/bar/bar1.png",
        "split": "test",
        "class": "bar",
        "picture": "scans/test/bar/bar1.png",
    }
    assert (leak["repeats"], labels["repeats"], bad["repeats"]) == (True, False, False)
    assert [of["duplicates"] for of in (leak, labels, bad)] == [True, True, False]
    assert bad["groups"] == [[{"id": "scans/x: bad", "split": "", "class": "", "picture": ""}]]


def test_images_of_one_patient_are_no_duplicates(jobs, workspace) -> None:
    audit = write_audit(jobs, finding("TB409", ["train/bar/bar0.png", "train/bar/bar1.png"]))
    (only,) = read_findings(workspace, audit, "scans")["findings"]
    assert (only["duplicates"], only["repeats"]) == (False, False)


def test_a_class_has_one_name_in_all_splits(jobs, workspace, root) -> None:
    (root / "scans" / "train" / "bar").rename(root / "scans" / "train" / "bar_left")
    audit = write_audit(jobs, finding("TB401", ["train/bar_left/bar0.png", "test/bar/bar1.png"]))
    (leak,) = read_findings(workspace, audit, "scans")["findings"]
    assert [file["class"] for file in leak["groups"][0]] == ["bar", "bar"]
    assert leak["repeats"]


def test_images_of_a_table_are_found_beside_it(jobs, workspace, root) -> None:
    (root / "tables").mkdir()
    names = [path.relative_to(root).as_posix() for path in sorted((root / "scans").glob("*/*/*.png"))]
    rows = [f"../{name},{name.split('/')[2]}" for name in names]
    (root / "tables" / "all.csv").write_text("path,label\n" + "\n".join(rows))
    audit = write_audit(jobs, finding("TB105", [f"../{names[0]}"]))
    (only,) = read_findings(workspace, audit, "tables/all.csv")["findings"]
    assert only["groups"][0][0]["picture"] == names[0]
    assert only["groups"][0][0]["class"] == "bar"


def test_images_outside_are_not_shown(jobs, workspace, root, slice_png) -> None:
    (root.parent / "secret.png").write_bytes(slice_png)
    (root / "all.csv").write_text("path,label\n../secret.png,a\n")
    audit = write_audit(jobs, finding("TB105", ["../secret.png"]))
    with pytest.raises(DataError, match="outside it"):
        read_findings(workspace, audit, "all.csv")


def test_a_finding_with_very_many_images_says_how_many_are_not_shown(jobs, workspace) -> None:
    audit = write_audit(jobs, finding("TB105", *([f"{number}.png"] for number in range(2500))))
    (only,) = read_findings(workspace, audit, "scans")["findings"]
    assert (len(only["groups"]), only["left"]) == (2000, 500)


def test_a_name_that_is_not_utf8_hides_no_finding(jobs, workspace, root) -> None:
    """It is shown escaped and cannot be left out: what the page sends back would be another name."""
    odd = os.fsdecode(b"bar\xff.png")
    (root / "scans/train/bar/bar0.png").rename(root / "scans/train/bar" / odd)
    name = f"train/bar/{odd}"
    audit = write_audit(jobs, finding("TB105", [name], [STAYING]), not_applicable={"TB102": name})
    report = read_findings(workspace, audit, "scans")
    bad, good = (group[0] for group in report["findings"][0]["groups"])
    assert (bad["id"], bad["picture"]) == ("train/bar/bar\\udcff.png", "")
    assert good["picture"] == f"scans/{STAYING}"
    json.dumps(report, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"findings": [{"code": "../x"}]}', b"\xff" * 9, b"[" * 99999]
)
def test_an_audit_of_somebody_else_is_one_error(jobs, workspace, content) -> None:
    audit = write_audit(jobs)
    audit.audit.write_bytes(content)
    with pytest.raises(DataError, match="check the images first"):
        read_findings(workspace, audit, "scans")


def test_a_resume_reads_the_images_as_they_were_chosen(jobs, workspace, root) -> None:
    os.rename(root / "scans/test/bar", root / "scans/test/stripe")
    choices = Choices(class_map=("bar=bar,stripe",), exclude={"train/disc/disc0.png": ""})
    with pytest.raises(DataError, match="--class-map"):
        jobs.begin("first", Job(data="scans"))
    save_choices(workspace, jobs.audit_of("scans"), choices)
    run = jobs.begin("first", Job(data="scans"))
    jobs.stop(run)
    save_choices(workspace, jobs.audit_of("scans"), Choices())
    jobs.resume(run)
    assert jobs.waiting() == [run]
    assert jobs.read(run).class_map == ("bar=bar,stripe",)
