"""Bases that are shards or folders: one content under every name, and every file known by itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.formats import anima
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from tests.cli.conftest import Cli
from tests.models import tiny_base

Tensors = Mapping[str, torch.Tensor]


def in_shards(folder: Path, tensors: Tensors, count: int = 3) -> Path:
    """`tensors` as transformers saves a large model: numbered files and their index."""
    folder.mkdir(parents=True)
    names = list(tensors)
    where: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        chunk = names[number::count]
        save_file({name: tensors[name].clone() for name in chunk}, folder / file)
        where |= dict.fromkeys(chunk, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def in_diffusers_words(folder: Path, tensors: Tensors) -> Path:
    """`tensors`, which have no prefix, as diffusers saves a pipeline: transformer and text adapter apart."""
    inner = "llm_adapter."
    parts = {
        "transformer": {
            anima.diffusers_tensor_name(name): tensor.clone()
            for name, tensor in tensors.items()
            if not name.startswith(inner)
        },
        "text_conditioner": {
            name.removeprefix(inner): tensor.clone()
            for name, tensor in tensors.items()
            if name.startswith(inner)
        },
    }
    for name, part in parts.items():
        (folder / name).mkdir(parents=True)
        save_file(part, folder / name / "diffusion_pytorch_model.safetensors")
    return folder


def eight_bit(tensors: Tensors) -> dict[str, torch.Tensor]:
    """`tensors` with the matrices of blocks as 8-bit floats and a scale beside each, as ComfyUI has them."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and name.startswith("blocks."):
            scale = tensor.abs().max() / 448
            found[name] = (tensor / scale).to(torch.float8_e4m3fn)
            found[f"{name.removesuffix('weight')}scale_weight"] = scale.float()
        else:
            found[name] = tensor.clone()
    return found


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return tiny_base(3, prefix="")


