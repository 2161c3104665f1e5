from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lorakit.catalog import Catalog
from tests.cli.conftest import Cli


@pytest.fixture
def collected(cli: Cli, models: Path) -> Cli:
    assert cli("add", models / "ink.safetensors", models / "wash.safetensors").code == 0
    return cli


def cards(page: Path) -> int:
    return page.read_text().count('<li class="card"')


def test_a_gallery_of_all_or_of_some_is_written(collected: Cli, tmp_path: Path) -> None:
    page = tmp_path / "gallery.html"
    ran = collected("report", "-o", page, "--json", "--title", "Mine & yours")
    assert ran.code == 0
    assert ran.document == {
        "schema": "lorakit/report/1",
        "path": str(page),
        "adapters": 2,
        "covers": 0,
        "stacks": 0,
        "bytes": page.stat().st_size,
    }
    assert "<h1>Mine &amp; yours</h1>" in page.read_text()
    for words, count in (
        (["ink"], 1),
        (["ink", ",", "wash"], 2),
        (["-name:ink"], 1),
        (["rank:8.."], 1),
        (["missing:no", "sort:rank-"], 2),
    ):
        assert collected("report", *words, "-o", page, "--overwrite").code == 0
        assert cards(page) == count, words
    ran = collected("report", "-", "-o", page, "--overwrite", "-q", stdin="wash\n")
    assert ran.lines == [str(page)]
    assert cards(page) == 1


def test_kept_stacks_are_shown_where_all_of_them_is(
    stocked: Cli, tmp_path: Path, models: Path
) -> None:
    said = stocked("stack", "ink:0.8 wash:0.5", "--keep", "evening", "--note", "Only <mine>")
    assert said.code == 0, said.err
    page = tmp_path / "gallery.html"
    assert stocked("report", "-o", page, "--json").document["stacks"] == 1
    text = page.read_text()
    assert "<h3>evening" in text
    assert "ink:0.8 wash:0.5" in text
    assert "Only &lt;mine&gt;" in text
    with Catalog.open() as catalog:
        (kept,) = catalog.kept_stacks()
        Image.new("RGB", (600, 300), "teal").save(tmp_path / "made.png")
        catalog.note_stack_pictures(kept, [tmp_path / "made.png"])
    assert stocked("report", "-o", page, "--overwrite", "--public").code == 0
    text = page.read_text()
    assert text.count('alt="Made with evening"') == 1
    assert "mine" not in text.split("<main")[1]
    # One of its adapters is not shown, so neither is the stack.
    assert stocked("report", "ink", "-o", page, "--overwrite").code == 0
    assert "<h3>evening" not in page.read_text()


def test_the_order_that_was_asked_for_is_offered_first(collected: Cli, tmp_path: Path) -> None:
    page = tmp_path / "gallery.html"
    assert collected("report", "sort:rank-", "-o", page).code == 0
    text = page.read_text()
    assert text.index(">wash</span>") < text.index(">ink</span>")
    assert '<option value="given">' in text
    assert collected("report", "-o", page, "--overwrite").code == 0
    assert '<option value="given">' not in page.read_text()


def test_a_folder_gets_an_index(collected: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    assert collected("report", "-o", folder, "-q").lines == [str(folder / "index.html")]
    assert cards(folder / "index.html") == 2


def test_what_is_there_is_overwritten_only_when_asked(collected: Cli, tmp_path: Path) -> None:
    page = tmp_path / "gallery.html"
    page.write_text("mine")
    collected("report", "-o", page).failed_with(2, str(page), "--overwrite")
    assert page.read_text() == "mine"


def test_what_is_private_is_left_out_when_asked(
    collected: Cli, models: Path, tmp_path: Path
) -> None:
    page = tmp_path / "gallery.html"
    assert collected("report", "-o", page).code == 0
    assert str(models) in page.read_text()
    assert collected("report", "-o", page, "--overwrite", "--public").code == 0
    assert str(models) not in page.read_text()


def test_mistakes_are_told_in_a_sentence_and_leave_nothing(collected: Cli, tmp_path: Path) -> None:
    page = tmp_path / "gallery.html"
    collected("report", "nothing", "-o", page).failed_with(1, "nothing")
    collected("report", "rank:x", "-o", page).failed_with(2, "rank:x")
    blocked = tmp_path / "file"
    blocked.write_text("")
    collected("report", "-o", blocked / "gallery.html").failed_with(1, "gallery.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "models"]


def test_an_empty_catalog_has_nothing_to_show(cli: Cli, tmp_path: Path) -> None:
    cli("report", "-o", tmp_path / "gallery.html").failed_with(1, "empty", "lorakit add")


def test_a_damaged_file_stops_nothing(collected: Cli, models: Path, tmp_path: Path) -> None:
    (models / "ink.safetensors").write_bytes(b"\x00" * 100)
    (models / "wash.safetensors").unlink()
    page = tmp_path / "gallery.html"
    ran = collected("report", "-o", page)
    assert ran.code == 0, ran.err
    assert cards(page) == 2
