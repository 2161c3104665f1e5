from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from lorakit.adapters.lora import LoraModule
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, usual_names

NAMES = usual_names(3)


def factors(seed: int, scale: float = 1.0) -> dict[str, LoraModule]:
    return random_lora(NAMES, 3, seed=seed, scale=scale)


@pytest.fixture
def family(cli: Cli, tmp_path: Path) -> Path:
    """In the catalog: ink; its copy under another header; half of it; wash; and a merge of both."""
    folder = tmp_path / "loras"
    folder.mkdir()
    ink, wash = factors(0), factors(1)
    both = {
        name: LoraModule(
            torch.cat((0.7 * ink[name].up, 0.4 * wash[name].up), 1),
            torch.cat((ink[name].down, wash[name].down)),
            1.0,
        )
        for name in NAMES
    }
    lora_file(folder / "ink.safetensors", ink)
    lora_file(folder / "ink-titled.safetensors", ink, metadata={"modelspec.title": "Ink"})
    lora_file(folder / "ink-half.safetensors", factors(0, 0.5), "comfy")
    lora_file(folder / "wash.safetensors", wash)
    lora_file(folder / "evening.safetensors", both)
    assert cli("add", folder).code == 0
    return folder


def found(ran: object) -> dict[str, str]:
    return {one["name"]: one["words"] for one in ran.document["similar"]}  # type: ignore[attr-defined]


def test_relatives_are_listed_with_what_they_are(cli: Cli, family: Path) -> None:
    ran = cli("similar", "ink", "--json")
    assert ran.document["schema"] == "lorakit/similar/1"
    assert found(ran) == {
        "ink-titled": "the same tensors",
        "ink-half": "scaled by 0.50",
        "evening": "resized, fine-tuned or merged relative",
    }
    shown = cli("similar", "ink")
    assert (shown.code, shown.err) == (0, "")
    assert "±0.01" in shown.out
    assert cli("similar", "ink", "-q", "-n", "2").lines == ["ink-titled", "ink-half"]


def test_a_merge_is_said_to_be_the_sum_of_its_parts(cli: Cli, family: Path) -> None:
    mixture = cli("similar", "evening", "--json").document["mixture"]
    strengths = {part["name"].split("-")[0]: part["strength"] for part in mixture["of"]}
    # Ink stands for its copies, of which one is half as strong.
    assert strengths.keys() == {"ink", "wash"}
    assert strengths["wash"] == pytest.approx(0.4, abs=1e-3)
    assert mixture["share"] > 0.999
    assert "evening is 0." in " ".join(cli("similar", "evening").out.split())


def test_a_file_that_is_not_in_the_catalog_is_compared_too(cli: Cli, family: Path) -> None:
    other = lora_file(family.parent / "other.safetensors", factors(1, -2.0))
    ran = cli("similar", other, "--json")
    assert found(ran)["wash"] == "scaled by -0.50"
    known = cli("similar", family / "wash.safetensors", "-q")
    assert "wash" not in known.lines


def test_what_was_read_once_is_known_when_the_files_are_gone(cli: Cli, family: Path) -> None:
    before = cli("similar", "ink", "--json").document
    shutil.rmtree(family)
    after = cli("similar", "ink", "--json").document
    assert [one["cosine"] for one in after["similar"]] == [
        one["cosine"] for one in before["similar"]
    ]
    assert all(one["missing"] for one in after["similar"])


def test_what_cannot_be_read_is_named_and_stops_nothing(cli: Cli, home: Path, family: Path) -> None:
    (family / "wash.safetensors").unlink()
    ran = cli("similar", "ink", "--json")
    assert len(ran.document["similar"]) == 3
    assert [one["name"] for one in ran.document["passed_over"]] == ["wash"]
    assert "wash is not compared: The file of wash is missing" in " ".join(
        cli("similar", "ink").out.split()
    )
    cli("similar", "wash").failed_with(1, "missing")


def test_damage_to_what_was_derived_costs_time_only(cli: Cli, home: Path, family: Path) -> None:
    before = found(cli("similar", "ink", "--json"))
    assert (home / "derived.db").is_file()
    (home / "derived.db").write_bytes(b"no database" * 100)
    ran = cli("similar", "ink", "--json")
    assert found(ran) == before
    assert ran.err.count("derived.db") == 1
    (home / "derived.db").unlink()
    assert found(cli("similar", "ink", "--json")) == before


def test_mistakes_are_told_in_a_sentence(cli: Cli, family: Path) -> None:
    cli("similar", "nothing").failed_with(1, "nothing")
    cli("similar", "ink", "--limit", "0").failed_with(2, "--limit")
    bad = family / "bad.safetensors"
    bad.write_bytes(b"\x00" * 20)
    cli("similar", bad).failed_with(4, "bad.safetensors")


def test_what_was_found_is_shown_by_inspect_and_doctor(cli: Cli, family: Path) -> None:
    assert "not compared yet: lorakit similar ink" in cli("inspect", "ink").out
    assert cli("similar", "ink").code == 0
    shown = cli("inspect", "ink").out
    assert "scaled by 0.50 (cosine 1.0000)" in shown
    assert re.search(r"same tensors +ink-titled", shown)
    alike = cli("inspect", "ink", "--json").document["adapters"][0]["yours"]["alike"]
    assert alike["same_tensors"] == ["ink-titled"]
    assert [one["name"] for one in alike["relatives"]] == ["ink-half", "evening"]
    told = [f for f in cli("doctor", "--json").document["findings"] if f["kind"] == "alike"]
    (one,) = told
    assert "ink" in one["text"]
    assert "ink-half: scaled by 0.50" in one["text"]
    assert not one["problem"]
    # The other side of it is known as well, though it was not compared with all.
    other = " ".join(cli("inspect", "ink-half").out.split())
    assert "ink scaled by 2.00 (cosine 1.0000)" in other
    assert "by weights compared with 1 of 3 others: lorakit similar ink-half" in other
    assert cli("similar", "evening").code == 0
    assert cli("similar", "ink").code == 0
    other = " ".join(cli("inspect", "ink-half").out.split())
    assert "compared with 2 of 3 others" in other
    assert cli("doctor", "wash", "--json").document["findings"] == []


def test_what_no_sketch_holds_is_not_called_the_same(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    layer = "text_encoder.layers.0.self_attn.q_proj"
    with_text = {**factors(0), layer: LoraModule(torch.ones(8, 4), torch.ones(4, 8), 1.0)}
    lora_file(folder / "ink.safetensors", factors(0))
    lora_file(folder / "ink-text.safetensors", with_text)
    assert cli("add", folder).code == 0
    assert cli("inspect", "ink-text", "--json").document["adapters"][0]["components"] == {
        "dit": len(NAMES),
        "text_encoder": 1,
    }
    said = "the same weights, stored otherwise; text encoders not compared"
    assert found(cli("similar", "ink", "--json")) == {"ink-text": said}


def test_the_only_adapter_has_nobody_to_be_like(cli: Cli, tmp_path: Path) -> None:
    lora_file(tmp_path / "ink.safetensors", factors(0))
    assert cli("add", tmp_path / "ink.safetensors").code == 0
    said = "There is no other adapter in the catalog to compare ink with.\n"
    assert cli("similar", "ink").out == said


def test_a_file_beside_an_empty_catalog_has_nobody_to_be_like(cli: Cli, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "ink.safetensors", factors(0))
    ran = cli("similar", path)
    assert ran.code == 0, ran.err
    assert "no other adapter in the catalog to compare" in " ".join(ran.out.split())
