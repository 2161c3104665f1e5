"""`lorakit convert` and `lorakit prune` as they are used."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.formats.header import read_header
from tests.cli.conftest import Cli


def test_there_and_back_is_the_same_content(stocked: Cli, models: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    ran = stocked("convert", "ink", "--layout", "diffusers", "-o", there, "--json")
    assert ran.code == 0, ran.err
    assert ran.document["schema"] == "lorakit/convert/1"
    assert lorakit.inspect(there).layouts == ("diffusers",)
    assert stocked("convert", there, "--layout", "kohya", "-o", back, "-q").lines == [str(back)]
    source = lorakit.inspect(models / "ink.safetensors")
    assert source.hashes is not None
    hashes = lorakit.inspect(back).hashes
    assert hashes is not None
    assert hashes.tensor_sha256 == source.hashes.tensor_sha256
    shown = stocked("convert", "ink", "--dtype", "bf16")
    assert shown.code == 0, shown.err
    assert (models / "ink-bf16.safetensors").is_file()
    assert any(line.startswith("rounding") for line in shown.lines)


def test_peft_gets_a_folder(stocked: Cli, tmp_path: Path) -> None:
    assert stocked("convert", "ink", "--layout", "peft", "-o", tmp_path / "folder").code == 0
    names = {path.name for path in (tmp_path / "folder").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names


def test_a_dora_becomes_a_lora_of_the_base(stocked: Cli, models: Path, tmp_path: Path) -> None:
    tensors = load_file(models / "ink.safetensors")
    base = load_file(models / "base.safetensors")
    for key in [key for key in tensors if key.endswith(".alpha")]:
        module = lorakit.inspect(models / "ink.safetensors", hashes=False).modules
        name = next(m.name for m in module if m.name.replace(".", "_") in key)
        weight = base[f"net.{name}.weight"]
        stem = key.removesuffix(".alpha")
        tensors[f"{stem}.dora_scale"] = weight.norm(dim=1, keepdim=True) * 1.1
    source = tmp_path / "dora.safetensors"
    save_file(tensors, source, {"modelspec.license": "CC0-1.0"})
    words = ("convert", source, "--dora-to-lora", "16", "--dtype", "fp32")
    ran = stocked(*words, "--base", "own", "-o", tmp_path / "lora.safetensors", "--json")
    assert ran.code == 0, ran.err
    kept = ran.document["report"]["total"]["retained_energy"]
    assert 0.5 < kept < 1
    assert lorakit.inspect(tmp_path / "lora.safetensors").algos == ("lora",)
    wanted = lorakit.fuse(base, [(source, 1.0)])
    found = lorakit.fuse(base, [(tmp_path / "lora.safetensors", 1.0)])
    gap = sum(float((found[k] - wanted[k]).square().sum()) for k in wanted.touched)
    whole = sum(float((wanted[k] - base[k]).square().sum()) for k in wanted.touched)
    assert 1 - gap / whole == pytest.approx(kept, abs=1e-4)
    stocked("convert", "ink", "--dora-to-lora", "4").failed_with(1, "nothing to convert")


def test_pruning_says_what_it_drops(stocked: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    ran = stocked("prune", "ink", "--kinds", "mlp", "-o", out)
    assert ran.code == 0, ran.err
    assert any(line.split()[:3] == ["mlp", "0", "6"] for line in ran.lines)
    assert max(map(len, ran.lines)) <= 80
    document = stocked("prune", "ink", "--blocks", "0", "--keep", "--dry-run", "--json").document
    assert (document["dropped"], document["kept"]) == (20, 10)
    assert 0 < document["dropped_energy"] < 1
    assert "mlp" not in " ".join(m.name for m in lorakit.inspect(out).modules)
    assert read_header(out).metadata["modelspec.license"]


def test_bad_input_is_a_sentence(stocked: Cli, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    closed = tmp_path / "closed.safetensors"
    tensors = {key: tensor + 1 for key, tensor in load_file(models / "ink.safetensors").items()}
    save_file(tensors, closed, {"modelspec.license": "CC-BY-ND-4.0"})
    cases: list[tuple[int, tuple[object, ...], str]] = [
        (2, ("convert", "ink"), "Nothing to convert"),
        (2, ("convert", "ink", "--layout", "a1111", "-o", out), "no layout"),
        (2, ("convert", "ink", "--blocks", "30", "-o", out), "No published Anima"),
        (1, ("convert", "nix", "--layout", "comfy", "-o", out), "nix"),
        (4, ("convert", models / "base.safetensors", "--layout", "comfy", "-o", out), "adapter"),
        (2, ("convert", "ink", "--layout", "comfy", "--base", "own", "-o", out), "--dora-to-lora"),
        (2, ("convert", "ink", "--layout", "peft", "-o", out), "another name"),
        (2, ("convert", "ink", "--layout", "comfy", "-o", tmp_path / "x" / "y.safetensors"), "x"),
        (3, ("convert", closed, "--layout", "comfy", "-o", out), "closed"),
        (3, ("prune", closed, "--kinds", "mlp", "-o", out), "closed"),
        (2, ("prune", "ink", "-o", out), "Nothing to prune"),
        (2, ("prune", "ink", "--blocks", "9-0", "-o", out), "ends before"),
        (1, ("prune", "ink", "--component", "text_encoder", "-o", out), "nothing in it"),
        (2, ("prune", "ink", "--component", "vae", "-o", out), "no component 'vae'"),
    ]
    for code, words, said in cases:
        stocked(*map(str, words)).failed_with(code, said)
    assert not out.exists()
