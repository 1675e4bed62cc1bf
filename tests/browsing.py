"""A real browser for tests, and what axe-core has to say of the pages in it."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pages need `pip install playwright`")
BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no browser: `apt-get install chromium`, or name one in $CHROMIUM"
)
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextlib.contextmanager
def watched(browser, origin: str, **options) -> Iterator:
    """A page; afterwards no other host was asked, no dialog came, and the console holds no complaint."""
    faults: list[str] = []
    context = browser.new_context(**options)
    page = context.new_page()
    page.on(
        "request", lambda r: None if r.url.startswith((origin, "data:", "blob:")) else faults.append(r.url)
    )
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: faults.append(error.stack or str(error)))
    page.on("console", lambda m: faults.append(m.text) if _complains(m) else None)
    yield page
    context.close()
    assert faults == [], faults  # pytest shows no values of this file


def _complains(message) -> bool:
    """An answer that is an error by design, as of a damaged upload, is logged by the browser too."""
    by_design = "the server responded with a status of 4" in message.text
    return message.type in ("error", "warning") and not by_design


def faults_everywhere(page) -> list[str]:
    """What axe finds, and whether the page is too wide: light and dark, on a desk and a phone."""
    found = []
    for scheme in ("light", "dark"):
        for width in (1280, 320):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            found += [f"{scheme}, {width}: {fault}" for fault in axe(page)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{scheme}, {width}: scrolls sideways")
    return found


def axe(page) -> list[str]:
    """Violations of WCAG 2.2 A and AA, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}}).response
    assert found["passes"]  # it has looked
    return [f"{one['id']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]
