"""The server, and the training that it began, killed at random moments: the study ends with the same bits."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.small_runs import RECIPE, bits, draw
from tumorboard.run_folder import RunFolder, read_holder
from tumorboard.server.workspace import run_id

from .test_workspace_page import running_server

SEED, KILLS, LONGEST = 20261128, 20, 8.0


def ask(url, method, path, body=None):
    """Send a request with the secret of the address; return the reply."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    headers = {"Authorization": f"Bearer {parts.query.removeprefix('token=')}"}
    headers["Content-Type"] = "application/json"
    connection.request(method, path, json.dumps(body) if body else None, headers)
    reply = connection.getresponse()
    content = json.loads(reply.read())
    connection.close()
    return content


def wait(url, run, statuses):
    end = time.monotonic() + 600
    while (found := ask(url, "GET", f"/api/runs/{run}"))["status"] not in statuses:
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def kill_all(folder):
    """Kill the trainings of a workspace, which outlive their server."""
    for run in folder.glob("runs/*"):
        holder = read_holder(RunFolder(run))
        if holder:
            os.kill(holder.pid, signal.SIGKILL)


def begin(url, name):
    study = {"name": name, "job": {"data": "scans", "recipe": "small"}}
    return ask(url, "POST", "/api/studies", study)["id"]


def test_a_queue_outlives_a_killed_server_and_one_works_at_a_time(root):
    runs = {name: RunFolder(root / "runs" / name) for name in ("c", "b", "a")}  # in this order
    keys = {name: run_id(f"runs/{name}") for name in runs}

    def states(url):
        found = {entry["id"]: entry for entry in ask(url, "GET", "/api/runs")}
        return {name: found[key] for name, key in keys.items()}

    try:
        with running_server(root, "fake") as (url, process):
            for name in runs:
                ask(url, "POST", "/api/studies", {"name": name, "job": {"data": "scans"}})
            wait(url, keys["c"], ["running"])
            process.kill()
        with running_server(root, "fake") as (url, _):
            assert [entry["status"] for entry in states(url).values()] == ["running", "stopped", "stopped"]
            assert [entry["left_waiting"] for entry in states(url).values()] == [False, True, True]
            (runs["c"].root / "go").touch()
            wait(url, keys["c"], ["finished"])
            time.sleep(3)  # ticks, at each of which the next one might begin
            assert states(url)["b"]["left_waiting"]
            assert ask(url, "POST", "/api/queue/continue") == {"waiting": 2}
            for name in ("b", "a"):
                wait(url, keys[name], ["running"])
                working = [key for key, entry in states(url).items() if entry["status"] == "running"]
                assert working == [name]
                (runs[name].root / "go").touch()
                wait(url, keys[name], ["finished"])
    finally:
        kill_all(root)


@pytest.mark.slow
def test_killed_twenty_times_a_study_ends_as_if_left_alone(tmp_path):
    folder, recipe, chance = tmp_path / "work", tmp_path / "small.toml", random.Random(SEED)  # noqa: S311
    draw(folder / "scans")
    recipe.write_text(RECIPE)
    with running_server(folder, recipe) as (url, _):
        wait(url, begin(url, "alone"), ["finished"])
    run, disturbed, killed = run_id("runs/disturbed"), RunFolder(folder / "runs" / "disturbed"), 0
    for number in range(KILLS):
        with running_server(folder, recipe) as (url, process):
            if number == 0:
                assert begin(url, "disturbed") == run
            elif wait(url, run, ["running", "stopped", "finished"])["status"] == "stopped":
                ask(url, "POST", f"/api/runs/{run}/resume")
            time.sleep(chance.uniform(0.5, LONGEST))
            process.kill()
        holder = read_holder(disturbed)
        if holder and number % 2:
            os.kill(holder.pid, signal.SIGKILL)
            killed += 1
    with running_server(folder, recipe) as (url, _):
        if wait(url, run, ["stopped", "finished"])["status"] == "stopped":
            ask(url, "POST", f"/api/runs/{run}/resume")
        found = wait(url, run, ["finished"])
    assert found["error"] == ""
    assert killed
    assert bits(disturbed.root) == bits(folder / "runs" / "alone")


@pytest.mark.slow
def test_a_run_of_a_terminal_is_resumed_here_with_the_same_bits(tmp_path):
    folder, recipe = tmp_path / "work", tmp_path / "small.toml"
    draw(folder / "scans")
    recipe.write_text(RECIPE)
    program = Path(__file__).with_name("small_workspace.py")

    def typed(name):
        command = [
            sys.executable,
            program,
            "train",
            "scans",
            "--out",
            name,
            "--recipe",
            recipe,
            "--seed",
            "5",
        ]
        return subprocess.Popen([*map(str, command), "--keep-together", "given", "--quiet"], cwd=folder)

    assert typed("alone").wait(600) == 0
    process, run, end = typed("stopped"), RunFolder(folder / "stopped"), time.monotonic() + 600
    while not run.state("custom").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 130
    with running_server(folder, recipe) as (url, _):
        key = run_id("stopped")
        assert wait(url, key, ["stopped"])["refusal"] == ""
        ask(url, "POST", f"/api/runs/{key}/resume")
        wait(url, key, ["running"])
        assert wait(url, key, ["finished", "stopped"])["error"] == ""
    assert bits(run.root) == bits(folder / "alone")
