"""Sheets: that labels fit, that nothing overlaps, and that no sheet grows without bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lorakit.errors import BadUsage
from lorakit.preview.grid.embedding import embed
from lorakit.preview.grid.lettering import font_for, lacking, wrapped
from lorakit.preview.grid.sheet import LONGEST_SIDE, MOST_PIXELS, SheetText, draw_sheet

WHITE = (255, 255, 255)
LONG = "a very long prompt, with a lighthouse by the sea, in ink, at night, under many stars " * 4
NAME = "Supercalifragilistic_style_lora_for_anima_v12_final_" * 3


def picture(folder: Path, colour: str, size: tuple[int, int] = (64, 64)) -> Path:
    path = folder / f"{colour}-{size[0]}x{size[1]}.png"
    Image.new("RGB", size, colour).save(path)
    return path


@given(text=st.text(max_size=60), width=st.integers(20, 300), most=st.integers(1, 5))
def test_no_line_is_wider_than_it_may_be(text: str, width: int, most: int) -> None:
    font = font_for([text], 14)
    lines = wrapped(text, font, width, most)
    assert 1 <= len(lines) <= most
    for line in lines:
        # A single character that is wider by itself cannot be broken.
        assert font.getlength(line) <= width or len(line) <= 1


def test_a_font_is_found_that_has_the_signs() -> None:
    assert lacking(font_for(["abc"], 14), "abc\U0010ffff") == {"\U0010ffff"}
    signs = "strength of ink × seed · 64 × 64"
    if not lacking(font_for(["×"], 14), "×"):
        assert lacking(font_for([signs], 14), signs) == set()


def test_short_texts_are_whole_and_long_ones_marked() -> None:
    font = font_for(["x"], 14)
    assert wrapped("ink 0.5", font, 200, 3) == ["ink 0.5"]
    assert wrapped("seed 1\nno adapter", font, 200, 3) == ["seed 1", "no adapter"]
    assert "".join(wrapped(NAME, font, 100, 99)) == NAME
    cut = wrapped(LONG, font, 100, 2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")


def boxes(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels of the sheet have exactly this colour."""
    return sum(count for count, found in sheet.getcolors(1 << 24) or () if found == colour)


@pytest.mark.parametrize("label", ["ink 0.5", LONG, NAME, "墨絵 風の絵", "a\nb", ""])
def test_labels_cover_no_picture(tmp_path: Path, label: str) -> None:
    red = picture(tmp_path, "red")
    text = SheetText(label, label, [label] * 3, [label] * 2, [label] * 2)
    sheet = draw_sheet(text, lambda *place: red, largest=(64, 64))
    assert boxes(sheet, (255, 0, 0)) == 3 * 2 * 2 * 64 * 64


def test_every_picture_stands_in_its_place(tmp_path: Path) -> None:
    colours = {(0, 0): "red", (1, 0): "lime", (0, 1): "blue", (1, 1): "black"}
    files = {place: picture(tmp_path, colour) for place, colour in colours.items()}
    text = SheetText("", "", ["left", "right"], ["upper", "lower"], [""])
    sheet = draw_sheet(text, lambda c, r, p: files[c, r], largest=(64, 64))
    middles = {}
    for name, rgb in (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("blue", (0, 0, 255))):
        mask = Image.new("1", sheet.size)
        mask.putdata([pixel == rgb for pixel in sheet.get_flattened_data()])
        middles[name] = mask.getbbox() or pytest.fail(name)
    assert middles["red"][0] == middles["blue"][0] < middles["lime"][0]
    assert middles["red"][1] == middles["lime"][1] < middles["blue"][1]


def test_what_is_missing_says_so_in_its_place(tmp_path: Path) -> None:
    text = SheetText("", "", ["a", "b"], [""], [""])
    empty = draw_sheet(text, lambda c, r, p: "not rendered yet", largest=(128, 128))
    grey = boxes(empty, (230, 230, 230))
    assert 2 * 128 * 128 * 0.8 < grey < 2 * 128 * 128


def test_pictures_of_several_sizes_keep_them(tmp_path: Path) -> None:
    small, large = picture(tmp_path, "red", (32, 48)), picture(tmp_path, "blue", (96, 64))
    text = SheetText("", "", ["a", "b"], [""], [""])
    sheet = draw_sheet(text, lambda c, r, p: (small, large)[c], largest=(96, 64))
    assert boxes(sheet, (255, 0, 0)) == 32 * 48
    assert boxes(sheet, (0, 0, 255)) == 96 * 64


def test_a_huge_sheet_is_bounded(tmp_path: Path) -> None:
    red = picture(tmp_path, "red", (256, 256))
    text = SheetText(
        "t", "r", [f"ink {i}" for i in range(40)], [f"seed {i}" for i in range(30)], [""]
    )
    sheet = draw_sheet(text, lambda *place: red, largest=(256, 256), most_pixels=4_000_000)
    assert sheet.width * sheet.height <= 4_000_000
    assert boxes(sheet, (255, 0, 0)) > 500_000
    wide = SheetText("", "", [str(i) for i in range(200)], [""], [""])
    assert draw_sheet(wide, lambda *place: "", largest=(2048, 64)).width <= LONGEST_SIDE
    with pytest.raises(BadUsage, match="1000 × 1 × 1"):
        draw_sheet(SheetText("", "", [""] * 1000, [""], [""]), lambda *p: red, largest=(64, 64))
    assert MOST_PIXELS <= 89_478_485  # what Pillow opens without a warning


def test_pictures_for_a_page_are_whole_until_they_are_too_many(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.effect_noise((256, 256), 50 + number).convert("RGB").save(path)
    whole, note = embed(paths)
    assert note == ""
    assert [whole[path].content for path in paths] == [path.read_bytes() for path in paths]
    limit = 30_000
    small, note = embed(paths, most=limit)
    assert "compressed" in note
    assert sum(len(one.content) for one in small.values()) <= limit
    assert {(one.width, one.height, one.mime) for one in small.values()} == {
        (256, 256, "image/webp")
    }


def test_pictures_for_a_page_can_be_silent(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("parameters", "Model: secret")
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16), "red").save(path, pnginfo=info)
    assert b"secret" in embed([path])[0][path].content
    assert b"secret" not in embed([path], with_texts=False)[0][path].content
