"""The gallery: what it holds, and what it does in a browser."""

from __future__ import annotations

import base64
import io
import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from lorakit.catalog import Catalog
from lorakit.catalog.covers import cover_path
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.report.gallery_page import anchors_of, gallery_page
from tests.models import lora_file, random_lora, tiny_base_file, usual_names
from tests.report.browser import Page
from tests.report.galleries import NASTY, add_collection, exhibits_of, write_gallery
from tests.report.test_grid_page import Outside


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAKIT_HOME", str(folder / "home"))
        with Catalog.open() as opened:
            add_collection(opened, folder / "loras")
            return write_gallery(opened, folder / "index.html")


def register_base(catalog: Catalog, path: Path) -> None:
    hashes = hash_file(path, read_header(path).data_offset)
    catalog.add_base(
        path,
        name="base",
        model="other",
        prefix="net.",
        blocks=3,
        dtype="F32",
        components=None,
        file_sha256=hashes.file_sha256,
        tensor_sha256=hashes.tensor_sha256,
    )


SHOWN = "[...document.querySelectorAll('.card')].filter(c => c.checkVisibility()).map(c => c.querySelector('.name').textContent)"


def wait(browser: Page, script: str, wanted: object) -> None:
    """Wait until the page has come to where an address leads; a browser takes its time over that."""
    for _ in range(200):
        if browser.run(script) == wanted:
            return
        browser.run("new Promise(done => setTimeout(done, 10))")
    assert browser.run(script) == wanted


def wait_for(browser: Page, name: str | None) -> None:
    """Wait for the page of an adapter; for the cards, where `name` is None."""
    wait(browser, "document.querySelector('#page h1')?.textContent ?? null", name)


def go(browser: Page, anchor: str, name: str | None) -> None:
    browser.run(f"location.hash = {anchor!r}")
    wait_for(browser, name)


def text_of(browser: Page, selector: str) -> str:
    found: str = browser.run(f"document.querySelector({selector!r}).innerText")
    return found


def test_the_page_is_complete_in_itself(page: Path) -> None:
    text = page.read_text()
    outside = Outside()
    outside.feed(text)
    assert [one for one in outside.found if not one.startswith("a href=#")] == []
    assert outside.policy.startswith("default-src 'none'; img-src data:")
    assert "url(" not in text
    assert "@import" not in text


def test_searching_facets_and_sorting_go_together(browser: Page, page: Path) -> None:
    browser.open(page)
    assert browser.problems == []
    assert [r for r in browser.requests if not r.startswith("data:")] == [page.as_uri()]
    assert browser.run(SHOWN) == ["ink", "ink-half", "wash"]
    browser.run("document.querySelector('#search').focus()")
    browser.press(*"line")
    assert browser.run(SHOWN) == ["ink"]
    assert text_of(browser, "#count") == "1 of 3"
    browser.click("#clear")
    assert len(browser.run(SHOWN)) == 3
    browser.click("input[data-facet=rank][value='4']")
    assert browser.run(SHOWN) == ["ink", "ink-half"]
    # What else could be chosen is counted among what fits the other facets.
    counts = "[...document.querySelectorAll('input[data-facet=licence]')].map(i => [i.value, i.parentNode.querySelector('small').textContent])"
    assert dict(browser.run(counts)) == {
        "may be shared, with conditions": "1",
        "terms unknown": "1",
    }
    browser.click("input[data-facet=licence][value='terms unknown']")
    assert browser.run(SHOWN) == ["ink-half"]
    browser.click("input[data-facet=rank][value='8']")
    assert browser.run(SHOWN) == ["ink-half", "wash"]
    browser.click("#clear")
    browser.run(
        "(s => { s.value = 'rank'; s.dispatchEvent(new Event('change')) })(document.querySelector('#sort'))"
    )
    assert browser.run(SHOWN) == ["wash", "ink", "ink-half"]
    browser.run("document.querySelector('#search').focus()")
    browser.press(*"zzz")
    assert browser.run(SHOWN) == []
    browser.click("#none-clear")
    assert len(browser.run(SHOWN)) == 3


def test_each_adapter_has_a_page_at_its_own_address(browser: Page, page: Path) -> None:
    browser.open(page)
    browser.click("[data-card='0'] a")
    wait_for(browser, "ink")
    assert browser.run(SHOWN) == []
    shown = text_of(browser, "#page")
    for words in (
        "ink:0.75",
        "from 0.5 to 1",
        "CC-BY-4.0",
        "Only for me.",
        "ink.safetensors",
        "rank",
    ):
        assert words.lower() in shown.lower(), words
    assert browser.run("document.querySelectorAll('#page .spectrum > svg polyline').length") == 3
    cells = "document.querySelector('#page .map .l5').getAttribute('d').length"
    assert browser.run(cells) > 0
    assert "ink-half scaled by 0.50" in text_of(browser, "#page .near").replace("\n", " ")
    browser.press("ArrowRight")
    wait_for(browser, "ink-half")
    browser.click("#page .near a")
    wait_for(browser, "ink")
    browser.press("Escape")
    wait_for(browser, None)
    assert len(browser.run(SHOWN)) == 3
    assert browser.run("document.querySelector('#page').hidden")


