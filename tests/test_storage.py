import errno
import fcntl
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tumorboard import run_folder, storage
from tumorboard.errors import StorageError
from tumorboard.run_folder import RunFolder

OLD, NEW = b"old " * 5000, b"new content " * 5000


class Killed(BaseException):
    """The process is gone: nothing that it would still have done happens."""


class Faults:
    """Counts what is done to the disk; the n-th operation fails, and after a kill every later one too."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int, fault: int | None) -> None:
        self.n, self.fault = n, fault
        self.names: list[str] = []
        for name in ("fsync", "replace", "unlink"):
            patch.setattr(os, name, self.counted(name))
        opened = Path.open
        patch.setattr(Path, "open", lambda path, mode="r", **options: self.open(opened, path, mode, options))

    @property
    def done(self) -> int:
        return len(self.names)

    @property
    def fired(self) -> bool:
        return self.done >= self.n

    def operation(self, name: str) -> None:
        self.names.append(name)
        if self.done == self.n and self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        if self.done >= self.n and self.fault is None:
            raise Killed

    def counted(self, name: str) -> Callable[..., object]:
        inner = getattr(os, name)

        def operation(*args: object, **options: object) -> object:
            self.operation(name)
            return inner(*args, **options)

        return operation

    def open(
        self, opened: Callable[..., io.IOBase], path: Path, mode: str, options: dict[str, object]
    ) -> object:
        if mode != "wb":
            return opened(path, mode, **options)
        self.operation("open")
        faults = self

        class Counting(io.FileIO):
            def write(self, content: bytes) -> int:
                faults.operation("write")
                return super().write(content[: len(content) // 2 + 1])  # as the system may: not all at once

        return io.BufferedWriter(Counting(path, "wb"), 1024)


def replace(path: Path) -> None:
    with storage.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(NEW)


def write_in_parts(path: Path) -> None:
    with storage.writing(path) as file:
        for start in range(0, len(NEW), 7000):
            file.write(NEW[start : start + 7000])


WRITERS = {
    "write_bytes": lambda path: storage.write_bytes(path, NEW),
    "write_text": lambda path: storage.write_text(path, NEW.decode()),
    "replacing": replace,
    "writing": write_in_parts,
}
FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "kill": None}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("old", [OLD, None], ids=["over a file", "anew"])
def test_a_fault_at_any_operation_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, write: Callable[[Path], None], fault: int | None, old: bytes | None
) -> None:
    path, n = tmp_path / "models" / "file.bin", 0
    outcomes = set()
    while True:
        n += 1
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, n, fault)
            try:
                write(path)
                said = None
            except StorageError as error:
                said = str(error)
            except Killed:
                said = "killed"
        if not faults.fired:
            break
        found = path.read_bytes() if path.exists() else None
        assert found in (old, NEW)
        if said is None:  # what came after the rename failed: the file is there
            assert found == NEW
        elif fault is not None:
            assert found == old
            assert "file.bin" in said
            assert ("MB free" in said) == (fault != errno.EACCES)
            assert len(said.splitlines()) == 1
            assert [one.name for one in path.parent.iterdir()] == ([] if old is None else ["file.bin"])
        outcomes.add(found)
    assert n > 5
    assert outcomes == {old, NEW}  # faults before and after the rename were tried
    assert path.read_bytes() == NEW
    order = [name for i, name in enumerate(faults.names) if faults.names[i - 1 : i] != [name]]
    # On the disk before it has its name, and then the name too.
    assert order[:6] == ["unlink", "open", "write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_a_kill_leaves_is_removed_at_the_next_start(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    run = RunFolder(tmp_path / "run")
    with run_folder.locked(run):
        write(run.model("custom"))
    with pytest.MonkeyPatch.context() as patch:
        Faults(patch, 5, None)
        with pytest.raises(Killed):
            write(run.model("other"))
    assert [one for one in (run.root / "models").iterdir() if storage.TEMPORARY in one.name]
    with run_folder.locked(run):
        assert [one.name for one in (run.root / "models").iterdir()] == ["custom.keras"]


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Faults(patch, 2, errno.ENOSPC)
        with pytest.raises(StorageError, match="no space left") as caught:
            storage.write_bytes(tmp_path / "file", NEW)
    assert "repeat the command: what was finished is kept" in str(caught.value)


def test_an_error_of_the_body_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError), storage.writing(tmp_path / "file") as file:
        file.writelines([b"some", "of it is no bytes"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["y" * 200] * 30)], ids=["name", "path"])
def test_a_name_that_is_too_long_is_an_error_like_any_other(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError) as caught:
        storage.write_bytes(tmp_path / name / "file", b"")
    assert len(str(caught.value)) <= 300
    assert "choose another --out" in str(caught.value)


def test_free_space_of_a_folder_that_cannot_be_looked_at_is_that_of_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = storage.shutil.disk_usage

    def refused(path: Path) -> object:
        if Path(path) != tmp_path:
            raise PermissionError
        return usage(path)

    monkeypatch.setattr(storage.shutil, "disk_usage", refused)
    error = storage.storage_error(tmp_path / "a" / "b", OSError(errno.ENOSPC, "No space left on device"))
    assert "no space left" in str(error)
    assert "MB free" in str(error)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: refused(Path("other")))
    assert "free space unknown" in str(storage.storage_error(tmp_path, OSError(errno.EIO, "fault")))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_missing_permission_is_not_reported_as_missing_space(tmp_path: Path, number: int) -> None:
    error = str(storage.storage_error(tmp_path / "x", OSError(number, os.strerror(number))))
    assert f"{os.strerror(number)}; make it writable or choose another --out" in error
    assert "MB" not in error
    assert "space" not in error


def test_json_is_json(tmp_path: Path) -> None:
    content = {"b": [1, 0.1], "a": "ä"}
    storage.write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert text.index('"b"') < text.index('"a"')
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(tmp_path / "other.json", {"loss": math.nan})
    assert [one.name for one in tmp_path.iterdir()] == ["file.json"]


def test_array_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "view.npy"
    with storage.writing_array(path, (3, 2), np.float16) as append:
        append(np.arange(4).reshape(2, 2))
        assert not path.exists()
        append(np.arange(4, 6, dtype=np.float32)[np.newaxis])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), np.arange(6.0).reshape(3, 2))
    assert [one.name for one in path.parent.iterdir()] == ["view.npy"]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_array_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    faults = Faults(monkeypatch, n, errno.ENOSPC)
    with (
        pytest.raises(StorageError, match=r"view\.npy: no space left \(\d+ MB free\)"),
        storage.writing_array(tmp_path / "view.npy", (3, 512), np.float32) as append,
    ):
        append(np.zeros((3, 512)))
    assert faults.names[-1] == "unlink"
    assert not list(tmp_path.iterdir())


def test_array_left_half_filled_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), storage.writing_array(tmp_path / "view.npy", (3, 2), np.float32):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_files_are_written_where_the_system_is_as_strict_as_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows opens no folder, syncs no file that is open for reading only, and renames no mapped file."""
    opened, synced, renamed = os.open, os.fsync, os.replace
    refused = PermissionError(errno.EACCES, "Permission denied")

    def open_file(path: str, *flags: int) -> int:
        if os.path.isdir(path):
            raise refused
        return opened(path, *flags)

    def sync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        synced(descriptor)

    def rename(source: Path, target: Path) -> None:
        maps = Path("/proc/self/maps")  # Linux only; elsewhere this part of the test holds nothing
        if maps.exists() and str(source) in maps.read_text("utf-8"):
            raise refused
        renamed(source, target)

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    storage.write_bytes(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW
    with storage.writing_array(tmp_path / "view.npy", (2, 3), np.float32) as append:
        append(np.ones((2, 3)))
    assert (np.load(tmp_path / "view.npy", allow_pickle=False) == 1).all()


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.sha256(tmp_path / "abc") == expected


def test_names_that_are_not_utf8_are_escaped_and_json_gives_them_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    storage.write_text(tmp_path / "table.csv", f"path\n{name}\n")
    assert (tmp_path / "table.csv").read_text("utf-8") == "path\ncaf\\udce9.png\n"
    storage.write_json(tmp_path / "record.json", {"command": name})
    assert json.loads((tmp_path / "record.json").read_text("utf-8")) == {"command": name}


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for write in (storage.write_json, storage.write_disposable):
        (tmp_path / ".writing-new.json").symlink_to(outside)
        write(tmp_path / "new.json", {"a": 1})
        assert outside.read_text() == "mine"
        assert (tmp_path / "new.json").read_text().split() == [
            "{",
            '"a":',
            "1",
            "}",
        ] or write is storage.write_disposable


def test_a_strangers_file_is_read_up_to_a_limit_and_must_be_a_file(tmp_path):
    (tmp_path / "text").write_bytes(b"0123456789")
    assert storage.read_regular(tmp_path / "text", 10) == b"0123456789"
    with pytest.raises(OSError, match="more than 9 bytes"):  # its first bytes may be harmless
        storage.read_regular(tmp_path / "text", 9)
    assert storage.read_regular(tmp_path / "text", 4, end=True) == b"6789"
    with pytest.raises(OSError, match="no regular file"):
        storage.read_regular(Path(os.devnull), 4)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors as Linux lists them")
def test_a_folder_in_the_place_of_a_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="no regular file"):
            storage.read_regular(tmp_path, 4)
    assert len(os.listdir("/proc/self/fd")) == before
