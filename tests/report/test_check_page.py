"""The page of a check: what its sliders recompute, and that it is complete in itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.merging.checking.comparing import Comparison, compare
from lorakit.merging.checking.usual import Usual
from lorakit.report.check_page import check_page
from lorakit.strengths import Strength
from tests.models import memory_adapter, random_lora, tiny_base, usual_names
from tests.report.browser import Page
from tests.report.test_grid_page import Outside

NASTY = "</script><img src=x onerror=alert(1)>"
NAMES = usual_names(6)


def comparison(*strengths: str, base: bool = True) -> Comparison:
    names = ["ink", "wash", NASTY][: len(strengths)]
    stack = [
        (memory_adapter(random_lora(NAMES, 6, seed=seed)), Strength.parse(text))
        for seed, text in enumerate(strengths)
    ]
    return compare(stack, tiny_base(6) if base else None, labels=names, names=names)


def write(folder: Path, found: Comparison, **usual: Usual) -> Path:
    page = folder / "check.html"
    page.write_text(check_page(found, usual, base="rdbt"), encoding="utf-8")
    return page


def text_of(browser: Page, selector: str) -> str:
    found: str = browser.run(f"document.querySelector({selector!r}).textContent")
    return found


def slide(browser: Page, at: int, value: float) -> None:
    browser.run(
        f"(() => {{ const s = document.getElementById('s{at}'); s.value = {value};"
        "s.dispatchEvent(new Event('input')); })()"
    )


def test_the_page_asks_nothing_and_shows_names_as_they_are(browser: Page, tmp_path: Path) -> None:
    page = write(tmp_path, comparison("0.8", "0.5", "1"), ink=Usual(0.7, 0.5, 0.9))
    outside = Outside()
    outside.feed(page.read_text())
    assert outside.found == []
    assert outside.policy.startswith("default-src 'none'")
    browser.open(page)
    assert browser.problems == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("document.images.length") == 0
    assert text_of(browser, "[data-entry='2'] .name") == NASTY
    assert "0.7 (0.5 to 0.9) suggests itself" in text_of(browser, "[data-entry='0'] .aside")


def test_a_slider_gives_what_is_computed_for_that_strength(browser: Page, tmp_path: Path) -> None:
    found = comparison("0.8", "0.5@blocks=0:0.5")
    browser.open(write(tmp_path, found))
    for strengths in ([0.8, 0.5], [0.8, -1.2], [0.25, 0.0]):
        slide(browser, 0, strengths[0])
        slide(browser, 1, strengths[1])
        together = found.relative(found.whole.sum_size(strengths))
        assert text_of(browser, "#size") == f"{100 * (together or 0):.2f} %"
        first = found.relative(found.whole.size(0, strengths[0]))
        assert text_of(browser, "[data-entry='0'] .size") == f"{100 * (first or 0):.2f} %"
        block = found.blocks[4]
        browser.run("document.querySelectorAll('#map .cells')[0].children[4].click()")
        there = found.relative(block.sum_size(strengths), block)
        assert f"together {100 * (there or 0):.2f} %" in text_of(browser, "#detail")
    assert text_of(browser, "#stack") == "ink:0.25 wash:0@blocks=0:0.5"


def test_buttons_balance_and_return(browser: Page, tmp_path: Path) -> None:
    found = comparison("0.8", "0.1", base=False)
    browser.open(write(tmp_path, found))
    browser.click("#balance")
    sizes = [text_of(browser, f"[data-entry='{at}'] .size") for at in (0, 1)]
    assert float(sizes[0].split()[0]) == pytest.approx(float(sizes[1].split()[0]), rel=0.03)
    browser.click("#given")
    assert text_of(browser, "#stack") == "ink:0.8 wash:0.1"
    assert text_of(browser, "[data-entry='0'] .size") == "100.00 %"


def test_blocks_and_kinds_by_mouse_and_keys(browser: Page, tmp_path: Path) -> None:
    browser.open(write(tmp_path, comparison("1", "1")))
    cells = "document.querySelectorAll('#map .cells')[0].children.length"
    assert browser.run(cells) == 6
    browser.run("document.getElementById('map').focus()")
    browser.press("ArrowRight", "ArrowRight")
    assert text_of(browser, "#detail").startswith("Block 1:")
    browser.click("[data-by=kinds]")
    assert browser.run(cells) == 3
    browser.run("document.getElementById('map').focus()")
    browser.press("ArrowRight")
    assert text_of(browser, "#detail").startswith("self_attn:")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser: Page, tmp_path: Path, dark: bool) -> None:
    browser.open(write(tmp_path, comparison("0.8", "0.5", "-1")), width=390, height=844, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.problems == []


def test_one_adapter_has_no_pairs(browser: Page, tmp_path: Path) -> None:
    browser.open(write(tmp_path, comparison("1")))
    assert browser.problems == []
    assert not browser.run("document.getElementById('cosines')")
