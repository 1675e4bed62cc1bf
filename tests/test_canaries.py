"""Nothing that lies in a stranger's folder is executed: modules and programs there report when they are.

A canary is a file that writes its own name to a witness file when it is executed. There is one for every
module that is installed, for optional packages, and for the programs that Python packages call. They lie in
the working directory, the data, the run folder, TMPDIR and HOME. The search paths have empty entries, as
`PYTHONPATH=/opt/lib:$PYTHONPATH` leaves them: each stands for the working directory.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import matplotlib
import pytest

from tests.data.dicoms import PYDICOMS
from tests.small_runs import RECIPE, draw
from tumorboard import isolation

ROOT = Path(__file__).parents[1]
MODULES = sys.stdlib_module_names | set(packages_distributions())
MODULES |= {"sitecustomize", "usercustomize", "kagglehub", "canary"}
PROGRAMS = ("uname", "lscpu", "fc-list", "git", "gcc", "cc", "ld", "ldconfig", "latex", "which", "nvidia-smi")
LIBRARIES = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libcuda.so.1")
SEARCH = """
[search]
"models.custom.training.learning_rate" = { low = 1e-4, high = 1e-1, log = true }
"""

# Python itself looks for some modules, such as `encodings`, on the same path before our first line is run; so
# the canaries are put into the working directory after that. The script needs no other module until then.
START = """
import os, sys

def plant(folder):
    for name in os.listdir("../canaries"):
        os.link(os.path.join("../canaries", name), os.path.join(folder, name))

if not os.path.exists("json.py"):  # else the command began again with another linker's path
    plant(".")
"""

# What the installed script does, once per command.
COMMANDS = """
from tumorboard.__main__ import main

def command(*arguments, code=0):
    sys.argv[1:] = arguments
    try:
        ended = main()
    except SystemExit as exit:
        ended = exit.code
    assert ended == code, (arguments, ended)

command("--version")
command("audit", "data", "--out", "audited", code=9)
command("split", "data", "--skip-bad", "--out", "split.csv")

from tests.small_runs import add_tiny_backbone

add_tiny_backbone()
small = ("--recipe", "../recipe.toml", "--skip-bad", "--quiet")
command("train", "data", "--out", "run", *small)
plant("run")
plant("run/models")
command("tune", "data", "--out", "tuned", "--trials", "1", "--folds", "2", "--model", "custom", *small)
command("evaluate", "run", "--data", "data", "--skip-bad", "--quiet")

import shutil, threading, urllib.request

shutil.copytree("run", "again")
command("compare", "run", "again")
command("predict", "run", "slice.dcm", "data/test", "--out", "predicted.csv", "--quiet")
command("explain", "run", "slice.dcm", "--out", "maps", "--quiet")
command("export", "run", "--format", "onnx", "--quiet")
command("report", "run")
members = ("run/models/custom.keras", "run/models/pretrained.keras")
command("combine", *members, "--form", "mean", "--out", "both.keras")
command("completion", "bash")
command("fetch", "chest-ct", code=2)

from pathlib import Path

from tumorboard.run_folder import RunFolder
from tumorboard.workflows import datasets

datasets.train = lambda *_, **__: RunFolder(Path("run"))
command("demo")

import signal, socket, time

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]

def upload():
    content = open("slice.dcm", "rb").read()
    kind = {"Content-Type": "application/octet-stream"}
    while not answers:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                page.read()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/predict", content, kind)
            with urllib.request.urlopen(request) as answer:
                answers.append(answer.status)
        except ConnectionError:
            time.sleep(0.1)
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                answers.append(str(error))
    os.kill(os.getpid(), signal.SIGINT)

answers = []
threading.Thread(target=upload).start()
try:
    command("serve", "run", "--port", str(port))
except KeyboardInterrupt:
    pass
assert answers == [200], answers

