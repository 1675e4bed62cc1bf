"""Decoding processes run our code, and nothing that lies in the working directory."""

import pytest

from tumorboard.data import workers

MODULES = ("tumorboard.data.dicom.worker", "tumorboard.serving.decode_worker")
CANARIES = ("json", "numpy", "types", "tumorboard", "warnings", "struct", "PIL", "pydicom", "typing")


@pytest.mark.parametrize("module", MODULES)
def test_a_worker_executes_nothing_from_the_working_directory(module, tmp_path, monkeypatch):
    executed = tmp_path / "executed"
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in CANARIES:
        (folder / f"{name}.py").write_text(
            f"open({str(executed)!r}, 'a').write({name!r})\nraise SystemExit\n"
        )
    monkeypatch.chdir(folder)
    worker = workers.started(module)
    try:
        answer, _ = workers.exchange(
            worker,
            {"rule": {}, "rows": 1, "columns": 1, "plugin": "pydicom", "syntax": "1.2.840.10008.1.2.5"},
            b"x",
        )
    finally:
        workers.end(worker)
    assert "error" in answer
    assert not executed.exists(), executed.read_text()
