import asyncio
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from tumorboard.errors import ModelError
from tumorboard.run_folder import RunFolder
from tumorboard.server import security, workspace_app
from tumorboard.server.choices import Choices, save_choices
from tumorboard.server.jobs import Job, Jobs
from tumorboard.server.workspace import Workspace, run_id
from tumorboard.server.workspace_state import WorkspaceState

from .fake_server import fake_state
from .test_jobs import PROGRAM

PORT, SECRET = 8123, "abcdefgh12345678"
HEAVY = ("keras", "tensorflow", "onnxruntime", "scipy", "sklearn", "matplotlib")
OWN = f"127.0.0.1:{PORT}"


@pytest.fixture
def state(root: Path):
    workspace, opened = Workspace.of(root), []

    def open_run(run: RunFolder):
        opened.append(run)
        return dataclasses.replace(fake_state(root.parent), run=run)

    state = WorkspaceState(workspace, Jobs(workspace, PROGRAM), open_run)
    state.opened_runs = opened
    yield state
    for process in state.jobs._started:
        process.kill()
        process.wait()


@pytest.fixture
def client(state):
    with TestClient(workspace_app.build(state), raise_server_exceptions=False) as client:
        yield client


def begin(client, name="first", **job):
    return client.post("/api/studies", json={"name": name, "job": {"data": "scans", **job}})


def wait(client, run, status):
    end = time.monotonic() + 120
    while (found := client.get(f"/api/runs/{run}").json())["status"] != status:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def finish(client, root, run="first"):
    key = begin(client, run).json()["id"]
    (root / "runs" / run / "go").write_text("")
    wait(client, key, "finished")
    return key


# -- what every route asks of a request


def requests(application):
    """Every route as (method, path), from the routes themselves, documented or not."""
    found = []
    for route in application.routes:
        if isinstance(route, Mount):
            found += [("GET", f"{route.path}/0123/"), ("POST", f"{route.path}/0123/api/predict")]
        else:
            path = re.sub(r"{[^}]*}", "0123", route.path)
            found += [(method, path) for method in route.methods - {"HEAD"}]
    return found


@pytest.fixture
def guarded(state):
    application = workspace_app.build(state)
    guard = security.RequestGuard(application, security.access_rules("127.0.0.1", PORT, SECRET))
    with TestClient(guard, base_url=f"http://{OWN}", follow_redirects=False) as client:
        yield client, requests(application)


def test_every_route_asks_for_token_name_and_own_page(guarded) -> None:
    client, routes = guarded
    paths = {path for _, path in routes}
    assert {
        "/",
        "/page.css",
        "/openapi.json",
        "/api/studies",
        "/api/choices",
        "/api/findings",
        "/api/events",
        "/runs/0123/report",
    } <= paths
    assert len(routes) >= 20
    token = {"Authorization": f"Bearer {SECRET}"}
    for method, path in routes:
        assert client.request(method, path).status_code == 401, path
        wrong = {"Authorization": "Bearer abcdefgh12345679"}
        assert client.request(method, path, headers=wrong).status_code == 401, path
        assert client.request(method, path, headers={**token, "Host": "evil.example"}).status_code == 421, (
            path
        )
        if method != "GET":
            for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert client.request(method, path, headers={**token, **headers}).status_code == 403, path


