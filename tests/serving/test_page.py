"""The page in a real browser, against a real server of the fake board."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests import hostile_names
from tests.browsing import browser, needs_browser, playwright  # noqa: F401  the fixture
from tests.data import dicoms

from .boards import CLASSES
from .conftest import serving

pytestmark = needs_browser


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server of the fake board for all tests that do not change it."""
    with serving(tmp_path_factory.mktemp("run")) as (url, _process):
        yield url


@pytest.fixture
def page(browser, served, shared):  # noqa: F811
    """Open the page; afterwards nothing was asked of another host, no dialog came, nothing failed."""
    contexts, faults = [], []

    def open_page(board="", **options):
        url = served(board)[0] if board else shared
        context = browser.new_context(**options)
        contexts.append(context)
        opened = context.new_page()
        opened.on(
            "request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else faults.append(r.url)
        )
        opened.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda m: faults.append(m.text) if "Content Security" in m.text else None)
        opened.goto(url)
        opened.get_by_text("4 models tell apart").wait_for()
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def file(name, content, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": content}


def done(page, text):
    """Wait until the status line says so."""
    playwright.expect(page.get_by_role("status")).to_contain_text(text, timeout=30000)


def drop(page, name, content):
    drop_all(page, [name], content)


def drop_all(page, names, content):
    page.evaluate(
        """([names, bytes]) => {
            const data = new DataTransfer();
            for (const name of names) data.items.add(new File([new Uint8Array(bytes)], name));
            const options = {dataTransfer: data, bubbles: true, cancelable: true};
            document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        [names, list(content)],
    )


def test_paste_an_image(page, slice_png):
    opened = page()
    opened.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        list(slice_png),
    )
    done(opened, "image.png: the board says normal")


def test_in_forced_colours_bars_and_buttons_can_be_seen(page, slice_png):
    opened = page(forced_colors="active")
    drop(opened, "a.png", slice_png)
    done(opened, "the board says")
    for part in (".bar", "button.explain"):
        assert opened.locator(part).first.evaluate("one => getComputedStyle(one).borderTopWidth") == "1px"
    bar, ground = (
        opened.locator(part).first.evaluate("one => getComputedStyle(one).backgroundColor")
        for part in (".bar i", "body")
    )
    assert bar != ground


CT = np.arange(1024).reshape(32, 32) * 2


def test_drop_a_png_and_read_the_answer(page, slice_png):
    opened = page()
    drop(opened, "slice.png", slice_png)
    done(opened, "slice.png: the board says normal")
    card = opened.get_by_role("article")
    assert "All 4 models" not in card.inner_text()  # the fake chain disagrees
    assert "The models disagree" in card.inner_text()
    assert "ensemble was right for 80.0 % of 60" in card.inner_text()
    assert card.locator(".opinion").count() == 4
    shares = [float(text.split()[0]) for text in card.locator(".opinion li span:not(.bar)").all_inner_texts()]
    assert sum(shares) == pytest.approx(400, abs=1)
    widths = [bar.bounding_box()["width"] for bar in card.locator(".opinion").first.locator("i").all()]
    assert np.argsort(widths).tolist() == np.argsort(shares[:3]).tolist()


def test_a_dicom_shows_its_windows(page):
    opened = page()
    content = dicoms.image(CT, intercept=-1024, slope=1, center=0, width=500)
    drop(opened, "IM0001", content)
    done(opened, "the board says")
    before = opened.locator(".preview").get_attribute("src")
    opened.get_by_label("Grey window").select_option("lung")
    opened.get_by_text("another window than").wait_for()
    assert opened.locator(".preview").get_attribute("src") != before


def test_the_slider_fades_the_overlay(page, slice_png):
    opened = page()
    opened.get_by_label("choose files").set_input_files(file("a.png", slice_png))
    opened.get_by_role("button", name="Show where it looked").click()
    slider = opened.get_by_label("Strength of the overlay")
    slider.wait_for()
    slider.focus()
    opened.keyboard.press("Home")
    layer = opened.locator(".layer")
    assert layer.evaluate("one => getComputedStyle(one).opacity") == "0"
    opened.keyboard.press("End")
    assert layer.evaluate("one => getComputedStyle(one).opacity") == "1"
    assert layer.evaluate("async (one) => { await one.decode(); return one.naturalWidth; }") == 32


def test_eight_files_at_once_with_a_damaged_one_become_a_table(page, slice_png, tmp_path):
    opened = page()
    files = [file(f"{number}.png", slice_png) for number in range(7)]
    opened.get_by_label("choose files").set_input_files([*files, file("bad.png", slice_png[:200])])
    done(opened, "All 8 images are answered; 1 could not be read.")
    assert opened.locator(".problem:visible").count() == 1
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [row["file"] for row in rows] == [*(f"{number}.png" for number in range(7)), "bad.png"]
    assert [bool(row["error"]) for row in rows] == [False] * 7 + [True]
    assert {row["answer"] for row in rows[:7]} == {"normal"}
    assert sum(float(rows[0][f"custom: {name}"]) for name in CLASSES) == pytest.approx(1)


def test_what_the_board_is_unsure_of_is_said_in_words(page):
    pictures = {"dark": Image.new("RGB", (40, 40)), "white": Image.new("RGB", (40, 40), "white")}
    opened = page()
    for name, words in (("dark", "would rather ask a human"), ("white", "unlike those that the models")):
        content = io.BytesIO()
        pictures[name].save(content, "PNG")
        drop(opened, name, content.getvalue())
        opened.get_by_text(words).wait_for()
    assert opened.get_by_text("If it had to answer").count() == 2


def test_by_keyboard_alone(page, slice_png):
    opened = page()
    choosers = []
    opened.on("filechooser", lambda chooser: choosers.append(chooser))
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "files"
    opened.keyboard.press("Enter")
    for _ in range(100):
        if not choosers:
            opened.wait_for_timeout(100)
    choosers[0].set_files(file("a.png", slice_png))
    done(opened, "the board says")
    for _ in range(12):
        if opened.evaluate("document.activeElement.className") == "explain":
            break
        opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    opened.get_by_label("Strength of the overlay").wait_for()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off_on_a_phone(page, slice_png, width):
    opened = page(viewport={"width": width, "height": 640})
    drop(opened, "a-very-long-file-name-" * 5 + ".png", slice_png)
    done(opened, "the board says")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


HOSTILE = ["<script>alert(1)</script>", '"onerror=alert(1) x="', "<img src=x onerror=alert(1)>"]


def test_a_hundred_hostile_names_are_text(page, slice_png, tmp_path):
    names = list(hostile_names.NAMES)
    board = json.dumps({"class_names": [*HOSTILE], "names": ["ensemble", "=x()", "<b>m</b>", "d"]})
    opened = page(board)
    drop_all(opened, names, slice_png)
    done(opened, f"All {len(names)} images are answered.")
    shown = [one.removeprefix("\u2068") for one in opened.locator("h2 .file").all_text_contents()]
    assert shown == names
    assert opened.locator("main script, main b, main img[src=x]").count() == 0
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as opened_file:
        cells = [cell for row in csv.reader(opened_file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert {f"'{name}" for name in hostile_names.FORMULAS} <= set(cells)
    assert opened.title() != "broken"


def test_a_server_that_is_gone_is_said(browser, served, slice_png):  # noqa: F811
    url, process = served()
    opened = browser.new_page()
    opened.goto(url)
    opened.get_by_text("4 models tell apart").wait_for()
    process.kill()
    process.wait()
    drop(opened, "a.png", slice_png)
    done(opened, "Is it still running?")
    opened.close()
