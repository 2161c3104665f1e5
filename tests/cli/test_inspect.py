from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli
from tests.factories import USUAL_SHAPES, lora_tensors, number, write_safetensors


def raw(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2,), offsets: tuple[int, int] = (0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EIGHT = b"\0" * 8
MALFORMED = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "endless header": b"\xff" * 40,
    "header past the end": struct.pack("<Q", 100) + b"{}",
    "not JSON": raw(b"{nope"),
    "not UTF-8": raw(b'{"\xff": 1}'),
    "a list": raw([]),
    "a number for a tensor": raw({"a": 1}),
    "an unknown dtype": raw({"a": entry("F33")}, EIGHT),
    "a shape of another size": raw({"a": entry(shape=(3,))}, EIGHT),
    "a negative shape": raw({"a": entry(shape=(-2,))}, EIGHT),
    "bytes past the end": raw({"a": entry(offsets=(0, 16), shape=(4,))}, EIGHT),
    "tensors that overlap": raw({"a": entry(), "b": entry(offsets=(4, 12))}, b"\0" * 12),
    "bytes of no tensor": raw({"a": entry()}, EIGHT + b"more"),
    "the same key twice": raw(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), EIGHT),
    "metadata that is no text": raw({"__metadata__": {"a": 1}, "b": entry()}, EIGHT),
    "a web page": b"<!DOCTYPE html><html>sign in to download</html>",
    "nested without end": raw(b"[" * 100_000),
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["human", "json"])
def test_a_malformed_file_is_refused_in_one_sentence(
    cli: Cli, tmp_path: Path, kind: str, flags: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALFORMED[kind])
    cli("inspect", path, *flags).failed_with(4, "bad.safetensors")


def test_a_folder_or_nothing_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    cli("inspect", tmp_path / "folder.safetensors").failed_with(4, "folder.safetensors")
    cli("inspect", tmp_path / "none.safetensors").failed_with(
        1, "There is no file", "none.safetensors"
    )


@pytest.mark.parametrize("name", ["old.pt", "old.ckpt", "OLD.CKPT"])
@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02"], ids=["zip", "pickle"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(
    cli: Cli, tmp_path: Path, name: str, start: bytes
) -> None:
    (tmp_path / name).write_bytes(start + b"\0" * 100)
    ran = cli("inspect", tmp_path / name)
    ran.failed_with(4, name, "pickle", "weights_only=True", "save_file")


def test_a_report_shows_what_a_person_asks_first(cli: Cli, tmp_path: Path) -> None:
    shapes = {n: s for n, s in USUAL_SHAPES.items() if int(n.split(".")[1]) > 2}
    path = write_safetensors(
        tmp_path / "style.safetensors",
        lora_tensors("kohya", shapes, 16, alpha=8.0),
        {"ss_base_model_version": "anima", "modelspec.trigger_phrase": "@ink"},
    )
    ran = cli("inspect", path)
    assert (ran.code, ran.err) == (0, "")
    said = {line[:15].strip(): line[15:].strip() for line in ran.lines if line[:1] != " "}
    assert said["algorithm"] == "lora"
    assert said["layout"] == "kohya"
    assert said["rank"] == "16"
    assert said["alpha"] == "8 (scale 0.5)"
    assert said["made for"] == "28 blocks"
    assert said["not touched"] == "blocks 0-2; adaln; llm_adapter; text_encoder"
    assert said["triggers"] == "@ink"
    assert len(said["file sha256"]) == len(said["tensor sha256"]) == 64
    row = next(line for line in ran.lines if line.startswith("self_attn"))
    assert row.split()[1] == "·" * 3 + "█" * 25
    assert max(map(len, ran.lines)) <= 80


def test_json_holds_everything_and_no_number_that_json_lacks(cli: Cli, tmp_path: Path) -> None:
    tensors = lora_tensors("kohya", dict(list(USUAL_SHAPES.items())[:2]), 4)
    tensors["lora_unet_blocks_0_self_attn_q_proj.alpha"] = number(math.inf)
    path = write_safetensors(tmp_path / "odd.safetensors", tensors, {"odd": "\x1b[31m"})
    ran = cli("inspect", path, "--json", "--no-hashes")
    assert ran.document["schema"] == "lorakit/inspect/1"
    (report,) = ran.document["adapters"]
    assert report["metadata"]["odd"] == "\x1b[31m"
    assert len(report["modules"]) == 2


def test_a_file_cannot_steer_the_terminal(cli: Cli, tmp_path: Path) -> None:
    title = "\x1b]0;owned\x07\x1b[31m\u202ered"
    path = write_adapter(
        tmp_path / "evil\x1b[2J.safetensors",
        1,
        {"modelspec.title": title, "modelspec.license": "\x1b[1mMIT"},
    )
    human = cli("inspect", path)
    assert "\x1b" not in human.out
    assert "\u202e" not in human.out
    assert "\\x1b]0;owned\\x07" in human.out
    path.write_bytes(b"")
    assert "\x1b" not in cli("inspect", path).err


def test_a_name_of_two_lines_is_shown_in_one(cli: Cli, folder: Path) -> None:
    path = write_adapter(folder / "two\nlines.safetensors", 5)
    assert cli("inspect", path).lines[0].startswith("two\\nlines.safetensors")
    path.write_bytes(b"1")
    cli("inspect", path).failed_with(4, "it has 1 of the 8 bytes it begins with")


def test_several_names_are_told_apart(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    ran = cli("inspect", "ink", folder / "wash.safetensors")
    assert "ink.safetensors" in ran.out
    assert "wash.safetensors" in ran.out
    assert len(cli("inspect", "ink", "wash", "--json").document["adapters"]) == 2


def test_a_name_that_fits_several_lists_them(cli: Cli, folder: Path) -> None:
    write_adapter(folder / "inkblot.safetensors", 7)
    write_adapter(folder / "inky.safetensors", 8)
    cli("add", folder)
    cli("inspect", "in").failed_with(1, "fits 3 adapters", "ink (sha256:", "inkblot", "inky")
    assert cli("inspect", "ink", "-q").out == f"{folder / 'ink.safetensors'}\n"


def test_an_unknown_name_brings_close_ones(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    cli("inspect", "wahs").failed_with(1, "wahs", "wash")


@pytest.mark.parametrize(
    "name", ["a" * 300, "~nobody-of-that-name/x.safetensors", "x" * 300 + "/y"]
)
def test_a_name_that_no_system_takes_is_one_sentence(cli: Cli, name: str) -> None:
    ran = cli("inspect", name)
    assert ran.code in (1, 4)
    assert ran.err.startswith("Error: ")
    assert "Traceback" not in ran.err


def test_a_query_takes_the_place_of_names(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    cli("tag", "ink", "wash", "--add", "dear")
    cli("note", "wash", "--rating", "4")
    found = cli("inspect", "tag:dear", "--json").document["adapters"]
    assert [Path(one["path"]).stem for one in found] == ["ink", "wash"]
    assert [one["yours"] is None for one in found] == [False, False]
    assert cli("inspect", "rating:4..", "path:/loras/", "-q").lines == [
        str(folder / "wash.safetensors")
    ]
    assert cli("inspect", "tag:dear", "-rating:4..", "-q").lines == [
        str(folder / "ink.safetensors")
    ]
    cli("inspect", "tag:none").failed_with(1, "No adapter fits 'tag:none'")
    cli("inspect", "rank:x").failed_with(2, "neither a number nor a range")


def test_a_path_that_leads_nowhere_is_named(cli: Cli) -> None:
    cli("inspect", "./a/ink.safetensors").failed_with(1, "There is no file ./a/ink.safetensors")
