"""The page in a real browser, against a real server of the fake predictor."""

import csv
import io
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests import hostile_names
from tests.browsing import browser, needs_browser, playwright  # noqa: F401  the fixture
from tests.data import dicoms
from tumorboard import NOTICE
from tumorboard.data.image_reader import read_input
from tumorboard.data.left_out import is_output

from .conftest import serving
from .fake_server import CLASSES, FakePredictor

pytestmark = needs_browser


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server of the fake predictor for all tests that do not change it."""
    with serving(tmp_path_factory.mktemp("run")) as (url, _process):
        yield url


@pytest.fixture
def page(browser, served, shared):  # noqa: F811
    """Open the page; afterwards nothing was asked of another host, no dialog came, nothing failed."""
    contexts, faults = [], []

    def open_page(server="", **options):
        url = served(server)[0] if server else shared
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
        opened.get_by_text("4 models; classes").wait_for()
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def file(name, content, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": content}


def done(page, text):
    """Wait until the status line says so."""
    playwright.expect(page.get_by_role("status")).to_contain_text(text, timeout=120000)


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
    done(opened, "image.png: prediction normal, calibrated confidence")


def test_in_forced_colours_bars_and_buttons_can_be_seen(page, slice_png):
    opened = page(forced_colors="active")
    drop(opened, "a.png", slice_png)
    done(opened, ": prediction")
    for part in (".bar", "button.explain"):
        assert opened.locator(part).first.evaluate("one => getComputedStyle(one).borderTopWidth") == "1px"
    bar, ground = (
        opened.locator(part).first.evaluate("one => getComputedStyle(one).backgroundColor")
        for part in (".bar i", "body")
    )
    assert bar != ground


ARABIC = "\u0646\u0633\u064a\u062c \u0637\u0628\u064a\u0639\u064a"
NAMES_OF_CLASSES = ["adenocarcinoma_of_the_left_lower_lobe_" * 4, ARABIC, "\u6b63\u5e38" * 60]


def test_class_names_of_every_length_and_script_keep_the_page_in_shape(page, slice_png):
    opened = page(json.dumps({"class_names": NAMES_OF_CLASSES}))
    opened.get_by_label("choose files").set_input_files(file(f"{'long_name_' * 12}.png", slice_png))
    opened.get_by_role("button", name="Show heat map").click()
    opened.get_by_label("Opacity of the heat map").wait_for()
    for width in (1280, 390):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        body = opened.locator(".body").bounding_box()
        for part in ("select.target", ".picture", ".models"):
            box = opened.locator(part).bounding_box()
            assert box["x"] + box["width"] <= body["x"] + body["width"]
    assert opened.locator("#run bdi").all_inner_texts() == [ARABIC]
    assert ARABIC in opened.locator(".messages bdi").all_inner_texts()


def test_of_many_classes_the_most_probable_are_shown(page, slice_png):
    opened = page(json.dumps({"class_names": [f"class {n}" for n in range(20)]}))
    drop(opened, "a.png", slice_png)
    done(opened, ": prediction")
    rows = opened.locator(".recommended li").all_inner_texts()
    assert len(rows) == 11
    shares = [int(row.split()[-1].rstrip("%")) for row in rows[:10]]
    assert shares == sorted(shares, reverse=True)
    assert rows[10] == f"10 other classes: {shares[-1]}% each at most"


CT = np.arange(1024).reshape(32, 32) * 2


def test_drop_a_png_and_read_the_answer(page, slice_png):
    opened = page()
    drop(opened, "slice.png", slice_png)
    done(opened, "slice.png: prediction normal, calibrated confidence 55%.")
    card = opened.get_by_role("article")
    assert "All 4 models" not in card.inner_text()  # the fake chain disagrees
    assert "The models disagree" in card.inner_text()
    accuracy = "Test accuracy of ensemble: 0.80 (95% CI 0.68-0.88, n = 60; all test images)"
    assert accuracy in card.inner_text()
    assert card.locator(".probabilities").count() == 4


def test_the_confidence_is_the_same_number_in_all_places(page, slice_png):
    expected = FakePredictor().predict(read_input(slice_png, FakePredictor().image))
    opened = page()
    drop(opened, "slice.png", slice_png)
    confidence = f"calibrated confidence {expected.calibrated.max():.0%}"
    done(opened, f"slice.png: prediction normal, {confidence}.")
    card = opened.get_by_role("article")
    assert card.locator(".headline").inner_text() == f"Prediction: normal, {confidence}"
    for name, raw in expected.probabilities.items():
        section = card.locator(".probabilities").filter(has=opened.get_by_role("heading", name=name))
        recommended = name == "ensemble"
        assert ("(recommended, calibrated)" if recommended else "(uncalibrated)") in section.inner_text()
        values = expected.calibrated if recommended else raw
        shown = section.locator("li span:not(.bar)").all_inner_texts()
        assert shown == [f"{value:.0%}" for value in values]
        bars = section.locator(".bar").all()
        filled = [bar.locator("i").bounding_box()["width"] / bar.bounding_box()["width"] for bar in bars]
        assert filled == pytest.approx(values.tolist(), abs=0.01)


@pytest.mark.parametrize(("share", "shown"), [(0.994, ">99%"), (0.996, ">99%"), (1.0, "100%")])
def test_a_confidence_is_not_rounded_to_certainty(page, slice_png, monkeypatch, share, shown):
    opened = page()
    rest = {"normal": 1 - share, "squamous": 0.0}
    reply = {"prediction": "adenocarcinoma", "confidence": share}
    reply |= {"probabilities": {"adenocarcinoma": share, **rest}}

    def answer(route):
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | reply)

    opened.route("**/api/predict*", answer)
    drop(opened, "a.png", slice_png)
    done(opened, f"calibrated confidence {shown}.")
    assert opened.locator(".recommended li").first.inner_text().split() == ["adenocarcinoma", shown]
    small = {1.0: "0%"}.get(share, "<1%")
    assert opened.locator(".recommended li").nth(1).inner_text().split() == ["normal", small]


def test_a_dicom_shows_its_windows(page):
    opened = page()
    content = dicoms.image(CT, intercept=-1024, slope=1, center=0, width=500)
    drop(opened, "IM0001", content)
    done(opened, ": prediction")
    before = opened.locator(".preview").get_attribute("src")
    opened.get_by_label("Grey window").select_option("lung")
    opened.get_by_text("The grey window differs").wait_for()
    assert opened.locator(".preview").get_attribute("src") != before


def test_the_slider_fades_the_overlay(page, slice_png):
    opened = page()
    opened.get_by_label("choose files").set_input_files(file("a.png", slice_png))
    opened.get_by_role("button", name="Show heat map").click()
    slider = opened.get_by_label("Opacity of the heat map")
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
    done(opened, "7 of 8 images predicted; 1 could not be read.")
    assert opened.locator(".problem:visible").count() == 1
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the table").click()
    download.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [row["file"] for row in rows] == [*(f"{number}.png" for number in range(7)), "bad.png"]
    assert [bool(row["error"]) for row in rows] == [False] * 7 + [True]
    assert {row["prediction"] for row in rows[:7]} == {"normal"}
    assert {row["notice"] for row in rows} == {NOTICE}
    assert is_output(tmp_path / "table.csv")
    assert sum(float(rows[0][f"custom: {name} (uncalibrated)"]) for name in CLASSES) == pytest.approx(1)


def png_of(colour):
    content = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return content.getvalue()


GREEN, PALE, RED = png_of((90, 160, 20)), png_of((90, 100, 80)), png_of((200, 30, 40))


@pytest.mark.parametrize("width", [320, 1280])
def test_images_of_one_patient_have_one_answer_too(page, width):
    opened = page(viewport={"width": width, "height": 640})
    files = [file("pale.png", PALE), file("green.png", GREEN), file("bad.png", GREEN[:60])]
    opened.get_by_label("choose files").set_input_files(files)
    done(opened, "2 of 3 images predicted; 1 could not be read.")
    assert opened.locator(".patient").count() == 0
    opened.get_by_label("All these images are of one patient").check()
    card = opened.locator(".patient")
    playwright.expect(card.get_by_role("heading").first).to_have_text(
        "One patient: prediction from 2 of 3 images"
    )
    expected = FakePredictor()
    replies = [expected.predict(read_input(content, expected.image)) for content in (PALE, GREEN)]
    joint = expected.combine([reply.probabilities for reply in replies])
    confidence = f"normal, calibrated confidence {joint.calibrated.max():.0%}"
    assert card.locator(".headline").inner_text().endswith(confidence)
    done(opened, f"One patient: prediction {confidence}.")
    assert card.locator(".messages li").first.inner_text() == "Not read, and left out: bad.png."
    assert "by the mean of the images' probabilities; green.png contributes most." in card.inner_text()
    card.get_by_text("Images, from the one that contributes most").click()
    rows = card.locator(".images li").all_inner_texts()
    assert [row.split(":")[0] for row in rows] == ["green.png", "pale.png"]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.get_by_label("All these images are of one patient").uncheck()
    playwright.expect(card).to_have_count(0)


def test_dicom_files_of_one_patient_are_joined_by_themselves(page):
    scans = [dicoms.image(CT + n, patient=patient) for n, patient in enumerate(("Jane", "Jane", "Joe"))]
    opened = page()
    opened.get_by_label("choose files").set_input_files(
        [file(f"{n}.dcm", scan, "application/dicom") for n, scan in enumerate(scans)]
    )
    done(opened, "One patient: prediction ")
    card = opened.locator(".patient")
    assert card.get_by_role("heading").first.inner_text() == "One patient: prediction from 2 images"
    opened.get_by_label("All these images are of one patient").check()
    card.get_by_text("The DICOM headers name 2 different patients.").wait_for()
    assert card.get_by_role("heading").first.inner_text() == "One patient: prediction from 3 images"
    opened.get_by_role("button", name="Clear").click()
    playwright.expect(card).to_have_count(0)
    assert not opened.locator("#together").is_visible()


def test_the_slices_of_a_volume_are_images_of_one_patient(page):
    film = dicoms.frames(np.stack([CT + 300 * n for n in range(5)]), center=1500, width=3000)
    volume = nibabel.Nifti1Image(np.stack([CT, CT.T], axis=2).astype(np.int16), np.eye(4)).to_bytes()
    opened = page('{"frames": "all"}')
    chooser = opened.get_by_label("choose files")
    chooser.set_input_files([file("film.dcm", film), file("brain.nii", volume)])
    done(opened, "Patient 2 of 2: prediction ")
    names = [f"film.dcm#{n}" for n in (1, 2, 3, 4, 5)] + ["brain.nii#1", "brain.nii#2"]
    assert opened.locator("#results .file").all_text_contents() == names
    titles = [card.get_by_role("heading").first.inner_text() for card in opened.locator(".patient").all()]
    assert titles == ["Patient 1 of 2: prediction from 5 images", "Patient 2 of 2: prediction from 2 images"]
    opened.get_by_label("All these images are of one patient").check()
    card = opened.locator(".patient")
    playwright.expect(card.get_by_role("heading").first).to_have_text("One patient: prediction from 7 images")
    assert "different patients" not in card.inner_text()
    with opened.expect_download() as table:
        opened.get_by_role("button", name="Download the table").click()
    rows = list(csv.DictReader(io.StringIO(table.value.path().read_text())))
    assert [row["file"] for row in rows] == names
    with opened.expect_request("**/api/explain*") as asked:
        opened.locator(".explain").nth(3).click()
    assert "slice=4" in asked.value.url
    before = opened.locator("#results article").count()
    opened.locator(".window select").nth(1).select_option("lung")
    done(opened, "One patient: prediction ")
    assert opened.locator("#results article").count() == before


def test_two_patients_have_two_answers_of_their_own(page, tmp_path):
    opened = page()
    scans = [
        (f"{who}{n}.dcm", dicoms.image(CT + n, patient=who)) for n in range(20) for who in ("Jane", "Joe")
    ]
    opened.get_by_label("choose files").set_input_files([file(name, scan) for name, scan in scans])
    done(opened, "Patient 2 of 2: prediction ")
    titles = [card.get_by_role("heading").first.inner_text() for card in opened.locator(".patient").all()]
    assert titles == [f"Patient {n} of 2: prediction from 20 images" for n in (1, 2)]
    for card, who in zip(opened.locator(".patient").all(), ("Jane", "Joe"), strict=True):
        names = card.locator(".images bdi").all_text_contents()
        assert sorted(names) == sorted(name for name, _ in scans if name.startswith(who))
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the patients").click()
    download.value.save_as(tmp_path / "patients.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "patients.csv").read_text())))
    assert [(row["patient"], row["images"], row["unreadable"]) for row in rows] == [
        ("Patient 1 of 2", "20", "0"),
        ("Patient 2 of 2", "20", "0"),
    ]
    shown = opened.locator(".patient .class").all_inner_texts()
    assert [row["prediction"] for row in rows] == shown
    assert {row["notice"] for row in rows} == {NOTICE}
    assert is_output(tmp_path / "patients.csv")


def test_what_is_dropped_and_cannot_be_taken_is_said(page, slice_png, tmp_path):
    opened = page()
    drop_all(opened, [], b"")
    done(opened, "No file was dropped")
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        path.write_bytes(slice_png)

    def remove_last(route):
        paths[3].unlink(missing_ok=True)
        route.continue_()

    opened.route("**/api/predict*", remove_last)
    opened.get_by_label("choose files").set_input_files(paths)
    done(opened, "3 of 4 images predicted; 1 could not be read.")
    assert opened.locator(".problem:visible").text_content().startswith("The file cannot be read")


@pytest.fixture
def folder(tmp_path, slice_png):
    """Twelve slices in two folders, and what a system puts beside them."""
    root = tmp_path / "patient"
    for number in range(12):
        path = root / ("late" if number > 9 else "early") / f"slice{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(slice_png)
    for name in (".DS_Store", "Thumbs.db"):
        (root / name).write_bytes(b"x")
    return root


def cards(page):
    return page.locator("article h2 .file").all_text_contents()


def test_a_folder_of_a_patient_is_chosen_and_becomes_one_answer_and_a_table(page, folder):
    opened = page()
    opened.get_by_label("or a whole folder").set_input_files(folder)
    done(opened, "All 12 images predicted.")
    assert cards(opened) == [f"slice{number}.png" for number in range(12)]
    opened.get_by_label("All these images are of one patient").check()
    opened.get_by_role("heading", name="One patient: prediction from 12 images").wait_for()
    with opened.expect_download() as saved:
        opened.get_by_role("button", name="Download the table").click()
    assert len(list(csv.reader(io.StringIO(saved.value.path().read_text())))) == 13


def test_a_folder_is_dropped(page, folder):
    opened = page()
    box = opened.locator("#drop").bounding_box()
    client = opened.context.new_cdp_session(opened)
    for kind in ("dragEnter", "dragOver", "drop"):
        client.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": box["x"] + 20,
                "y": box["y"] + 20,
                "data": {"items": [], "files": [str(folder)], "dragOperationsMask": 1},
            },
        )
    done(opened, "All 12 images predicted.")
    assert cards(opened) == [f"slice{number}.png" for number in range(12)]


def test_several_hundred_files_at_once_in_bounded_memory(page, tmp_path, slice_png):
    opened = page()
    opened.set_default_timeout(300000)
    client = opened.context.new_cdp_session(opened)
    client.send("Performance.enable")

    def heap():
        client.send("HeapProfiler.collectGarbage")
        metrics = client.send("Performance.getMetrics")["metrics"]
        return {entry["name"]: entry["value"] for entry in metrics}["JSHeapUsedSize"]

    before = heap()
    for number in range(300):
        (tmp_path / f"{number:03}.png").write_bytes(slice_png)
    opened.get_by_label("or a whole folder").set_input_files(tmp_path)
    opened.get_by_role("progressbar", name="Progress of the predictions").wait_for()
    playwright.expect(opened.get_by_role("status")).to_have_text("All 300 images predicted.", timeout=300000)
    assert opened.locator("#progress").is_hidden()
    assert heap() - before < 30e6
    with opened.expect_download() as saved:
        opened.get_by_role("button", name="Download the table").click()
    assert len(list(csv.reader(io.StringIO(saved.value.path().read_text())))) == 301


def test_warnings_come_first_and_in_words(page):
    pictures = {"dark": Image.new("RGB", (40, 40)), "white": Image.new("RGB", (40, 40), "white")}
    opened = page()
    for name, words in (
        ("dark", "Refer to a human reader"),
        ("white", "unlike the training images (out of distribution)"),
    ):
        content = io.BytesIO()
        pictures[name].save(content, "PNG")
        drop(opened, name, content.getvalue())
        opened.locator(".warnings").get_by_text(words).wait_for()
    assert opened.get_by_text("Prediction, not to be relied on:").count() == 2
    done(opened, "All 2 images predicted.")


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
    done(opened, ": prediction")
    for _ in range(12):
        if opened.evaluate("document.activeElement.className") == "explain":
            break
        opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    opened.get_by_label("Opacity of the heat map").wait_for()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off_on_a_phone(page, slice_png, width):
    opened = page(viewport={"width": width, "height": 640})
    drop(opened, "a-very-long-file-name-" * 5 + ".png", slice_png)
    done(opened, ": prediction")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


HOSTILE = ["<script>alert(1)</script>", '"onerror=alert(1) x="', "<img src=x onerror=alert(1)>"]


def test_a_hundred_hostile_names_are_text(page, slice_png, tmp_path):
    names = list(hostile_names.NAMES)
    options = json.dumps({"class_names": [*HOSTILE], "names": ["ensemble", "=x()", "<b>m</b>", "d"]})
    opened = page(options)
    drop_all(opened, names, slice_png)
    done(opened, f"All {len(names)} images predicted.")
    shown = [one.removeprefix("\u2068") for one in opened.locator("h2 .file").all_text_contents()]
    assert shown == names
    assert opened.locator("main script, main b, main img[src=x]").count() == 0
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the table").click()
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
    opened.get_by_text("4 models; classes").wait_for()
    process.kill()
    process.wait()
    drop(opened, "a.png", slice_png)
    done(opened, "Is it still running?")
    opened.close()
