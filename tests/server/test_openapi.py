"""schemathesis against the served OpenAPI: every answer is one that the schema documents."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("schemathesis")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not COMMAND.exists() and not shutil.which("schemathesis"), reason="needs `pip install schemathesis`"
    ),
]


def test_schemathesis_finds_no_failure(served, tmp_path):
    url, process = served()
    options = ["--checks", "all", "--max-examples", "200", "--seed", "1", "--no-color"]
    options += ["--request-timeout", "60"]  # a check of answers, not of time
    command = [COMMAND if COMMAND.exists() else "schemathesis", "run", f"{url}openapi.json", *options]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.server.schema_hooks", "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-5000:]
    assert process.poll() is None
