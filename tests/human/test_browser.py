"""The page in a browser: rated by keyboard and by touch, closed and opened again, saved and read back."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from tests.human.studies import KEY, REFERENCES, study
from vaejax import human

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no chromium and chromedriver: apt-get install chromium chromium-driver (.ci/run tries)",
)
DESKTOP, PHONE = (1280, 800), (375, 740)
KEYS = {"ArrowLeft": "left", "ArrowRight": "right", "ArrowDown": "tie"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    sheet = study(references=REFERENCES, pairs=1, items=1, repeats=1, checks=1, grids=1, grid=4)
    return sheet, human.write(sheet, tmp_path_factory.mktemp("rating"))


@pytest.fixture
def browsers(tmp_path):
    """A function that opens the browser, each time with the same profile; all are closed at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened = []

    def opening(size=DESKTOP):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run"):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--window-size={size[0]},{size[1]}")
        options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
        options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "saved")})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=Service(DRIVER)))
        return opened[-1]

    yield opening
    for browser in opened:
        browser.quit()


def ready(browser):
    """Wait until a trial's pictures are there, or a page of text is."""
    wait(lambda: browser.execute_script("return shown === null || clock.since !== null"))


def wait(done, seconds=20):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.01)


def press(browser, key):
    """A key, where the focus is, as a keyboard sends it."""
    for kind in ("keyDown", "keyUp"):
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key})


def place(browser):
    return browser.execute_script("return here")


def standing(browser):
    """The pictures at each side, as the page has them."""
    script = """return [...document.querySelectorAll(".beside > figure")].map(
      (side) => [...side.querySelectorAll("img")].map((image) => image.src.split(",")[1]))"""
    return browser.execute_script(script)


def key_for(browser, turn):
    """A key that answers the trial on the screen, another each time."""
    keys = browser.execute_script("return shown.choices.map((choice) => choice.key)")
    return keys[turn % len(keys)]


