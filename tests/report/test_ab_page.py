"""The page of a comparison: voting by key and by button, and what it gives to read."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from lorakit.preview.ab.ballots import read_ballots
from lorakit.preview.ab.comparison import AbPlan, AbRequest, Pair
from lorakit.preview.grid.cells import Asked
from lorakit.preview.grid.folder import open_folder
from lorakit.preview.grid.jobs import How
from lorakit.report.ab_page import ab_page
from lorakit.stack import Stack
from tests.report.browser import Page
from tests.report.grids import SIZE, plan_of

NASTY = "</script><img src=x onerror=alert(1)>"


def write_page(tmp_path: Path, *, pairs: int = 3, blind: bool = True) -> Path:
    from PIL import Image

    jobs = plan_of(f'"{NASTY}":0.5', f"seed=1-{pairs}", prompt=NASTY).jobs
    both = [(jobs[2 * n], jobs[2 * n + 1]) for n in range(pairs)]
    request = AbRequest(
        (("rdbt", Stack()), ("rdbt", Stack.parse(f'"{NASTY}":0.5'))),
        (NASTY,),
        tuple(range(1, pairs + 1)),
        Asked(Stack()),
        How("cpu"),
        blind,
        7,
    )
    plan = AbPlan(
        request,
        tuple(
            Pair(n + 1, both[n], (f"pair{n + 1}-a.png", f"pair{n + 1}-b.png"), blind and n % 2 == 0)
            for n in range(pairs)
        ),
    )
    folder = open_folder(tmp_path / "ab", "ab.json", "x", {})
    for file, job in plan.by_file().items():
        colour = "red" if job.entries else "blue"
        folder.save(file, job.key, 0.0, Image.new("RGB", (SIZE, SIZE), colour).save)
    page = tmp_path / "index.html"
    page.write_text(ab_page(plan, folder), encoding="utf-8")
    return page


def command(browser: Page) -> str:
    text: str = browser.run("document.getElementById('command').textContent")
    return text.split(" ", 4)[-1] if text.count(" ") > 3 else ""


def test_votes_are_given_by_key_and_the_next_pair_comes(browser: Page, tmp_path: Path) -> None:
    page = write_page(tmp_path)
    browser.open(page)
    assert browser.problems == []
    assert [r for r in browser.requests if not r.startswith("data:")] == [page.as_uri()]
    browser.press("a", "=", "b")
    assert command(browser) == "1=a 2=same 3=b"
    browser.press("ArrowLeft", "a")
    assert command(browser) == "1=a 2=a 3=b"
    assert browser.run("document.getElementById('count').textContent") == "3 of 3 pairs voted."
    browser.run("localStorage.clear()")


def test_votes_are_given_by_button_and_outlast_a_reload(browser: Page, tmp_path: Path) -> None:
    page = write_page(tmp_path)
    browser.open(page)
    browser.click("[data-vote='b']")
    assert command(browser) == "1=b"
    browser.open(page)
    assert command(browser) == "1=b"
    assert browser.run("document.getElementById('at').textContent") == "Pair 2 of 3"
    browser.run("localStorage.clear()")


def test_the_saved_file_is_one_that_can_be_read(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    browser.press("a", "=")
    address = browser.run("document.getElementById('file').href")
    saved = tmp_path / "votes.json"
    saved.write_text(unquote(address.split(",", 1)[1]))
    name, votes = read_ballots(saved)
    assert votes == {1: "a", 2: "same"}
    assert name == json.loads(browser.run("document.getElementById('data').textContent"))["name"]
    browser.run("localStorage.clear()")


def test_a_blind_page_names_no_side_and_an_open_one_both(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path / "blind"))
    captions = "[...document.querySelectorAll('figcaption')].map(c => c.textContent.trim())"
    assert browser.run(captions) == ["A", "B"] * 3
    browser.open(write_page(tmp_path / "open", blind=False))
    assert browser.run(captions)[:2] == ["A no adapter", f'B "{NASTY}":0.5']
    assert browser.run("document.images.length") == 6


def test_one_lies_over_the_other_and_flips(browser: Page, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path))
    shown = "[...document.querySelectorAll('.pair:not([hidden]) figure')].map(f => getComputedStyle(f).display !== 'none')"
    assert browser.run(shown) == [True, True]
    browser.press(" ")
    assert browser.run(shown) == [True, False]
    place = "JSON.stringify([...document.querySelectorAll('.pair:not([hidden]) img')].map(i => i.getBoundingClientRect()).find(b => b.width))"
    before = browser.run(place)
    browser.press(" ")
    assert browser.run(shown) == [False, True]
    assert browser.run(place) == before
    browser.click(".pair:not([hidden]) .side-b .view")
    assert browser.run(shown) == [True, False]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(browser: Page, tmp_path: Path, width: int) -> None:
    browser.open(write_page(tmp_path), width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == []
