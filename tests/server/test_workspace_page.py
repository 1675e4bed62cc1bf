"""A whole study by mouse alone, in a real browser: from a folder of drawings to the answer for an image."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browsing import browser, faults_everywhere, needs_browser, playwright, watched  # noqa: F401
from tests.server.conftest import started
from tests.small_runs import RECIPE, draw
from tumorboard.run_folder import RunFolder, read_holder

pytestmark = needs_browser
SECONDS = 240
SERVER = Path(__file__).with_name("small_workspace.py")


def running_server(folder, recipe):
    """A server with the small recipe: its address, and its process."""
    return started([sys.executable, str(SERVER), str(folder), str(recipe)])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "work"
    draw(folder / "scans")
    (folder / "empty").mkdir()
    shutil.copy(folder / "scans/train/bar/bar0.png", folder / "scans/test/bar/copy.png")
    (tmp_path / "small.toml").write_text(RECIPE)
    yield folder
    for run in folder.glob("runs/*"):
        holder = read_holder(RunFolder(run))
        if holder:
            subprocess.run(["kill", "-9", str(holder.pid)], check=False)


def see(page, text, role="state"):
    playwright.expect(page.locator(f".{role}").first).to_contain_text(text, timeout=1000 * SECONDS)


def test_from_a_folder_to_an_answer(browser, folder, tmp_path):  # noqa: F811
    with (
        running_server(folder, tmp_path / "small.toml") as (url, _),
        watched(browser, url.split("?")[0]) as page,
    ):
        page.goto(url)
        page.get_by_text("There is no study yet").wait_for()
        assert "token" not in page.url
        assert faults_everywhere(page) == []
        page.get_by_role("navigation").get_by_role("link", name="New study").click()
        page.get_by_role("button", name="Folder empty").click()
        page.get_by_role("button", name="Use the folder empty").click()
        page.get_by_role("alert").get_by_text("expected class folders").wait_for()
        page.get_by_role("button", name="The folder of this page").click()
        page.get_by_role("button", name="Folder scans").click()
        page.get_by_role("button", name="Use the folder scans").click()
        page.get_by_text("28 images of 3 classes in scans.").wait_for()
        page.locator(".pictures img").nth(17).wait_for()
        assert faults_everywhere(page) == []
        page.get_by_text("Rename or merge classes").click()
        page.get_by_label("noise", exact=True).fill("grain")
        page.get_by_role("button", name="Use these classes").click()
        page.get_by_role("row", name="grain").wait_for()
        assert faults_everywhere(page) == []
        page.get_by_role("button", name="Check the images").click()
        leak = page.locator("details.finding", has_text="TB401")
        leak.locator("img").nth(1).wait_for(timeout=1000 * SECONDS)
        assert "copy.png" in leak.inner_text()
        assert faults_everywhere(page) == []
        leak.get_by_role("button", name="Leave out all but one of each").click()
        leak.get_by_text("train/bar/bar0.png (left out)").wait_for()
        leak.get_by_role("button", name="Put back: train/bar/bar0.png").click()
        leak.get_by_role("button", name="Leave out: test/bar/copy.png").click()
        page.get_by_text("27 images of 3 classes in scans.").wait_for()
        leak.get_by_text("test/bar/copy.png (left out)").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "Put back"  # of the same image
        leak.get_by_role("button", name="Mute TB401").click()
        page.locator(".findings").get_by_text("Muted: TB401").wait_for()
        page.get_by_text("Your choices for these images: 1 image left out; muted: TB401;").wait_for()
        assert faults_everywhere(page) == []
        page.get_by_label("Settings").select_option("small")
        page.get_by_text("The command that does the same").click()
        page.get_by_text("tumorboard train scans --out runs/scans-1 --class-map=bar=bar").wait_for()
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("heading", name="runs/scans-1").wait_for()
        see(page, "Running: ")
        page.locator(".curves circle, .curves polyline").first.wait_for(timeout=1000 * SECONDS)
        page.locator(".curves summary").first.click()
        page.get_by_role("cell", name="1", exact=True).first.wait_for()
        assert faults_everywhere(page) == []
        page.get_by_role("button", name="Stop").click()
        see(page, "Stopped; it can be resumed")
        page.get_by_role("button", name="Resume").click()
        see(page, "Running")
        state = page.context.storage_state()

    # The server was killed; the training went on, and another server shows it.
    with (
        running_server(folder, tmp_path / "small.toml") as (url, _),
        watched(browser, url.split("?")[0], storage_state=state) as page,
    ):
        page.goto(url)
        page.get_by_role("link", name="runs/scans-1").click()
        see(page, "Finished")
        page.locator(".results pre").get_by_text("Recommended model").wait_for()
        assert faults_everywhere(page) == []
        shutil.copytree(folder / "runs/scans-1", folder / "runs/second")
        page.get_by_role("link", name="Compare").click()
        page.get_by_label("runs/scans-1").check()
        page.get_by_label("runs/second").check()
        page.get_by_text("Their settings, versions and numbers of images are the same.").wait_for()
        assert faults_everywhere(page) == []
        page.get_by_role("button", name="Compare on the test images").click()
        page.get_by_role("heading", name="Comparison of runs/scans-1 and runs/second").wait_for()
        see(page, "Finished")
        page.locator(".results pre").get_by_text("Test accuracy of 2 runs").wait_for()
        assert faults_everywhere(page) == []
        page.get_by_role("navigation").get_by_role("link", name="Studies").click()
        page.get_by_role("link", name="runs/scans-1", exact=True).click()
        page.get_by_role("link", name="Open the report").click()
        page.get_by_role("heading", name="Performance").first.wait_for()
        page.go_back()
        page.get_by_role("link", name="Predict images").click()
        page.get_by_text("4 models; classes: bar, disc, grain.").wait_for()
        page.get_by_label("choose files").set_input_files(folder / "scans/test/disc/disc0.png")
        playwright.expect(page.get_by_role("status")).to_contain_text("disc0.png: prediction", timeout=60000)
        page.get_by_role("link", name="runs/scans-1").click()
        page.get_by_text("Delete", exact=True).click()
        page.get_by_label("type its name").fill("scans")
        page.get_by_role("button", name="Delete for ever").click()
        playwright.expect(page.get_by_role("status")).to_contain_text("expected the name 'scans-1'")
        assert (folder / "runs/scans-1/report.html").exists()
        page.get_by_label("type its name").fill("scans-1")
        page.get_by_role("button", name="Delete for ever").click()
        page.get_by_role("heading", name="Studies").wait_for()
        assert not (folder / "runs/scans-1").exists()
