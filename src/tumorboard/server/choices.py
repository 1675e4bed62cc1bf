"""What the user chooses for labelled images before training, with the findings of the audit in view.

The choices are kept in `audits/` of the workspace, and so is the list for `--exclude` of each choice.
"""

import hashlib
import json
import os
import posixpath
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tumorboard import NOTICE
from tumorboard.data.manifest import write_excluded_csv
from tumorboard.errors import DataError, RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.server.workspace import AUDITS, Workspace
from tumorboard.storage import read_regular, write_text

_MAX_BYTES = 1 << 22
_MAX_AUDIT = 1 << 26  # bytes
_SAVING = threading.Lock()  # over what a change is based on, and the files
_FILES = 2000  # of a finding that are shown

Text = Annotated[str, Field(max_length=1000)]
Code = Annotated[str, Field(pattern=r"^(TB[0-9]{3})?$")]


class Choices(BaseModel):
    """What the user chose for labelled images."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    mute: tuple[Code, ...] = Field((), max_length=100, description="checks that the audit does not make")
    exclude: dict[Text, Code] = Field({}, description="images left out, each with the code of its finding")
    class_map: tuple[Text, ...] = Field((), max_length=500, description="as of --class-map: NAME=FOLDER,…")
    skip_bad: bool = Field(False, description="leave out files that cannot be read")

    @property
    def excluded(self) -> str:
        """The digest in the name of the list of what is left out; "" for nothing."""
        return _digest(_list(self.exclude).encode()) if self.exclude else ""

    @property
    def digest(self) -> str:
        """What a change of these choices names, so that it is not of others."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class _File(BaseModel):
    """A file with choices."""

    choices: Choices
    notice: str = NOTICE  # by which the file is known as an output


def list_name(digest: str) -> str:
    """Return where the list of this digest is, relative to the workspace."""
    return f"{AUDITS}/excluded-{digest}.csv"


def _list(exclude: Mapping[str, str]) -> str:
    return write_excluded_csv(dict(sorted(exclude.items())))


def _file(audit: RunFolder) -> Path:
    return audit.root.with_name(f"choices-{audit.root.name}.json")


def read_choices(workspace: Workspace, audit: RunFolder) -> Choices:
    """Read the choices for the data of an audit; what cannot be read counts as none."""
    try:
        if workspace.contains(_file(audit)):
            return _File.model_validate_json(read_regular(_file(audit), _MAX_BYTES)).choices
    except (OSError, ValidationError):
        pass
    return Choices()


def save_choices(workspace: Workspace, audit: RunFolder, choices: Choices, based_on: str = "") -> None:
    """Keep the choices for the data of an audit, and write the list of what is left out.

    Args:
        workspace: Where they are kept.
        audit: The folder of the audit of the images.
        choices: What is chosen.
        based_on: The digest of the choices that were changed; "" replaces any.

    Raises:
        DataError: Other choices were saved meanwhile, or these are too many to be read again.
        RunFolderError: The folder of the audits is a link.
        StorageError: It cannot be written.
    """
    text = _File(choices=choices).model_dump_json(indent=2) + "\n"
    if len(text.encode()) > _MAX_BYTES:
        raise DataError(
            f"expected choices of {_MAX_BYTES >> 20} MB at most, found more: {len(choices.exclude)} images "
            "left out; list them in a table with a column path and train in a terminal, --exclude TABLE"
        )
    with _SAVING:
        if based_on and based_on != read_choices(workspace, audit).digest:
            raise DataError(
                "expected the choices that are shown, found them changed in another tab; reload the page"
            )
        write_list(workspace, choices)
        write_text(_file(audit), text)


def write_list(workspace: Workspace, choices: Choices) -> None:
    """Write the list of what is left out, also if there is one: it may have been changed since.

    Raises:
        As `save_choices`.
    """
    if (workspace.root / AUDITS).is_symlink():
        raise RunFolderError(f"expected the folder {AUDITS} itself, found a link; remove it")
    if choices.exclude:
        write_text(workspace.root / list_name(choices.excluded), _list(choices.exclude))


def require_list(workspace: Workspace, digest: str) -> None:
    """Check that the list of a digest is as it was written.

    Raises:
        RunFolderError: It is not, or is not there.
    """
    try:
        content = read_regular(workspace.resolve(list_name(digest)), _MAX_BYTES)
    except (OSError, DataError):
        content = b""
    if _digest(content) != digest:
        raise RunFolderError(
            f"expected the list of images to leave out in {list_name(digest)}, found it changed or deleted; "
            "restore that file, or begin a new training"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _escaped(text: str) -> str:
    """Return text in which what of a file's name is not UTF-8, which no page can show, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


Line = Annotated[str, AfterValidator(_escaped)]


class _Finding(BaseModel):
    """A finding in audit.json, which may be a stranger's."""

    code: Code
    severity: Line
    title: Line
    consequence: Line
    remedy: Line
    files: tuple[tuple[Line, ...], ...] = ()


class _Audit(BaseModel):
    """What of audit.json is shown."""

    findings: tuple[_Finding, ...]
    passed: tuple[Line, ...]
    not_applicable: dict[Line, Line]
    muted: tuple[Line, ...]


def read_findings(workspace: Workspace, audit: RunFolder, data: str) -> dict[str, Any]:
    """Read what an audit found, each image with its class, its split and where it is in the workspace.

    Raises:
        DataError: There are no findings that can be read.
    """
    from tumorboard.audit.runner import SIDE_BY_SIDE  # scipy, which an idle server does not need

    try:
        # Not by Pydantic's parser, which refuses what stands for a byte of a name that is not UTF-8.
        report = _Audit.model_validate(json.loads(read_regular(audit.audit, _MAX_AUDIT)))
    except (OSError, ValueError, RecursionError):  # ValidationError is a ValueError
        raise DataError("expected the findings of an audit, found none; check the images first") from None
    known = workspace.images(data, read_choices(workspace, audit).class_map)
    below = data if os.path.isdir(workspace.resolve(data)) else posixpath.dirname(data)

    def image(name: str) -> dict[str, str]:
        split, _, label = known.get(name, ("", "", ""))
        picture = posixpath.normpath(posixpath.join(below, name)) if name in known else ""
        line = name.replace(f"{workspace.root}{os.sep}", "")  # of a file that is no image
        return {"id": line, "split": split, "class": label, "picture": picture}

    findings = []
    for finding in report.findings:
        shown: list[list[dict[str, str]]] = []
        for group in finding.files:
            if sum(map(len, shown)) + len(group) > _FILES:
                break
            shown.append([image(name) for name in group])
        labels = [{member["class"] for member in group} for group in shown]
        findings.append(
            finding.model_dump(exclude={"files"})
            | {
                "groups": shown,
                "left": len(finding.files) - len(shown),
                "duplicates": finding.code in SIDE_BY_SIDE,
                "repeats": finding.code in SIDE_BY_SIDE and all(len(names) == 1 for names in labels),
            }
        )
    return {**report.model_dump(exclude={"findings"}), "findings": findings}
