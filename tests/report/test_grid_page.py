"""The page of a grid: what it holds, and what it does in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from lorakit.report.grid_page import grid_page
from tests.report.browser import Page
from tests.report.grids import folder_of, plan_of

AXES = ("strength:ink=0.5,1", "seed=1,2", "prompt=a sea | a town, night")
NASTY = "</script><img src=x onerror=alert(1)>&\"'"


def write_page(tmp_path: Path, *axes: str, stack: str = "ink wash:0.5", **options: object) -> Path:
    plan = plan_of(stack, *(axes or AXES))
    without = options.pop("without", ())
    folder = folder_of(plan, tmp_path / "grid", without=without)  # type: ignore[arg-type]
    page = tmp_path / "index.html"
    page.write_text(grid_page(plan, folder, {}, **options), encoding="utf-8")  # type: ignore[arg-type]
    return page


class Outside(HTMLParser):
    """Every address that a page refers to, every handler written into a tag, and the page's policy."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        for name, value in attrs:
            if name.startswith("on") or (
                name in ("src", "href", "action", "srcset", "data")
                and not (value or "").startswith("data:image/")
            ):
                self.found.append(f"{tag} {name}={value}")


def test_the_page_is_complete_in_itself(tmp_path: Path) -> None:
    text = write_page(tmp_path).read_text()
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert outside.policy.startswith("default-src 'none'; img-src data:")
    assert "@import" not in text
    assert "url(" not in text


def test_a_picture_that_several_cells_show_is_held_once(tmp_path: Path) -> None:
    plan = plan_of("ink", "strength:ink=0.5,1", "seed=1,2")
    folder = folder_of(plan, tmp_path / "grid")
    same = (plan.files[0],) * len(plan.files)
    twins = type(plan)(plan.request, plan.layout, (plan.jobs[0],) * 6, same, "cpu")
    text = grid_page(twins, folder, {})
    assert text.count("data:image/png") == 1
    assert text.count("data-twin=") == 5


def test_many_pictures_are_compressed_and_the_page_says_so(tmp_path: Path) -> None:
    text = write_page(tmp_path, most_bytes=500).read_text()
    assert "data:image/webp" in text
    assert "data:image/png" not in text
    assert "compressed" in text


def test_names_and_prompts_are_only_text(browser: Page, tmp_path: Path) -> None:
    plan = plan_of(f'"{NASTY[:-2]}":0.5', "seed=1", prompt=NASTY, base=NASTY)
    page = tmp_path / "index.html"
    page.write_text(grid_page(plan, folder_of(plan, tmp_path / "grid"), {}), encoding="utf-8")
    browser.open(page)
    assert browser.problems == []
    assert browser.run("document.querySelectorAll('img').length") == 2
    browser.click("[data-cell='1']")
    assert NASTY in browser.run("document.getElementById('detail-settings').textContent")
    assert browser.run("document.getElementById('detail-stack').textContent") == str(
        plan.request.asked.stack
    )


def test_nothing_is_asked_of_any_server(browser: Page, tmp_path: Path) -> None:
    page = write_page(tmp_path)
    browser.open(page)
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [page.as_uri()]
    # The policy holds: a picture from elsewhere is refused by the browser itself.
    browser.run(
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))"
    )
    browser.run("new Promise(done => setTimeout(done, 50))")
    assert any("Content Security Policy" in problem for problem in browser.problems)


def badges(browser: Page) -> dict[str, int]:
    script = (
        "Object.fromEntries([...document.querySelectorAll('.cell')].map((cell, i) =>"
        "[cell.querySelector('.badge').textContent, i]).filter(([badge]) => badge))"
    )
    found: dict[str, int] = browser.run(script)
    return found