strangers = (os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"])
assert not [path for path in sys.path if not os.path.isabs(path) or path.startswith(strangers)], sys.path

# A program that uses the package has the search paths of its user; the processes that are started do not.
import tumorboard as tb
from tumorboard.data import sandbox
from tumorboard.errors import ModelError
from tumorboard.models import safe_loading

image = tb.load_recipe("default").image
sandbox._close_all()
os.environ |= {"PYTHONPATH": os.environ["PYTHONPATH"] + os.pathsep, "PATH": os.pathsep + os.environ["PATH"]}
tb.read_input("slice.dcm", image)
safe_loading.inspect(Path("both.keras"))
try:
    safe_loading.load_in_child(Path("none.keras"))
except ModelError as error:  # the process that loads models was started, and looked
    assert "none.keras" in str(error), error
else:
    raise AssertionError
"""

RAY = """
from tumorboard.isolation import isolate_process

isolate_process()
import ray

from tumorboard.distributed.ray_cluster import connected

def look():
    import json, os, sys, tumorboard.distributed.train
    return os.getcwd(), sys.path, os.environ["PYTHONPATH"].split(os.pathsep)

with connected("local"):
    folder, path, variable = ray.get(ray.remote(look).remote())
    assert os.listdir(folder) == [], folder
stranger = os.getcwd()
assert os.path.isdir("data"), "we are back"
for place in (folder, *path, *variable):
    assert os.path.isabs(place) and not place.startswith(stranger), place
"""


@pytest.fixture
def trap(tmp_path):
    """A stranger's folder to run commands in, and the environment variables that lead to it."""
    folder, witness = tmp_path / "downloaded", tmp_path / "witness"
    draw(folder / "data")
    recipe = re.sub(r"epochs = \d", "epochs = 1", RECIPE).replace('"mean_dense"', '"mean"')
    (tmp_path / "recipe.toml").write_text(recipe + SEARCH)
    (folder / "slice.dcm").write_bytes(PYDICOMS["JPEG2000.dcm"].read_bytes())
    (folder / "matplotlibrc").write_bytes(b"backend: module://canary\n\xff")
    (folder / "keras.json").write_text('{"backend": "canary"}')
    (folder / "default").write_text("no TOML")
    (folder / "default.toml").write_text("no TOML")
    (folder / ".env").write_text("PYTHONPATH=.\n")
    for name in [*LIBRARIES, *(f"file_image_{number}" for number in range(100))]:  # HDF5 calls its buffers so
        (folder / name).write_text("no library, no model")
    for place in ("canaries", "downloaded/data", "tmp", "home"):
        (tmp_path / place).mkdir(exist_ok=True)
        for name in sorted(MODULES):
            code = f"open({str(witness)!r}, 'a').write(__file__ + '\\n')\n"
            (tmp_path / place / f"{name}.py").write_text(code)
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> '{witness}'\n")
        (folder / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")} | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), ""]),
        "PATH": os.pathsep + os.environ["PATH"],
        "LD_LIBRARY_PATH": os.pathsep,
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "home"),
        "MPLCONFIGDIR": matplotlib.get_configdir(),  # a new one is filled for seconds
    }
    return folder, environment


def run(script, folder, environment):
    """Run a script of another folder there; it ends well, and no canary was executed."""
    file = folder.parent / "script"
    file.write_text(script)
    witness = folder.parent / "witness"
    done = subprocess.run([sys.executable, file], cwd=folder, env=environment, capture_output=True, text=True)
    assert not witness.exists(), witness.read_text()
    assert done.returncode == 0, done.stderr[-2000:]


def test_neither_commands_nor_processes_that_python_code_starts_execute_what_lies_in_a_folder(trap):
    run(START + COMMANDS, *trap)
    home = Path(trap[1]["HOME"])
    files = {str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()}
    # No telemetry and no caches: Keras alone writes its default settings there.
    assert files - {f"{name}.py" for name in MODULES} == {".keras/keras.json"}


def test_nor_do_workers_of_ray(trap):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    folder, environment = trap
    run(START + RAY, folder, environment | {"TMPDIR": "/tmp"})  # noqa: S108 - its sockets have short names


def test_python_m_executes_nothing_that_python_does_not_import_before_our_first_line(trap):
    folder, environment = trap
    first = subprocess.check_output([sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"])
    for name in MODULES - {"tumorboard", *first.decode().split()}:
        (folder.parent / "canaries" / f"{name}.py").rename(folder / f"{name}.py")
    environment["PYTHONPATH"] = str(ROOT / "src")
    command = [sys.executable, "-m", "tumorboard", "--version"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("tumorboard "), done.stderr
    assert not (folder.parent / "witness").exists()


def test_a_checkout_that_is_not_installed_is_found_by_child_processes():
    code = "from tumorboard.isolation import *; isolate_process(); print(child_environment()['PYTHONPATH'])"
    for path, folder in (("src", ROOT), ("", ROOT / "src")):
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True)
        assert done.stdout.decode().strip() == str(ROOT / "src"), done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [(":/opt", "/opt"), ("/opt:", "/opt"), ("/a::/b", "/a:/b"), (".:bin:/a", "/a"), (":", None), ("", None)],
)
def test_search_paths_keep_their_absolute_entries(monkeypatch, before, after):
    for name in ("PATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, before.replace(":", os.pathsep))
        assert isolation.child_environment().get(name) == (after and after.replace(":", os.pathsep))
    assert isolation.child_environment()["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize("folder", ["", "/settings", "~/settings"])
def test_an_empty_folder_of_keras_is_not_the_working_directory(monkeypatch, folder):
    monkeypatch.setenv("KERAS_HOME", folder)
    assert isolation.child_environment().get("KERAS_HOME", "") == folder
    assert ("KERAS_HOME" in isolation.child_environment()) == bool(folder)
