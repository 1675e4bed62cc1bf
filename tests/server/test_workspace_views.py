"""The main path by keyboard alone, and every view on the way judged by axe-core.

With a folder in $TUMORBOARD_PICTURES, each view is saved there: at 1280 and 390 pixels, light and dark.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.browsing import browser, faults_everywhere, needs_browser, playwright, watched  # noqa: F401
from tumorboard.run_folder import RunFolder
from tumorboard.server.workspace import run_id

from .fake_training import history
from .test_workspace_kills import ask, kill_all, wait
from .test_workspace_page import running_server, see

pytestmark = needs_browser
PICTURES = os.environ.get("TUMORBOARD_PICTURES")
MOST_TABS = 60


def judge(page, name):
    """Check a view with axe-core, and save its pictures if asked for."""
    assert faults_everywhere(page) == [], name
    if PICTURES:
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def focused(page):
    """The name of what has the focus, as its text or its label."""
    return page.evaluate(
        """() => { const e = document.activeElement, label = e.labels?.[0]?.textContent;
            return (label || e.getAttribute("aria-label") || e.textContent || "").trim(); }"""
    )


def press(page, name, key="Enter"):
    """Reach something with the tabulator, and press a key on it."""
    seen = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1].startswith(name):
            page.keyboard.press(key)
            return
    raise AssertionError(f"{name!r} is not reached: {seen}")


def typed_run(root, command):
    """A stopped run of the command line in `typed`."""
    run = RunFolder(root / "typed")
    run.progress.parent.mkdir(parents=True)
    run.progress.write_text(json.dumps({"fraction": 0.5, "task": "custom: training 1/2"}))
    run.fingerprint.write_text("{}")
    run.environment.write_text(json.dumps({"command": command}))


@pytest.fixture
def folder(root):
    yield root
    kill_all(root)


def test_by_keyboard_alone_from_a_folder_to_an_answer(browser, folder, slice_png):  # noqa: F811
    with running_server(folder, "fake") as (url, server), watched(browser, url.split("?")[0]) as page:
        page.goto(url)
        page.get_by_text("There is no study yet").wait_for()
        judge(page, "home-empty")
        press(page, "New study")
        page.get_by_role("button", name="Folder scans").wait_for()
        press(page, "Folder scans")
        page.get_by_role("button", name="Folder train").wait_for()
        judge(page, "new-choose")
        press(page, "Use the folder scans")
        page.get_by_text("27 images of 3 classes in scans.").wait_for()
        page.locator(".pictures img").nth(17).wait_for()
        judge(page, "new-found")
        press(page, "Begin")
        see(page, "Running: ")
        page.locator(".curves polyline").first.wait_for()
        judge(page, "run-running")
        page.locator(".curves summary").first.click()
        page.locator(".curves .scroll").first.focus()
        longer = folder / "longer.npz"
        np.savez(longer, progress=np.array(json.dumps({"history": history(13)})))
        longer.replace(RunFolder(folder / "runs" / "scans-1").state("custom"))
        page.get_by_role("cell", name="13", exact=True).wait_for()
        assert focused(page) == "Table of custom"
        press(page, "Stop")
        see(page, "Stopped; it can be resumed")
        assert focused(page) == "runs/scans-1"  # what had the focus is no longer there
        judge(page, "run-stopped")
        press(page, "Resume")
        see(page, "Running: ")
        begin = lambda name: ask(url, "POST", "/api/studies", {"name": name, "job": {"data": "scans"}})  # noqa: E731
        begin("second")
        page.goto(f"{page.url.split('#')[0]}#/new/scans")
        page.get_by_label("Name of the study").fill("scans-1")
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("alert").get_by_text("found 'scans-1' taken").wait_for()
        begin("third")
        page.locator("#status").get_by_text("runs/third: waiting").wait_for()
        assert page.get_by_role("alert").get_by_text("found 'scans-1' taken").is_visible()  # until one acts
        press(page, "Studies")
        page.get_by_text("Waits for its turn").nth(1).wait_for()
        judge(page, "home-waiting")
        alone = browser.new_context(storage_state=page.context.storage_state()).new_page()
        alone.goto(url)
        alone.get_by_text("Waits for its turn").nth(1).wait_for()
    server.kill()
    alone.locator("#lost").wait_for()
    judge(alone, "home-lost")
    alone.context.close()
    typed_run(folder, "tumorboard train scans --out typed --merge a=b")
    with running_server(folder, "fake") as (url, _), watched(browser, url.split("?")[0]) as page:
        page.goto(url)
        page.get_by_text("2 studies and audits were waiting").wait_for()
        judge(page, "home-left")
        press(page, "Continue in the same order")
        page.get_by_text("Waits for its turn").nth(1).wait_for()
        press(page, "typed")
        page.get_by_text("cannot be resumed on this page").wait_for()
        page.get_by_text("tumorboard train scans --out typed --merge a=b").wait_for()
        assert page.locator(".state").inner_text() == "Stopped"
        judge(page, "run-refused")
        (folder / "runs" / "scans-1" / "go").touch()
        wait(url, run_id("runs/scans-1"), ["finished"])
        press(page, "Studies")
        press(page, "runs/scans-1")
        see(page, "Finished")
        judge(page, "run-finished")
        press(page, "Predict images")
        page.get_by_text("4 models; classes").wait_for()
        judge(page, "ask-empty")
        with page.expect_file_chooser() as chooser:
            press(page, "Drop images")
        files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": slice_png} for n in (1, 2)]
        chooser.value.set_files(files)
        page.get_by_text("All 2 images predicted.").wait_for()
        press(page, "All these images are of one patient", "Space")
        page.get_by_role("heading", name="One patient").wait_for()
        press(page, "Show heat map")
        page.get_by_label("Opacity of the heat map").first.wait_for()
        judge(page, "ask-patient")
        press(page, "runs/scans-1")
        see(page, "Finished")
        press(page, "Delete")
        press(page, "To delete this folder", "s")
        page.keyboard.type("cans-1")
        press(page, "Delete for ever")
        page.get_by_role("heading", name="Studies").wait_for()
        assert not (folder / "runs" / "scans-1").exists()