def test_cells_are_chosen_by_mouse_and_by_keyboard(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    browser.click("[data-cell='0']")
    assert badges(browser) == {"B": 0}
    browser.press("ArrowRight", "ArrowRight", "Enter")
    assert badges(browser) == {"A": 0, "B": 2}
    browser.press("ArrowDown", "Enter")
    assert badges(browser) == {"A": 2, "B": 5}
    browser.press("p", "ArrowLeft", "Enter")
    assert badges(browser) == {"A": 2, "B": 4}
    assert browser.problems == []


def test_a_cell_says_what_it_is_and_how_to_make_it(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    browser.click("[data-cell='2']")
    texts = browser.run(
        "['label', 'stack', 'command'].map(n => document.getElementById('detail-' + n).textContent)"
    )
    assert texts[:2] == ["ink 1, seed 1, a sea", "ink:1 wash:0.5"]
    assert texts[2].startswith(
        "lorakit preview 'ink:1 wash:0.5' --base rdbt -p 'a sea' --size 64x64"
    )


def test_pages_change_by_tab_and_by_key(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    shown = "[...document.querySelectorAll('section')].map(s => !s.hidden)"
    assert browser.run(shown) == [True, False]
    browser.press("]")
    assert browser.run(shown) == [False, True]
    browser.click("#tab0")
    assert browser.run(shown) == [True, False]
    browser.press("ArrowRight")
    assert browser.run("document.activeElement.id") == "tab1"


def test_all_pictures_zoom_together_around_one_point(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    parts = (
        "[...document.querySelectorAll('section:not([hidden]) .view')].map(view => {"
        "const v = view.getBoundingClientRect(), i = view.firstChild.getBoundingClientRect();"
        "return [(v.left - i.left) / v.width, (v.top - i.top) / v.height, i.width / v.width].map(n => n.toFixed(3)).join()})"
    )
    assert set(browser.run(parts)) == {"0.000,0.000,1.000"}
    browser.press("+", "+")
    zoomed = set(browser.run(parts))
    assert zoomed == {"0.625,0.625,2.250"}
    box = browser.run(
        "(b => [b.x, b.y, b.width])(document.querySelector('.view').getBoundingClientRect())"
    )
    x, y = box[0] + box[2] / 2, box[1] + box[2] / 2
    for kind, at in (("mousePressed", x), ("mouseMoved", x - 40), ("mouseReleased", x - 40)):
        browser.send(
            "Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1
        )
    (moved,) = set(browser.run(parts))
    assert float(moved.split(",")[0]) == pytest.approx(0.625 + 40 / box[2], abs=0.01)
    # Moving the picture has chosen no cell.
    assert badges(browser) == {}
    browser.press("0")
    assert set(browser.run(parts)) == {"0.000,0.000,1.000"}


def test_two_cells_flicker_in_one_place(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    browser.click("[data-cell='0']")
    browser.click("[data-cell='2']")
    browser.press("c")
    visible = "getComputedStyle(document.getElementById('frame').children[1]).visibility"
    assert browser.run("document.getElementById('dialog').open") is True
    assert browser.run(visible) == "hidden"
    browser.press(" ")
    assert browser.run(visible) == "visible"
    places = browser.run(
        "[...document.getElementById('frame').children].map(i => JSON.stringify(i.getBoundingClientRect()))"
    )
    assert places[0] == places[1]
    assert "stack: none → ink:1 wash:0.5" in browser.run(
        "document.getElementById('differs').textContent"
    )
    browser.press("ArrowDown")
    assert badges(browser) == {"A": 0, "B": 5}
    browser.click("#close")
    browser.run("new Promise(done => setTimeout(done, 20))")
    assert browser.run("document.activeElement.dataset.cell") == "5"


def test_flickering_by_itself_is_never_faster_than_three_times_a_second(
    browser: Page, tmp_path: Path
) -> None:
    browser.open(write_page(tmp_path))
    assert float(browser.run("document.getElementById('speed').max")) <= 3
    browser.click("[data-cell='0']")
    browser.click("[data-cell='1']")
    browser.press("f")
    browser.run("document.getElementById('speed').value = 3")
    browser.click("#play")
    shows = "getComputedStyle(document.getElementById('frame').children[1]).visibility"
    seen = browser.run(
        f"new Promise(done => {{ const seen = []; const look = setInterval(() => seen.push({shows}), 20);"
        "setTimeout(() => { clearInterval(look); done(seen) }, 700) })"
    )
    changes = sum(a != b for a, b in pairwise(seen))
    assert 2 <= changes <= 5


def test_the_difference_is_amplified_and_measured(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    browser.click("[data-cell='0']")
    browser.click("[data-cell='1']")
    browser.press("d")
    # Cells 0 and 1 differ by 10 levels everywhere.
    pixel = "[...document.querySelector('#frame canvas').getContext('2d').getImageData(5, 5, 1, 1).data]"
    assert browser.run(pixel) == [80, 80, 80, 255]
    browser.run(
        "(g => { g.value = 2; g.dispatchEvent(new Event('input')) })(document.getElementById('gain'))"
    )
    assert browser.run(pixel) == [20, 20, 20, 255]
    said = browser.run("document.getElementById('differs').textContent")
    assert re.match(r"100\.0 % of the pixels differ, by 10\.00 of 255", said)


def test_missing_pictures_say_so_and_are_not_compared(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path, without=(1,)))
    assert "not rendered yet" in browser.run(
        "document.querySelector('[data-cell=\"1\"]').textContent"
    )
    browser.click("[data-cell='0']")
    browser.click("[data-cell='1']")
    assert browser.run("document.getElementById('compare').disabled") is True
    browser.press("c")
    assert browser.run("document.getElementById('dialog').open") is False
    assert browser.problems == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_can_be_read(
    browser: Page, tmp_path: Path, width: int, dark: bool
) -> None:
    long = "a very long label that goes on and on, " * 6 + "W" * 80
    plan = plan_of("ink", "strength:ink=0.1..1:0.1", f'prompt="{long}",b', prompt=long)
    page = tmp_path / "index.html"
    page.write_text(grid_page(plan, folder_of(plan, tmp_path / "grid"), {}), encoding="utf-8")
    browser.open(page, width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.click("[data-cell='0']")
    assert browser.run("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('button')].filter(b => b.offsetWidth && (b.offsetHeight < 24 || b.offsetWidth < 24)).length"
    assert browser.run(small) == 0
    assert browser.run(CONTRAST) >= 4.5


# The least contrast of a text with what lies behind it, by WCAG's formula.
CONTRAST = """(() => {
  const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0.9) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || !e.checkVisibility() || e.matches(':disabled') || e.tagName === 'SCRIPT') continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    least = Math.min(least, (a + 0.05) / (b + 0.05));
  }
  return least;
})()"""
