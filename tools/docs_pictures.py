"""Take the documentation's pictures of the report and of the page: `make pictures`.

Writes docs/images/report.png and docs/images/page.png, from the run and the data set of `make demo`. Needs
the development packages and a Chromium (or its path in $CHROMIUM).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DESKTOP = {"width": 1280, "height": 900}


def main(run: Path, data: Path) -> None:
    """Take both pictures."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        picture_report(browser, run)
        picture_page(browser, run, data)
        browser.close()


def picture_report(browser: Browser, run: Path) -> None:
    """Show the first screen of the report."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto((run / "report.html").absolute().as_uri())
    page.screenshot(path=IMAGES / "report.png")
    page.close()


def picture_page(browser: Browser, run: Path, data: Path) -> None:
    """Show the page with the prediction of a test image."""
    image = sorted((data / "test").glob("adenocarcinoma*/*.png"))[0]
    command = [sys.executable, "-m", "tumorboard", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = server.stdout or ()
            address = next(match[0] for line in lines if (match := re.search(r"http://\S+", line)))
            page = browser.new_page(viewport=DESKTOP)
            page.goto(address)
            page.set_input_files("input[type=file]", image)
            page.wait_for_selector("text=Prediction:", timeout=120_000)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=IMAGES / "page.png")
        finally:
            server.terminate()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
