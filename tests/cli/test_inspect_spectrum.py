from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, usual_names


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    return lora_file(tmp_path / "ink.safetensors", random_lora(usual_names(3), 3, rank=6))


def test_the_spectrum_stands_below_the_report(cli: Cli, ink: Path) -> None:
    plain, ran = cli("inspect", ink), cli("inspect", ink, "--spectrum")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(plain.out.rstrip("\n"))
    assert max(map(len, ran.lines)) <= 80
    below = ran.out.removeprefix(plain.out.rstrip("\n"))
    assert "rank 6, effective " in below
    kinds = [
        line.split()[0] for line in below.splitlines() if line.startswith(("self", "cross", "mlp"))
    ]
    assert kinds == ["self_attn", "cross_attn", "mlp"]
    assert "100.0 %" in below


def test_the_document_has_the_values_of_every_module(cli: Cli, ink: Path) -> None:
    (report,) = cli("inspect", ink, "--spectrum", "--json").document["adapters"]
    spectrum = report["spectrum"]
    assert spectrum["rank"] == 6
    assert len(spectrum["modules"]) == len(report["modules"]) == 30
    for module in spectrum["modules"].values():
        assert len(module["values"]) == 6
        assert module["values"] == sorted(module["values"], reverse=True)
        assert 1 <= module["stable_rank"] <= module["effective_rank"] <= 6
    assert spectrum["kept"]["4"] < 1
    assert "spectrum" not in cli("inspect", ink, "--json").document["adapters"][0]


def test_damage_is_told_in_a_sentence(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\0" * 30)
    cli("inspect", bad, "--spectrum").failed_with(4, "bad.safetensors")