def test_an_address_with_an_anchor_opens_that_adapter(browser: Page, page: Path) -> None:
    browser.open(page)
    go(browser, "#wash", "wash")
    assert NASTY in text_of(browser, "#page .lead")
    go(browser, "#nothing-of-the-kind", None)
    assert len(browser.run(SHOWN)) == 3


def test_names_tags_and_titles_are_only_text(browser: Page, page: Path) -> None:
    browser.open(page)
    assert browser.run("document.querySelectorAll('img').length") == 1
    tags = "[...document.querySelectorAll('.tag')].map(t => t.textContent)"
    assert NASTY in browser.run(tags)
    facet = "[...document.querySelectorAll('#facets span')].map(t => t.textContent)"
    assert NASTY in browser.run(facet)
    assert browser.problems == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(browser: Page, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    filters = browser.run("document.querySelector('#filters').checkVisibility()")
    assert filters == (width < 800)
    if filters:
        assert not browser.run("document.querySelector('#facets').checkVisibility()")
        browser.click("#filters")
    assert browser.run("document.querySelector('#facets').checkVisibility()")
    go(browser, "#ink", "ink")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == []


def cover_of(page: str) -> Image.Image:
    (found,) = set(re.findall(r'src="data:image/webp;base64,([^"]+)"', page))
    return Image.open(io.BytesIO(base64.b64decode(found)))


def test_covers_are_small_and_made_again_when_they_change(catalog: Catalog) -> None:
    first = cover_of(gallery_page(exhibits_of(catalog)))
    assert first.size == (512, 512)
    path = cover_path(catalog.resolve("ink").tensor_sha256)
    Image.new("RGB", (300, 200), "orange").save(path)
    again = cover_of(gallery_page(exhibits_of(catalog)))
    assert again.size == (300, 200)
    path.write_bytes(b"no picture")
    told: list[str] = []
    assert "data:image" not in gallery_page(exhibits_of(catalog, told.append)).split("<body>")[1]
    assert len(told) == 1
    assert str(path) in told[0]


def test_the_person_chooses_the_cover(catalog: Catalog, tmp_path: Path) -> None:
    content = catalog.resolve("ink").tensor_sha256
    for name, source, size in (("mine", "user", 20), ("theirs", "civitai", 30)):
        Image.new("RGB", (size, size)).save(tmp_path / f"{name}.png")
        catalog.set_fact(content, "cover", str(tmp_path / f"{name}.png"), source)
    assert cover_of(gallery_page(exhibits_of(catalog))).size == (20, 20)
    (tmp_path / "mine.png").unlink()
    assert cover_of(gallery_page(exhibits_of(catalog))).size == (512, 512)
    cover_path(content).unlink()
    assert cover_of(gallery_page(exhibits_of(catalog))).size == (30, 30)


def test_the_picture_in_a_header_stands_in_where_there_is_no_other(
    catalog: Catalog, tmp_path: Path
) -> None:
    content = catalog.resolve("ink").tensor_sha256
    cover_path(content).unlink()
    assert "data:image" not in gallery_page(exhibits_of(catalog)).split("<body>")[1]
    stream = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(stream, "jpeg")
    thumbnail = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    factors = random_lora(usual_names(3), 3)
    path = tmp_path / "loras" / "ink-shown.safetensors"
    lora_file(path, factors, metadata={"modelspec.thumbnail": thumbnail})
    catalog.add([path])
    assert cover_of(gallery_page(exhibits_of(catalog))).size == (60, 40)


def test_strengths_are_shown_with_their_evidence(catalog: Catalog, tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / "loras" / f"more-{number}.safetensors"
        catalog.add([lora_file(path, random_lora(usual_names(3), 3, seed=9 + number))])
    register_base(catalog, tiny_base_file(tmp_path / "base.safetensors"))
    exhibits = exhibits_of(catalog)
    private, public = (unescape(gallery_page(exhibits, private=p)) for p in (True, False))
    assert "0.75 (0.5 to 1) suggests itself" in private
    assert "You set 0.75, from 0.5 to 1." in private
    assert "You set" not in public
    assert "as the median of your 7 other adapters" in public


def test_a_page_for_others_says_nothing_private(catalog: Catalog, tmp_path: Path) -> None:
    exhibits = exhibits_of(catalog)
    private, public = (unescape(gallery_page(exhibits, private=p)) for p in (True, False))
    for secret in ("Only for me.", str(tmp_path / "loras")):
        assert secret in private
        assert secret not in public


def test_what_was_drawn_once_outlasts_the_files(catalog: Catalog, tmp_path: Path) -> None:
    before = exhibits_of(catalog)
    for file in (tmp_path / "loras").iterdir():
        file.unlink()
    after = exhibits_of(catalog)
    assert [one.portrait for one in after] == [one.portrait for one in before]
    assert all(one.portrait.curves and one.record.missing for one in after)


def test_anchors_are_words_and_all_different() -> None:
    found = anchors_of(["a b", "a-b", "a/b", "ink", "???", "né"])
    assert list(found.values()) == ["a-b", "a-b-2", "a-b-3", "ink", "adapter", "né"]
