"""`lorakit resize` as it is used: one file, a folder, a query."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lorakit
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, usual_names


def test_one_file_lands_beside_its_source(stocked: Cli, models: Path) -> None:
    ran = stocked("resize", "ink", "--rank", "2")
    assert ran.code == 0, ran.err
    assert lorakit.inspect(models / "ink-rank-2.safetensors").ranks == {2: 30}
    assert max(map(len, ran.lines)) <= 80
    stocked("resize", "ink", "--rank", "2").failed_with(2, "exists already")


def test_a_folder_and_a_query_go_into_a_folder(stocked: Cli, models: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    closed = {"modelspec.license": "CC-BY-ND-4.0"}
    names = usual_names(3)
    lora_file(
        tmp_path / "more" / "closed.safetensors", random_lora(names, 3, seed=9), metadata=closed
    )
    lora_file(tmp_path / "more" / "open.safetensors", random_lora(names, 3, seed=8))
    words = ("resize", tmp_path / "more", "ink", "--energy", "0.9", "--into", tmp_path / "small")
    ran = stocked(*words, "--json")
    assert ran.code == 3
    assert [Path(one["path"]).name for one in ran.document["resized"]] == [
        "open.safetensors",
        "ink.safetensors",
    ]
    (failed,) = ran.document["failed"]
    assert "closed" in failed["path"]
    for one in ran.document["resized"]:
        assert one["report"]["total"]["retained_energy"] >= 0.9
    ran = stocked("resize", "rank:8..", "--rank", "3", "--into", tmp_path / "small", "-q")
    assert ran.lines == [str(tmp_path / "small" / "wash.safetensors")]


def test_a_folder_gives_the_bytes_that_each_file_gives_alone(
    stocked: Cli, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As large files: by two processes.
    monkeypatch.setattr("lorakit.merging.many_files._WORTH_BYTES", 1)
    for number in range(5):
        modules = random_lora(usual_names(3), 3, rank=8, seed=number)
        path = models / f"more-{number}.safetensors"
        lora_file(path, modules, metadata={"modelspec.license": "CC0-1.0"})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ran = stocked("resize", models, "--energy", "0.8", "--into", tmp_path / "all", "-q")
        assert ran.code == 0, ran.err
        assert torch.get_num_threads() == 2
        for path in map(Path, ran.lines):
            alone = tmp_path / path.name
            assert stocked("resize", models / path.name, "--energy", "0.8", "-o", alone).code == 0
            one, other = (lorakit.inspect(file).hashes for file in (path, alone))
            assert one is not None
            assert other is not None
            assert one.tensor_sha256 == other.tensor_sha256
    finally:
        torch.set_num_threads(before)
    names = [path.name for path in sorted((tmp_path / "all").glob("*.safetensors"))]
    assert names == [
        "ink.safetensors",
        *(f"more-{n}.safetensors" for n in range(5)),
        "wash.safetensors",
    ]
    # Processes that write to the catalog at the same time leave its chain of decisions whole.
    assert stocked("license", "audit", "--verify").code == 0


def test_a_damaged_file_in_a_folder_is_named_and_the_others_are_written(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    (models / "broken.safetensors").write_bytes(b"broken")
    ran = stocked("resize", models, "--rank", "2", "--into", small, "--dry-run", "--json")
    assert (ran.code, len(ran.document["plans"])) == (4, 2)
    assert not small.exists()
    ran = stocked("resize", models, "--rank", "2", "--into", small)
    assert ran.code == 4
    assert "broken.safetensors" in ran.out
    written = sorted(path.name for path in small.glob("*.safetensors"))
    assert written == ["ink.safetensors", "wash.safetensors"]
    ran = stocked("resize", models, "--rank", "2", "--into", small)
    assert ran.code == 4
    assert "exists already" in ran.out
    assert "written" not in ran.out
    stocked("resize", models / "broken.safetensors", "--rank", "2").failed_with(4, "too short")


def test_a_dry_run_writes_nothing(stocked: Cli, models: Path) -> None:
    before = sorted(models.iterdir())
    ran = stocked("resize", "ink", "wash", "--energy", "0.9", "--dry-run", "--json")
    assert [plan["verdict"]["allowed"] for plan in ran.document["plans"]] == [True, True]
    assert sorted(models.iterdir()) == before


def test_bad_input_is_a_sentence(stocked: Cli, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    (tmp_path / "empty").mkdir()
    cases: list[tuple[int, tuple[object, ...], str]] = [
        (2, ("ink",), "Nothing says which rank"),
        (2, ("ink", "--rank", "2", "--energy", "0.5"), "One rule"),
        (2, ("ink", "--frobenius", "0"), "Frobenius"),
        (2, ("ink", "--sv-ratio", "0.5"), "ratio"),
        (2, ("ink", "wash", "--rank", "2", "-o", out), "-o names one file"),
        (2, ("ink", "--rank", "2", "-o", out, "--into", tmp_path), "not both"),
        (2, ("ink", "--rank", "2", "--into", tmp_path / "a" / "b"), "no folder"),
        (1, (tmp_path / "empty", "--rank", "2"), "no adapter in"),
        (1, ("nix", "--rank", "2"), "nix"),
    ]
    for code, words, said in cases:
        stocked("resize", *map(str, words)).failed_with(code, said)
    assert not out.exists()