def requested(browser):
    """The addresses that the page asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {p["request"]["url"].split(",")[0] for p in asked if p.get("documentURL", "").startswith("file:")}


def test_a_rater_rates_all_by_keyboard_with_a_break_and_the_file_is_read(written, browsers, tmp_path):
    sheet, page = written
    total, half = len(sheet.key.trials), len(sheet.key.trials) // 2
    browser = browsers()
    browser.get(page.as_uri())
    browser.find_element("id", "start").click()
    pressed = []
    for turn in range(half):
        ready(browser)
        assert place(browser) == turn
        pressed.append(key_for(browser, turn))
        press(browser, pressed[-1])
    rater = browser.execute_script("return state.rater")
    assert requested(browser) == {page.as_uri(), "data:image/png;base64"}
    assert browser.get_log("browser") == []
    browser.quit()

    browser = browsers()  # the next day
    browser.get(page.as_uri())
    assert f"{half} of {total}" in browser.find_element("id", "start").text
    browser.find_element("id", "start").click()
    ready(browser)
    assert (place(browser), browser.execute_script("return state.rater")) == (half, rater)
    press(browser, "Backspace")  # the last answer is another after all
    ready(browser)
    assert place(browser) == half - 1
    marked = browser.find_elements("css selector", '.choices [aria-pressed="true"]')
    assert len(marked) == 1
    pressed[-1] = key_for(browser, half)
    press(browser, pressed[-1])
    for turn in range(half, total):
        ready(browser)
        i = browser.execute_script("return shown.number")
        form = sheet.key.forms[browser.execute_script("return state.form")]
        groups = sheet.page["trials"][i]["shown"]
        sides = [[sheet.page["parts"][part]["png"] for part in group] for group in groups]
        assert standing(browser) == (sides[::-1] if form.swapped[i] else sides)
        assert browser.find_element("id", "count").text == f"{turn + 1} of {total}"
        assert browser.find_element("id", "bar").get_property("value") == turn
        pressed.append(key_for(browser, turn))
        press(browser, "x")  # no answer's
        press(browser, pressed[-1])
    browser.find_element("id", "save").click()
    saved = tmp_path / "saved" / f"answers-{rater}.json"
    wait(saved.exists)
    answers = human.read_answers(sheet.key, [saved])
    assert answers.raters == (rater,)
    assert not answers.refused
    form = sheet.key.forms[answers.forms[0]]
    held = json.loads(saved.read_text())["answers"]
    assert tuple(answer["trial"] for answer in held) == form.order
    assert [answer["changes"] for answer in held] == [int(i == half - 1) for i in range(total)]
    assert all(answer["seconds"] > 0 for answer in held)
    for i, key in zip(form.order, pressed, strict=True):
        trial, value = sheet.key.trials[i], answers.values[0, i]
        if trial.paired:
            won = {"left": 1.0, "tie": 0.5, "right": 0.0}[KEYS[key]]
            assert value == (1 - won if form.swapped[i] else won)
        else:
            assert value == (int(key) if trial.task == "likert" else int(key) - 1)
    assert human.report(KEY, sheet.key, answers)["raters"][rater]["checks"] == 1


def test_the_page_fits_a_phone_and_answers_to_touch(written, browsers, tmp_path):
    sheet, page = written
    browser = browsers()
    size = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    browser.get(page.as_uri())
    browser.find_element("id", "start").click()
    for turn in range(len(sheet.key.trials)):
        ready(browser)
        seen = browser.execute_script(
            """const every = [...document.querySelectorAll("button, img")];
            const boxes = every.map((e) => e.getBoundingClientRect());
            const images = [...document.images];
            return {
              wide: document.documentElement.scrollWidth,
              right: Math.max(...boxes.map((b) => b.right)),
              low: Math.min(...[...document.querySelectorAll(".choices button")].map((b) => b.offsetHeight)),
              pixels: images.map(
                (i) => (i.getBoundingClientRect().width * devicePixelRatio) / i.naturalWidth),
              smooth: images.map((i) => getComputedStyle(i).imageRendering),
              named: images.every((i) => i.alt) && document.activeElement.tagName === "H2",
            };"""
        )
        assert seen["wide"] == PHONE[0]
        assert seen["right"] <= PHONE[0]
        assert seen["low"] >= 44  # a finger's width
        assert seen["pixels"] == pytest.approx([round(p) for p in seen["pixels"]], abs=1e-3)
        assert min(seen["pixels"]) > 10
        assert set(seen["smooth"]) == {"pixelated"}
        assert seen["named"]
        buttons = browser.find_elements("css selector", ".choices button")
        buttons[turn % len(buttons)].click()
    wait(lambda: browser.find_elements("id", "save"))
    browser.find_element("id", "save").click()
    wait(lambda: list((tmp_path / "saved").glob("answers-*.json")))
    rater = browser.execute_script("return state.rater")
    browser.find_element("id", "again").click()
    assert "Start" in browser.find_element("id", "start").text
    assert browser.execute_script("return state.rater") != rater


def test_texts_stay_texts(browsers, tmp_path):
    nasty = "</script><script>document.title = 1</script><img src=x onerror=document.title=2> <b>&amp;"
    texts = {"x": [nasty] * 3, "y": ["something else"] * 3}
    sheet = human.sheet(
        KEY, texts, tasks=("ab",), pairs=1, checks=0, title=nasty, intro=nasty,
        questions={"ab": {"q": nasty}}, references=[nasty] * 3,
    )  # fmt: skip
    page = human.write(sheet, tmp_path / "rating")
    browser = browsers()
    browser.get(page.as_uri())
    assert browser.title == nasty
    assert browser.find_element("css selector", ".reading p").text == nasty
    browser.find_element("id", "start").click()
    ready(browser)
    assert browser.find_element("css selector", "h2").text == nasty
    quoted = [quote.text for quote in browser.find_elements("css selector", "blockquote")]
    assert sorted(quoted) == sorted([nasty, nasty, "something else"])
    assert browser.title == nasty
    assert not browser.find_elements("css selector", "main b, main img")
    assert browser.get_log("browser") == []