def test_shards_are_one_base_under_every_name(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    folder = in_shards(tmp_path / "big", weights)
    ran = cli("base", "add", folder, "--as", "anima")
    assert "3 files" in ran.out
    (added,) = cli("base", "ls", "--json").document["bases"]
    assert (added["name"], added["blocks"], added["missing"]) == ("big", 3, False)
    assert added["file_size"] == sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    # What `sha256sum *.safetensors | cut -c-64 | sort | sha256sum` gives.
    hashes = sorted(
        hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.glob("*.safetensors")
    )
    whole = hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()
    assert added["file_sha256"] == whole
    with Catalog.open() as catalog:
        index, shard = folder / "model.safetensors.index.json", next(folder.glob("*-00002-*"))
        for name in ("big", str(folder), str(index), str(shard)):
            assert choose_base(catalog, name).sha256 == whole, name
    # Neither a move nor other names make another model of it.
    moved = folder.rename(tmp_path / "elsewhere")
    for file in moved.glob("model*"):
        file.rename(file.with_name(file.name.replace("model", "anima")))
    text = (moved / "anima.safetensors.index.json").read_text().replace("model-", "anima-")
    (moved / "anima.safetensors.index.json").write_text(text)
    again = cli("base", "add", moved / "anima.safetensors.index.json", "--name", "big", "--json")
    assert again.document["base"]["file_sha256"] == whole
    assert again.document["base"]["model"] == "anima"


def test_a_base_of_one_file_is_that_file_however_it_is_named(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    folder = in_shards(tmp_path / "one", weights, count=1)
    (file,) = folder.glob("*.safetensors")
    cli("base", "add", file, "--name", "file", "--as", "anima")
    cli("base", "add", folder, "--name", "folder", "--as", "anima")
    one, other = cli("base", "ls", "--json").document["bases"]
    for hashed in ("file_sha256", "tensor_sha256"):
        assert one[hashed] == other[hashed]
    assert one["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_fusing_into_a_folder_gives_what_fusing_into_the_file_gives(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    weights = {k.removeprefix("net."): t for k, t in load_file(models / "base.safetensors").items()}
    folders = [
        in_shards(tmp_path / "shards", weights),
        in_diffusers_words(tmp_path / "pipe", weights),
    ]
    save_file({k: t.clone() for k, t in weights.items()}, tmp_path / "bare.safetensors")
    wanted = lorakit.fuse(tmp_path / "bare.safetensors", [(models / "ink.safetensors", 0.7)])
    for folder in folders:
        found = lorakit.fuse(folder, [(models / "ink.safetensors", 0.7)])
        assert set(found) == set(wanted)
        for key, tensor in wanted.items():
            assert torch.equal(found[key], tensor), key
        stocked("base", "add", folder, "--as", "anima")
        told = stocked("stack", "ink:0.7", "--base", folder.name)
        assert told.code == 0, told.err
        out = tmp_path / f"{folder.name}.safetensors"
        done = stocked("export", "ink:0.7", "--base", folder.name, "-o", out)
        assert done.code == 0, done.err
        # Both are written in the original's names, which every program reads.
        written = load_file(out)
        assert set(written) == set(wanted)
        assert all(torch.equal(written[key], tensor) for key, tensor in wanted.items())
        assert stocked("verify", out, "--base", folder.name).code == 0
        inside = next(folder.rglob("*.safetensors")).with_name("merged.safetensors")
        ran = stocked("export", "ink:0.7", "--base", folder.name, "-o", inside)
        ran.failed_with(2, "among the files of the base")


@pytest.mark.parametrize("gone", ["model-00002-of-00003.safetensors", "a folder"])
def test_what_is_missing_is_named(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor], gone: str
) -> None:
    folder = in_shards(tmp_path / "big", weights)
    assert cli("base", "add", folder).code == 0
    if gone == "a folder":
        folder.rename(tmp_path / "away")
        gone = str(folder)
    else:
        (folder / gone).unlink()
        cli("base", "add", folder, "--name", "again").failed_with(4, gone, "cannot be found")
    assert cli("base", "ls", "--json").document["bases"][0]["missing"] is True
    assert gone in "".join(cli("base", "ls").out.split())
    with Catalog.open() as catalog, pytest.raises(lorakit.errors.NotFound, match="missing"):
        choose_base(catalog, "big")
    found = [one for one in cli("doctor", "--json").document["findings"] if one["kind"] == "base"]
    assert len(found) == 1
    assert gone in found[0]["text"]


def test_a_shard_that_was_replaced_is_noticed(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    folder = in_shards(tmp_path / "big", weights)
    cli("base", "add", folder)
    shard = folder / "model-00002-of-00003.safetensors"
    other = {key: tensor * 2 for key, tensor in load_file(shard).items()}
    save_file(other, shard)
    (record,) = cli("base", "ls", "--json").document["bases"]
    assert (record["missing"], record["changed"]) == (False, True)
    assert "changed" in cli("base", "ls").out
    cli("base", "add", folder, "--name", "other")
    both = cli("base", "ls", "--json").document["bases"]
    assert both[0]["file_sha256"] != both[1]["file_sha256"]


def test_a_whole_pipeline_brings_its_own_components(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    pipe = in_diffusers_words(tmp_path / "pipe", weights)
    assert cli("base", "add", pipe, "--json").document["base"]["components"] is None
    for part in ("text_encoder", "vae"):
        (pipe / part).mkdir()
    assert cli("base", "add", pipe, "--json").document["base"]["components"] == str(pipe)
    said = cli("base", "add", pipe, "--components", "circlestone-labs/Anima", "--json").document
    assert said["base"]["components"] == "circlestone-labs/Anima"


def test_a_folder_is_a_name_only_where_no_base_is_called_so(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = in_shards(tmp_path / "one", weights), in_shards(tmp_path / "other", tiny_base(2))
    cli("base", "add", one, "--name", "other")
    monkeypatch.chdir(tmp_path)
    with Catalog.open() as catalog:
        assert choose_base(catalog, "other").path == one
        assert choose_base(catalog, "./other").path.resolve() == other
        assert choose_base(catalog, "one").name == "other"


def test_bytes_that_were_changed_in_secret_are_not_written(
    stocked: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    """Size and time of the file are as on record, so that only its hash tells."""
    folder = in_shards(tmp_path / "big", weights)
    assert stocked("base", "add", folder, "--as", "anima").code == 0
    shard = folder / "model-00002-of-00003.safetensors"
    data, stat = bytearray(shard.read_bytes()), shard.stat()
    data[-1] ^= 1
    shard.write_bytes(data)
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    out = tmp_path / "merged.safetensors"
    ran = stocked("export", "ink:0.5", "--base", "big", "-o", out)
    ran.failed_with(4, "not the one that was registered")
    assert not out.exists()


def test_a_denied_file_inside_a_folder_is_recognised(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    """The file is RDBT's by its registration; beside it lies another part, so the whole has another hash."""
    weights = {k.removeprefix("net."): t for k, t in tiny_base(3, seed=5).items()}
    pipe = in_diffusers_words(tmp_path / "pipe", weights)
    part = pipe / "transformer" / "diffusion_pytorch_model.safetensors"
    lone = shutil.copyfile(part, tmp_path / "lone.safetensors")
    assert stocked("base", "add", pipe, "--as", "anima").code == 0
    assert stocked("license", "show", "pipe", "--json").document["share_merges"] != "deny"
    # Whichever of the two comes first.
    assert stocked("base", "add", lone, "--as", "rdbt").code == 0
    shown = " ".join(stocked("license", "show", "pipe").out.split())
    assert "holds the file transformer/diffusion_pytorch_model.safetensors" in shown
    out = tmp_path / "merged.safetensors"
    stocked("export", "ink:0.5", "--base", "pipe", "-o", out).failed_with(3, "refused")
    assert not out.exists()
    stocked("base", "add", pipe, "--name", "again", "--as", "anima").failed_with(3, "RDBT")


@pytest.mark.parametrize("first", ["big", "mixed"])
def test_a_shard_of_a_denied_base_is_recognised_among_others(
    stocked: Cli, tmp_path: Path, weights: dict[str, torch.Tensor], first: str
) -> None:
    """By its bytes: so many weights in common would else speak for an ancestor."""
    denied = in_shards(tmp_path / "big", weights, 2)
    other = {name: tensor * 1.3 for name, tensor in weights.items()}
    mixed = in_shards(tmp_path / "mixed", other, 2)
    shard = "model-00002-of-00002.safetensors"
    shutil.copyfile(denied / shard, mixed / shard)
    registered = {"big": (denied, "rdbt"), "mixed": (mixed, "anima")}
    for name in (first, *(registered.keys() - {first})):
        path, model = registered[name]
        assert stocked("base", "add", path, "--name", name, "--as", model).code == 0
    out = tmp_path / "merged.safetensors"
    ran = stocked("export", "ink:0.5", "--base", "mixed", "-o", out)
    ran.failed_with(3, f"mixed (base) holds the file {shard}")
    assert not out.exists()
    assert "holds the file" not in stocked("license", "show", "big").out


def test_the_text_adapter_of_a_denied_pipeline_may_be_its_ancestors(
    stocked: Cli, tmp_path: Path
) -> None:
    weights = {k.removeprefix("net."): t for k, t in tiny_base(3, seed=5).items()}
    inner = "llm_adapter."
    other = {k: t if k.startswith(inner) else t * 1.3 for k, t in weights.items()}
    for name, tensors, model in (("rdbt", weights, "rdbt"), ("anima", other, "anima")):
        pipe = in_diffusers_words(tmp_path / name, tensors)
        assert stocked("base", "add", pipe, "--as", model).code == 0
    assert stocked("license", "show", "anima", "--json").document["share_merges"] != "deny"


def test_what_is_said_of_one_file_holds_for_the_folder(stocked: Cli, tmp_path: Path) -> None:
    """Of a part that no sketch looks at, so that its hash alone tells what it is."""
    weights = {k.removeprefix("net."): t for k, t in tiny_base(3, seed=5).items()}
    pipe = in_diffusers_words(tmp_path / "pipe", weights)
    part = pipe / "text_conditioner" / "diffusion_pytorch_model.safetensors"
    assert stocked("base", "add", pipe, "--as", "anima").code == 0
    content = hash_file(part, read_header(part).data_offset).tensor_sha256
    words = ("--share-merges", "deny", "--source", "its author, by mail")
    assert stocked("license", "set", f"sha256:{content}", *words).code == 0
    out = tmp_path / "merged.safetensors"
    stocked("export", "ink:0.5", "--base", "pipe", "-o", out).failed_with(3, "by mail")
    assert stocked("license", "withdraw", f"sha256:{content}").code == 0
    assert stocked("export", "ink:0.5", "--base", "pipe", "-o", out).code == 0


def test_the_card_of_a_folder_is_read_once_however_the_base_is_named(
    cli: Cli, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    folder = in_shards(tmp_path / "big", weights)
    card = "---\nlicense: cc-by-nc-nd-4.0\n---\n"
    (folder / "README.md").write_text(card)
    for path in (folder, folder / "model.safetensors.index.json"):
        cli("base", "add", path, "--name", "big", "--as", "anima")
        document = cli("license", "show", "big", "--json").document
        assert document["share_merges"] == "deny" or document["verdict"] == "deny"
        assert [one["origin"] for one in document["claims"]].count("card") == 1


def test_extract_takes_every_form_against_every_other(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    base = {k.removeprefix("net."): t for k, t in load_file(models / "base.safetensors").items()}
    fused = lorakit.fuse(models / "base.safetensors", [(models / "ink.safetensors", 1.0)])
    tuned = {key.removeprefix("net."): tensor for key, tensor in fused.items()}
    comfy = {f"model.diffusion_model.{key}": tensor.clone() for key, tensor in tuned.items()}
    save_file(comfy, tmp_path / "comfy.safetensors")
    save_file(eight_bit(base), tmp_path / "small.safetensors")
    in_shards(tmp_path / "shards", base)
    in_diffusers_words(tmp_path / "pipe", tuned)
    for path in ("comfy.safetensors", "small.safetensors", "shards", "pipe"):
        assert stocked("base", "add", tmp_path / path, "--as", "anima").code == 0
    pairs = {("comfy", "shards"): 1e-5, ("pipe", "shards"): 1e-5, ("pipe", "small"): 0.5}
    for (one, other), most in pairs.items():
        out = tmp_path / f"{one}-{other}.safetensors"
        ran = stocked("extract", one, "--base", other, "--rank", "8", "--dtype", "fp32", "-o", out)
        assert ran.code == 0, ran.err
        found = lorakit.fuse(tmp_path / "shards", [(out, 1.0)])
        error = sum(float((found[k] - t).square().sum()) for k, t in tuned.items())
        change = sum(float((base[k] - t).square().sum()) for k, t in tuned.items())
        assert error / change < most**2, (one, other)


def test_what_nobody_registered_is_told_to_be_registered(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    folder = in_shards(tmp_path / "big", tiny_base(3, prefix="", seed=9))
    out = tmp_path / "x.safetensors"
    ran = stocked("extract", folder, "--base", "own", "-o", out)
    ran.failed_with(3, "big is not registered", f"lorakit base add {folder} --as MODEL")
    stocked("extract", "nobody", "--base", "own", "-o", out).failed_with(1, "lorakit base add")