def test_the_token_in_the_address_becomes_a_cookie_of_this_site_alone(guarded) -> None:
    client, _ = guarded
    answer = client.get(f"/?token={SECRET}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"httponly", "samesite=strict"} <= set(answer.headers["set-cookie"].lower().split("; "))
    assert client.get("/api/runs").status_code == 200


def test_bodies_are_small_json_and_nothing_else(client) -> None:
    names = ("studies", "audits", "command", "choices", "comparisons", "runs/0123/delete")
    for path in (f"/api/{name}" for name in names):
        assert client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        large = b" " * ((9 if path == "/api/choices" else 2) << 20)
        assert (
            client.post(path, content=large, headers={"Content-Type": "application/json"}).status_code == 413
        )
        for content in (b"", b"[]", b"{", b'{"data": 1}', b"\xff", b"[" * 100_000):
            answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, (path, content[:9])
            assert len(answer.json()["detail"]) < 300


# -- data


def test_data_is_found_with_its_pictures(client, root, slice_png) -> None:
    assert client.get("/api/folders").json()["folders"] == ["scans"]
    found = client.get("/api/data", params={"path": "scans"}).json()
    assert [row["name"] for row in found["classes"]] == ["bar", "disc", "noise"]
    picture = client.get("/api/picture", params={"path": found["classes"][0]["pictures"][0]})
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers.get("content-disposition") is None
    for size, status in ((256, 200), (0, 422), (100_000, 422)):
        params = {"path": found["classes"][0]["pictures"][0], "size": size}
        assert client.get("/api/picture", params=params).status_code == status
    outside = root.parent / "outside.png"
    outside.write_bytes(slice_png)
    for path in (f"../{outside.name}", str(outside), "scans", "", "scans/none.png"):
        assert client.get("/api/picture", params={"path": path}).status_code == 422
    (root / "scans" / "bad.png").write_bytes(b"no picture")
    assert "expected" in client.get("/api/picture", params={"path": "scans/bad.png"}).json()["detail"]


def test_a_layout_that_is_not_understood_comes_with_its_remedies(client, root) -> None:
    (root / "odd" / "a").mkdir(parents=True)
    found = client.get("/api/data", params={"path": "odd"}).json()
    assert found["problem"].startswith("expected")
    assert (found["folders"], found["choices"]["exclude"]) == ({}, {})


def test_choices_are_shown_with_a_problem_that_no_other_classes_mend(client, root, state) -> None:
    choices = Choices(exclude={"train/bar/bar0.png": ""})
    save_choices(state.workspace, state.jobs.audit_of("scans"), choices)
    for folder in [*root.glob("scans/*/disc"), *root.glob("scans/*/noise")]:  # meanwhile
        shutil.rmtree(folder)
    found = client.get("/api/data", params={"path": "scans"}).json()
    assert "two classes" in found["problem"]
    assert (found["folders"], found["choices"]) == ({"bar": "bar"}, choices.model_dump(mode="json"))


def test_the_command_of_the_choices_is_shown(client, root) -> None:
    body = {"name": "first", "job": {"data": "scans", "folds": 5}}
    shown = client.post("/api/command", json=body).json()["command"]
    assert shown == f"cd {root}\ntumorboard train scans --out runs/first --folds 5"
    for wrong in ({"name": "../x"}, {"name": ""}, {"program": "sh"}, {"job": {"weights": "x"}}):
        assert client.post("/api/command", json=body | wrong).status_code == 422


def test_what_is_chosen_for_images_is_kept_and_shown_in_the_command(client, root) -> None:
    choices = {"mute": ["TB408"], "exclude": {"train/bar/bar0.png": "TB401"}, "class_map": ["shape=bar,disc"]}
    found = client.post("/api/choices", json={"data": "scans", "choices": choices}).json()
    assert (found["images"], found["folders"]["disc"]) == (26, "shape")
    assert client.get("/api/data", params={"path": "scans"}).json() == found
    reply = client.post("/api/command", json={"name": "first", "job": {"data": "scans"}}).json()
    assert "--class-map=shape=bar,disc --exclude audits/excluded-" in reply["command"]
    assert reply["seconds_per_image"] > 0
    wrong = (
        {"exclude": {"train/bar/none.png": ""}},
        {"class_map": ["shape=other"]},
        {"class_map": ["shape"]},
        {"mute": ["--help"]},
        {"notice": "none"},
        {"out": "/tmp"},  # noqa: S108
    )
    for change in wrong:
        assert client.post("/api/choices", json={"data": "scans", "choices": change}).status_code == 422
    assert client.get("/api/data", params={"path": "scans"}).json() == found
    for path in ("../x", "/etc", ".", "scans/../.."):
        assert client.post("/api/choices", json={"data": path, "choices": {}}).status_code == 422
        assert client.get("/api/findings", params={"path": path}).status_code == 422


def choose(client, **choices):
    return client.post("/api/choices", json={"data": "scans", "choices": choices})


def test_an_image_that_was_left_out_and_is_gone_is_dropped(client, root) -> None:
    """It is named; the other choices stay, and can be changed and undone."""
    left_out = {"train/bar/bar0.png": "TB401", "train/bar/bar1.png": ""}
    assert choose(client, mute=["TB408"], exclude=left_out).status_code == 200
    (root / "scans/train/bar/bar0.png").unlink()
    found = client.get("/api/data", params={"path": "scans"}).json()
    assert "problem" not in found
    assert found["gone"] == ["train/bar/bar0.png"]
    assert found["choices"]["exclude"] == {"train/bar/bar1.png": ""}
    assert found["choices"]["mute"] == ["TB408"]
    kept = choose(client, mute=[], exclude=left_out).json()  # by a page that does not know it yet
    assert (kept["gone"], kept["choices"]) == (["train/bar/bar0.png"], found["choices"] | {"mute": []})
    again = client.get("/api/data", params={"path": "scans"}).json()
    assert (again["gone"], again["choices"]) == ([], kept["choices"])


def test_a_tab_does_not_overwrite_what_another_chose(client) -> None:
    def choose_in_tab(found, **change):
        choices = found["choices"] | change
        return client.post(
            "/api/choices", json={"data": "scans", "choices": choices, "based_on": found["digest"]}
        )

    first = second = client.get("/api/data", params={"path": "scans"}).json()
    for code in ("TB408", "TB409"):
        first = choose_in_tab(first, mute=[code]).json()
    for change in ({"skip_bad": True}, {}):
        refused = choose_in_tab(second, **change)
        assert refused.status_code == 422
        assert "changed in another tab; reload the page" in refused.json()["detail"]
    assert client.get("/api/data", params={"path": "scans"}).json() == first
    assert first["choices"]["mute"] == ["TB409"]


def test_undoing_everything_is_saved_whatever_is_wrong_with_the_images(client, root, state) -> None:
    (root / "scans" / "test" / "bar").rename(root / "scans" / "test" / "stripe")
    choices = {"class_map": ["bar=bar,stripe"], "exclude": {"test/stripe/bar1.png": ""}}
    assert choose(client, **choices).status_code == 200
    (root / "scans" / "test" / "stripe" / "bar1.png").unlink()
    assert client.get("/api/data", params={"path": "scans"}).json()["gone"] == ["test/stripe/bar1.png"]
    found = choose(client).json()
    assert "--class-map" in found["problem"]
    assert (found["choices"]["class_map"], found["choices"]["exclude"]) == ([], {})
    assert state.jobs.choices("scans") == Choices()


def test_classes_that_do_not_match_come_with_their_folders(client, root) -> None:
    (root / "scans" / "test" / "bar").rename(root / "scans" / "test" / "stripe")
    found = client.get("/api/data", params={"path": "scans"}).json()
    assert found["problem"].startswith("class folders that match no other split's")
    assert list(found["folders"]) == ["bar", "disc", "noise", "stripe"]
    body = {"data": "scans", "choices": {"class_map": ["bar=bar,stripe"]}}
    assert client.post("/api/choices", json=body).json()["images"] == 27


def test_findings_are_current_until_something_else_is_chosen(client, root, state) -> None:
    assert client.get("/api/findings", params={"path": "scans"}).status_code == 422
    wait(client, client.post("/api/audits", json={"data": "scans"}).json()["id"], "running")
    audit = state.jobs.audit_of("scans").audit
    audit.write_text(json.dumps({"findings": [], "passed": [], "not_applicable": {}, "muted": []}))
    for choices, current in (({}, True), ({"mute": ["TB408"]}, False)):
        client.post("/api/choices", json={"data": "scans", "choices": choices})
        assert client.get("/api/findings", params={"path": "scans"}).json()["current"] is current


# -- runs


def test_files_of_a_stranger_with_odd_text_hide_no_run(client, root) -> None:
    """Half of a surrogate pair, as of a name that is not UTF-8, and lists without an end."""
    for name, environment in (("odd", '{"command": "tumorboard train \\udcff"}'), ("deep", "[" * 99_999)):
        run = RunFolder(root / "runs" / name)
        run.progress.parent.mkdir(parents=True, exist_ok=True)
        run.environment.parent.mkdir(parents=True, exist_ok=True)
        run.recipe.write_text("")
        run.progress.write_text('{"task": "\\udcff"}')
        run.environment.write_text(environment)
    shown = client.get("/api/runs").json()
    assert [run["task"] for run in shown] == ["\udcff"] * 2
    commands = {run["name"]: client.get(f"/api/runs/{run['id']}").json()["command"] for run in shown}
    assert commands == {"runs/odd": "tumorboard train '\udcff'", "runs/deep": ""}


def test_a_study_from_beginning_to_end(client, root, state) -> None:
    key = begin(client).json()["id"]
    assert key == run_id("runs/first")
    found = wait(client, key, "running")
    assert begin(client).status_code == 422  # the name is taken
    while not (found := client.get(f"/api/runs/{key}").json()).get("task", "").startswith("custom: training"):
        time.sleep(0.05)
    assert [phase["title"] for phase in found["phases"]] == ["prepare", "custom", "report"]
    assert client.post(f"/api/runs/{key}/stop").status_code == 200
    assert wait(client, key, "stopped")["error"].startswith("stopped by SIGINT")
    (root / "runs" / "first" / "go").write_text("")
    assert client.post(f"/api/runs/{key}/resume").status_code == 200
    found = wait(client, key, "finished")
    assert found["summary"] == "Recommended model: custom\n"
    assert found["command"].endswith("tumorboard train scans --out runs/first")
    assert client.get(f"/api/runs/{key}/log").text.count("$ tumorboard train") == 2
    report = client.get(f"/runs/{key}/report")
    assert "The report" in report.text
    assert report.headers["content-security-policy"].startswith("sandbox;")
    assert client.post(f"/api/runs/{key}/delete", json={"name": "other"}).status_code == 422
    assert client.post(f"/api/runs/{key}/delete", json={"name": "first"}).status_code == 200
    assert client.get("/api/runs").json() == []
    assert client.get(f"/api/runs/{key}").status_code == 404


def test_a_run_of_the_command_line_is_seen_with_its_command(client, root) -> None:
    run = RunFolder(root / "typed")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text(json.dumps({"fraction": 0.5, "task": "custom: training 1/2"}))
    run.environment.write_text(json.dumps({"command": "tumorboard train scans --out typed"}))
    (found,) = client.get("/api/runs").json()
    assert (found["status"], found["begun_here"], found["fraction"]) == ("stopped", False, 0.5)
    assert (
        client.get(f"/api/runs/{found['id']}").json()["command"]
        == f"cd {root}\ntumorboard train scans --out typed"
    )
    assert client.post(f"/api/runs/{found['id']}/resume").status_code == 422


def test_runs_are_compared_and_what_differs_is_shown(client, root, state) -> None:
    keys = []
    for name, seed in (("first", 1), ("second", 2)):
        keys.append(finish(client, root, name))
        fingerprint = RunFolder(root / "runs" / name).fingerprint
        fingerprint.write_text(json.dumps({"settings": {"seed": seed}, "environment": {}, "files": {}}))
    shown = client.get("/api/differences", params={"run": keys}).json()
    assert shown["names"] == ["runs/first", "runs/second"]
    assert shown["differences"] == [{"name": "seed", "values": ["1", "2"]}]
    key = client.post("/api/comparisons", json={"runs": keys}).json()["id"]
    found = client.get(f"/api/runs/{key}").json()
    assert (found["kind"], found["command"]) == ("compare", shown["command"])
    assert found["differences"]["differences"] == shown["differences"]
    for wrong in ([], keys[:1], [keys[0], "0123"], [f"../{keys[0]}", keys[1]]):
        assert client.get("/api/differences", params={"run": wrong}).status_code in (404, 422)
        assert client.post("/api/comparisons", json={"runs": wrong}).status_code in (404, 422)


def test_states_are_pushed_when_they_change(state, root) -> None:
    """The stream itself, as a test client waits for the end of a reply."""

    async def first_two():
        application = workspace_app.build(state)
        route = next(route for route in application.routes if route.path == "/api/events")
        events = (await route.endpoint()).body_iterator
        first = await anext(events)
        state.jobs.begin("first", Job(data="scans"))
        watching = asyncio.create_task(workspace_app._watch(state))
        second = await anext(events)
        assert state.watchers == 1
        state.stop()
        rest = [event async for event in events]
        watching.cancel()
        return first, second, rest

    first, second, _ = asyncio.run(first_two())
    assert first == "data: []\n\n"
    assert json.loads(second.removeprefix("data: "))[0]["name"] == "runs/first"
    assert state.watchers == 0


def test_the_models_of_one_run_at_a_time_are_loaded_when_asked(client, root, state, slice_png) -> None:
    keys = [finish(client, root, name) for name in ("first", "second")]
    assert state.opened_runs == []
    for key in (keys[0], keys[0], keys[1]):
        assert "Predict images" in client.get(f"/runs/{key}/").text
        assert client.get(f"/runs/{key}/page.css").status_code == 200
        reply = client.post(f"/runs/{key}/api/predict", content=slice_png).json()
        assert reply["prediction"] == "normal"
    assert [run.root.name for run in state.opened_runs] == ["first", "second"]
    assert client.get(f"/runs/{keys[0]}", follow_redirects=False).headers["location"] == f"/runs/{keys[0]}/"
    assert client.get("/runs/0123456789abcdef/").status_code == 404
    RunFolder(root / "runs" / "second").checksums.write_text("of models that were trained again")
    assert client.get(f"/runs/{keys[1]}/").status_code == 200
    assert [run.root.name for run in state.opened_runs] == ["first", "second", "second"]
    assert client.post(f"/api/runs/{keys[1]}/delete", json={"name": "second"}).status_code == 200
    assert state.opened is None
    assert client.get(f"/runs/{keys[1]}/").status_code == 404


def test_models_that_nobody_asks_any_more_are_freed_and_opened_again(client, root, state, slice_png) -> None:
    key = finish(client, root)
    assert client.get(f"/runs/{key}/").status_code == 200
    time.sleep(2.5)  # ticks
    assert state.opened is not None
    state.idle_seconds = 0.0
    end = time.monotonic() + 60
    while state.opened and time.monotonic() < end:
        time.sleep(0.1)
    assert state.opened is None
    state.idle_seconds = 600.0
    assert client.post(f"/runs/{key}/api/predict", content=slice_png).status_code == 200
    assert [run.root.name for run in state.opened_runs] == ["first", "first"]


def test_models_that_cannot_be_opened_are_a_page_with_the_reason(client, root, state) -> None:
    key = finish(client, root)

    def refuse(run):
        raise ModelError("expected <models>, found none")

    state.open_run = refuse
    answer = client.get(f"/runs/{key}/")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "expected &lt;models&gt;, found none" in answer.text
    assert client.get(f"/runs/{key}/api/run").json()["detail"] == "expected <models>, found none"


def test_the_idle_server_loads_no_model_and_no_framework(root) -> None:
    code = "import sys; from tumorboard.server import server, workspace_app; "
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
