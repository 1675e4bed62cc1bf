"""Objects of a store on this machine are listed whole, and are as hostile as files."""

import errno
import os
import tempfile

import pytest

from tests import small_store
from tests.small_store import put
from tumorboard import optional
from tumorboard.data import image_reader, object_store
from tumorboard.data.object_store import Remote, opened, sources, version
from tumorboard.errors import DataError, StorageError, UsageError

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto", reason="the store of the tests is not installed")


@pytest.fixture(scope="module", autouse=True)
def _store():
    with small_store.serving():
        yield


def urls(*named):
    return [str(one) for one in sources(named)]


def content(source):
    with opened(source) as file:
        return file.read()


def test_all_below_an_address_is_listed_in_order_and_nothing_beside_it():
    odd = ("list/b.png", "list/a/2.png", "list/a//1.png", "list/a/../z.png", "list/f@r?x#y &+%.png")
    ignored = ("list/", "list/.git/config", "list/a/Thumbs.db", "listing/no.png")
    for name in odd + ignored:
        put(name, name.encode())
    expected = sorted(f"s3://scans/{name}" for name in odd)
    assert urls("s3://scans/list") == urls("s3://scans/list/") == expected
    assert [content(one).decode() for one in sources(["s3://scans/list"])] == sorted(odd)
    assert urls("s3://scans/list/b.png") == ["s3://scans/list/b.png"]


def test_more_than_a_page_of_a_listing(tmp_path):
    for number in range(1005):
        put(f"many/{number:04d}", b"x")
    (tmp_path / "here.png").touch()
    found = urls(tmp_path / "here.png", "s3://scans/many")
    assert found == [str(tmp_path / "here.png"), *(f"s3://scans/many/{number:04d}" for number in range(1005))]


def test_a_version_changes_with_the_content_alone():
    put("version.png", b"old")
    old, again = (next(sources(["s3://scans/version.png"])) for _ in range(2))
    put("version.png", b"new")
    new = next(sources(["s3://scans/version.png"]))
    assert version(old) == version(again) != version(new)


def test_a_version_of_a_file_here_changes_with_its_time(tmp_path):
    file = tmp_path / "a.png"
    assert version(file) == ""
    file.write_bytes(b"old")
    os.utime(file, ns=(1, 1))
    before = version(file)
    os.utime(file, ns=(1, 2))
    assert before != version(file) != ""


def test_what_is_too_large_or_empty_is_refused_unread(monkeypatch):
    monkeypatch.setattr(object_store, "_chunks", lambda remote, file: pytest.fail("it was read"))
    monkeypatch.setattr(image_reader, "MAX_BYTES", 4)
    with pytest.raises(DataError, match="5 bytes, more than the 4"):
        content(Remote("s3://scans/large", 5, ""))
    with pytest.raises(DataError, match="an empty file"):
        content(Remote("s3://scans/empty", 0, ""))


def test_no_more_is_read_than_was_listed():
    put("grown", b"x" * 100)
    assert content(Remote("s3://scans/grown", 10, "")) == b"x" * 10


def test_no_byte_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    put("left", b"patient")
    with opened(Remote("s3://scans/left", 7, "")) as file:
        assert list(tmp_path.iterdir()) == []  # not even while it is read: a kill leaves nothing
        assert file.read() == b"patient"


def test_a_full_disk_is_no_fault_of_the_object(monkeypatch):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    put("full", b"x")
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(StorageError, match="no space left"):
        content(Remote("s3://scans/full", 1, ""))


def test_an_object_that_is_gone_is_an_error_of_the_system_without_the_stores_words():
    with pytest.raises(OSError, match="FileNotFoundError") as caught:
        content(Remote("s3://scans/gone", 1, ""))
    assert caught.value.__cause__ is None
    assert "gone" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://scans/nothing/here", "s3://no-such-bucket/x"])
def test_nothing_at_an_address_is_named(url):
    with pytest.raises(DataError, match=url):
        urls(url)


@pytest.mark.parametrize(
    "url", ["file:///etc", "simplecache::s3://scans", "http://x/", "s3://key:word@scans/x"]
)
def test_other_stores_and_credentials_in_an_address_are_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="expected s3://") as caught:
        urls(url)
    assert "word" not in str(caught.value)


def test_without_the_package_the_address_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "s3fs" else name)
    with pytest.raises(UsageError, match=r's3:// .*pip install "fsspec>=\S+" "s3fs>=\S+"$'):
        urls("s3://scans/x")
