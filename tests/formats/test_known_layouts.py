"""Every trainer's file is read whole: nothing unused, nothing taken for a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lorakit
from lorakit.formats.anima import kind_of
from tests.factories import write_safetensors
from tests.layouts import NAMES, layout_tensors, read_layout


@pytest.fixture(params=NAMES)
def table(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read_layout(request.param)


@pytest.fixture
def report(table: dict[str, Any], tmp_path: Path) -> lorakit.AdapterReport:
    path = write_safetensors(
        tmp_path / "adapter.safetensors", layout_tensors(table), table["metadata"]
    )
    return lorakit.inspect(path, hashes=False)


def test_every_key_is_used_and_nothing_is_a_problem(report: lorakit.AdapterReport) -> None:
    assert report.unused_keys == ()
    assert report.problems == ()


def test_the_layout_and_algorithm_are_recognised(
    report: lorakit.AdapterReport, table: dict[str, Any]
) -> None:
    expect = table["expect"]
    assert report.layouts == (expect["layout"],)
    assert report.algos == (expect["algo"],)
    assert report.components == expect["components"]
    assert len(report.modules) == sum(expect["components"].values())


def test_the_rank_comes_from_the_shapes_and_the_scale_from_alpha(
    report: lorakit.AdapterReport, table: dict[str, Any]
) -> None:
    rank = table.get("rank")
    assert report.ranks == ({rank: len(report.modules)} if rank else {})
    assert {module.scale for module in report.modules} == {table["expect"]["scale"]}


def test_the_touched_blocks_and_the_model_size_are_right(
    report: lorakit.AdapterReport, table: dict[str, Any]
) -> None:
    first, last = table["expect"]["blocks"]
    assert report.blocks == tuple(range(first, last + 1))
    assert report.model_blocks == 28
    kinds = {kind_of(module.name) for module in report.modules}
    assert kinds.isdisjoint(table["expect"].get("absent_kinds", ()))


def test_a_scale_that_had_to_be_looked_up_or_guessed_is_noted(
    report: lorakit.AdapterReport, table: dict[str, Any]
) -> None:
    notes = " ".join(report.notes)
    noted = table["expect"].get("noted")
    assert (noted in notes) if noted else (report.notes == ())


@pytest.mark.parametrize("name", [n for n in NAMES if "megabytes" in read_layout(n)["expect"]])
def test_the_file_is_as_large_as_the_published_ones(name: str, tmp_path: Path) -> None:
    table = read_layout(name)
    path = write_safetensors(tmp_path / "adapter.safetensors", layout_tensors(table))
    # The header and the alphas come on top of the factors that the published figure counts.
    assert path.stat().st_size / 1e6 == pytest.approx(table["expect"]["megabytes"], abs=0.25)


def test_the_published_skips_of_the_rdbt_lora_are_visible(tmp_path: Path) -> None:
    table = read_layout("rdbt")
    path = write_safetensors(tmp_path / "rdbt.safetensors", layout_tensors(table))
    report = lorakit.inspect(path, hashes=False)
    assert set(range(28)) - set(report.blocks) == {0, 1, 2}
    assert not any("adaln" in module.name for module in report.modules)
