import subprocess
import sys

SCRIPT = """
import os, sys
from tumorboard.cli.main import import_quietly

sys.path.insert(0, sys.argv[1])
import_quietly("noisy")
import noisy
os.write(2, b"afterwards")
print(noisy.answer)
"""


def run(folder, module):
    (folder / "noisy.py").write_text(module, "utf-8")
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_a_module_writes_while_it_is_imported_is_dropped_and_nothing_else(tmp_path):
    done = run(tmp_path, 'import os; os.write(2, b"a note"); answer = 42')
    assert (done.stdout, done.stderr) == ("42\n", "afterwards")


def test_a_failure_is_told(tmp_path):
    done = run(tmp_path, 'import os; os.write(2, b"NOTE".lower()); raise ValueError("the reason")')
    assert done.returncode == 1
    assert "ValueError: the reason" in done.stderr
    assert "note" not in done.stderr
