"""Strengths that suggest themselves, each with its evidence, and how strong adapters are on a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lorakit
from lorakit.adapters.loading import load_adapter
from lorakit.catalog.measured import size_of
from lorakit.formats.variants import block_map
from lorakit.sketches.norms import delta_norms
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

NAMES = usual_names(3)
# How much stronger each is than the first, in the order of their names.
SCALES = (1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0)


@pytest.fixture
def shelf(cli: Cli, tmp_path: Path) -> Path:
    """A base, and style-0 to style-6 in the catalog, stronger and stronger."""
    folder = tmp_path / "loras"
    folder.mkdir()
    for number, scale in enumerate(SCALES):
        factors = random_lora(NAMES, 3, seed=number, scale=scale)
        lora_file(folder / f"style-{number}.safetensors", factors)
    assert cli("add", folder).code == 0
    base = tiny_base_file(tmp_path / "base.safetensors")
    assert cli("base", "add", base, "--name", "base", "--as", "rdbt").code == 0
    return folder


def told(cli: Cli, *words: str) -> list[dict[str, Any]]:
    ran = cli("strength", *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.document["schema"] == "lorakit/strength/1"
    found: list[dict[str, Any]] = ran.document["adapters"]
    return found


def test_the_size_is_that_of_the_whole_change_beside_the_whole_base(
    cli: Cli, shelf: Path, tmp_path: Path
) -> None:
    (one,) = told(cli, "style-3")
    weights = load_file(tmp_path / "base.safetensors")
    linear = [
        w.flatten()
        for name, w in weights.items()
        if "norm" not in name and "embed.weight" not in name
    ]
    whole = torch.cat(linear).norm()
    adapter = lorakit.load_adapter(shelf / "style-3.safetensors")
    changes = [
        module.delta(weights[f"net.{name}.weight"].double()).flatten()
        for name, module in adapter.modules.items()
    ]
    assert one["size"]["overall"] == pytest.approx(float(torch.cat(changes).norm() / whole), 1e-4)
    assert one["size"]["modules"] == len(NAMES)
    assert one["size"]["left_out"] == 0
    assert one["size"]["components"].keys() == {"dit"}
    assert one["size"]["components"]["dit"] > one["size"]["overall"]
    (checked,) = cli("check", "style-3", "--json").document["entries"]
    assert checked["relative"] == pytest.approx(one["size"]["overall"], rel=1e-5)
    assert checked["relative_touched"] == pytest.approx(one["size"]["touched"], rel=1e-5)
    (planned,) = cli("stack", "style-3", "--plan", "--json").document["sizes"]
    assert planned["relative_touched"] == pytest.approx(one["size"]["touched"], rel=1e-5)


def test_an_adapter_is_held_against_the_median_of_the_others(cli: Cli, shelf: Path) -> None:
    (one,) = told(cli, "style-6")
    ((evidence,),) = [one["evidence"]]
    assert evidence["kind"] == one["by"] == "size"
    sizes = {a["name"]: a["size"]["overall"] for a in told(cli)}
    others = sorted(size for name, size in sizes.items() if name != "style-6")
    middle = (others[2] + others[3]) / 2
    assert one["value"] == pytest.approx(middle / sizes["style-6"], abs=0.026)
    assert one["low"] <= one["value"] <= one["high"]
    assert "the median of your 6 other adapters at 1" in evidence["text"]


def test_copies_of_an_adapter_are_none_of_the_others(cli: Cli, shelf: Path) -> None:
    (before,) = told(cli, "style-6")
    for number in range(6):
        halved = random_lora(NAMES, 3, seed=6, scale=SCALES[6] / 2 ** (number + 1))
        cli("add", lora_file(shelf / f"copy-{number}.safetensors", halved))
    told(cli)  # measures the copies
    assert "12 other adapters" in told(cli, "style-6")[0]["evidence"][0]["text"]
    assert cli("similar", "style-6").code == 0
    (after,) = told(cli, "style-6")
    assert [after[key] for key in ("value", "low", "high")] == [
        before[key] for key in ("value", "low", "high")
    ]
    text = after["evidence"][0]["text"]
    assert "your 6 other adapters" in text
    assert text.endswith("Not counted: 6 with nearly the same weights as it.")
    # A copy does not count what it was made of; for an adapter apart, all of them are others.
    assert "Not counted: 1 with" in told(cli, "copy-0")[0]["evidence"][0]["text"]
    assert "12 other adapters" in told(cli, "style-0")[0]["evidence"][0]["text"]


def test_the_strengths_that_others_are_used_at_count(cli: Cli, shelf: Path) -> None:
    (before,) = told(cli, "style-6")
    for number in range(6):
        cli("note", f"style-{number}", "--strength", "0.5")
    (after,) = told(cli, "style-6")
    assert after["value"] == pytest.approx(before["value"] / 2, abs=0.05)
    assert "at the strengths you set" in after["evidence"][0]["text"]


def test_your_own_word_goes_before_your_stacks_and_those_before_sizes(
    cli: Cli, shelf: Path
) -> None:
    assert told(cli, "style-4")[0]["by"] == "size"
    for strength, name in ((0.5, "evening"), (0.9, "morning")):
        kept = cli("stack", f"style-4:{strength}", "--keep", name)
        assert kept.code == 0, kept.err
    (one,) = told(cli, "style-4")
    assert (one["by"], one["value"], one["low"], one["high"]) == ("kept stack", 0.7, 0.5, 0.9)
    assert "Your stack evening has it at 0.5." in [e["text"] for e in one["evidence"]]
    assert cli("note", "style-4", "--strength", "0.8,0.6..1").code == 0
    (one,) = told(cli, "style-4")
    assert (one["by"], one["value"], one["low"], one["high"]) == ("yours", 0.8, 0.6, 1.0)


def test_too_few_others_suggest_nothing(cli: Cli, tmp_path: Path) -> None:
    cli("add", lora_file(tmp_path / "ink.safetensors", random_lora(NAMES, 3)))
    cli("base", "add", tiny_base_file(tmp_path / "base.safetensors"), "--name", "b")
    (one,) = told(cli, "ink")
    assert one["value"] is None
    assert one["size"]["overall"] > 0
    assert "needs 5 other adapters that are measured; there are none" in one["evidence"][0]["text"]


def test_without_a_base_there_is_what_people_say(cli: Cli, tmp_path: Path) -> None:
    cli("add", lora_file(tmp_path / "ink.safetensors", random_lora(NAMES, 3)))
    cli("note", "ink", "--strength", "0.8")
    ran = cli("strength", "ink")
    assert "You set 0.8." in ran.out
    assert "No base is registered" in ran.err


def test_inspect_shows_what_is_known_and_measures_nothing(cli: Cli, shelf: Path) -> None:
    assert "not measured yet: lorakit strength style-5" in cli("inspect", "style-5").out
    assert cli("strength", "-q").lines == [f"style-{n}" for n in range(7)]
    shown = cli("inspect", "style-5").out
    assert "suggested strength" in shown
    document = cli("inspect", "style-5", "--json").document["adapters"][0]["yours"]
    assert document["strength"]["by"] == "size"


def test_a_file_that_is_missing_is_named_and_stops_nothing(cli: Cli, shelf: Path) -> None:
    (shelf / "style-2.safetensors").unlink()
    ran = cli("strength", "--json")
    assert ran.code == 0
    assert [one["name"] for one in ran.document["not_measured"]] == ["style-2"]
    sizes = {one["name"]: one["size"] for one in ran.document["adapters"]}
    assert sizes.pop("style-2") is None
    assert all(sizes.values())


def test_an_adapter_for_a_model_of_another_size_is_named(
    cli: Cli, shelf: Path, tmp_path: Path
) -> None:
    names = usual_names(5)
    cli("add", lora_file(tmp_path / "deep.safetensors", random_lora(names, 5)))
    ran = cli("strength", "deep", "--json")
    (one,) = ran.document["not_measured"]
    assert "changes block 4" in one["reason"]
    assert ran.document["adapters"][0]["size"] is None


def test_one_published_size_fits_the_next_one_by_its_table(tmp_path: Path) -> None:
    module = "blocks.27.mlp.layer2"
    adapter = load_adapter(lora_file(tmp_path / "a.safetensors", random_lora([module], 28)))
    carried = f"blocks.{block_map(28, 40)[27]}.mlp.layer2"
    norms = {carried: 4.0, module: 100.0}
    found = size_of(adapter, norms, 40, tmp_path / "none")
    (norm,) = delta_norms(adapter).values()
    assert found.touched == pytest.approx(norm / 4.0, rel=1e-4)
    assert (found.modules, found.left_out) == (1, 0)


def test_an_unknown_name_is_told_in_a_sentence(cli: Cli, shelf: Path) -> None:
    cli("strength", "nothing").failed_with(1, "nothing")
    cli("strength", "style-1", "--base", "other").failed_with(1, "other")
