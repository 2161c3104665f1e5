"""The gate looks at weights: a model that denies is found under any name, and the message says how."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.loading import load_adapter
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.cli.trace_fingerprint import learn_fingerprint
from lorakit.errors import Refused
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.gate import export_checkpoint, judge_stack
from lorakit.licenses.policy import Verdict
from lorakit.licenses.terms import ShareMerges
from lorakit.sketches.fingerprint import Fingerprint, StatedTerms, to_bytes
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.stack import Stack, resolve_stack
from tests.gate.conftest import register
from tests.models import lora_file, random_lora, tiny_base, usual_names

Tensors = dict[str, torch.Tensor]
FREE = {"modelspec.license": "CC0-1.0"}
RULE = "Sharing merges using this model is not allowed"


def changed(tensors: Tensors, seed: int, size: float = 0.03, kept: tuple[str, ...] = ()) -> Tensors:
    """A fine-tune: every matrix moved by `size` of its own norm, but for those that hold `kept`."""
    generator = torch.Generator().manual_seed(seed)

    def moved(weight: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(weight.shape, generator=generator)
        return torch.add(weight, noise * (size * weight.norm() / noise.norm()))

    return {
        name: weight if any(part in name for part in kept) else moved(weight)
        for name, weight in tensors.items()
    }


def mixed(first: Tensors, second: Tensors, share: float) -> Tensors:
    return {name: torch.lerp(first[name], second[name], share) for name in first}


ANIMA = tiny_base(prefix="")
# Its author says that the first blocks and the modulation are left as they were.
RDBT = changed(ANIMA, 1, kept=("blocks.0.", "adaln", "embedder"))


class World:
    """A person's files and catalog: Anima, RDBT that was made from it, and a free style."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder, self.catalog = folder, catalog

    def file(self, name: str, tensors: Tensors, prefix: str = "") -> Path:
        path = self.folder / f"{name}.safetensors"
        save_file({prefix + key: value.contiguous() for key, value in tensors.items()}, path)
        return path

    def base(self, name: str, tensors: Tensors, model: str = "anima", prefix: str = "") -> Path:
        path = self.file(name, tensors, prefix)
        register(self.catalog, path, name, model)
        return path

    def verdict(self, name: str, stack: str = "free") -> Verdict:
        entries = resolve_stack(Stack.parse(stack), self.catalog)
        return judge_stack(self.catalog, choose_base(self.catalog, name), entries)


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog) -> World:
    folder = tmp_path / "models"
    folder.mkdir()
    modules = random_lora(usual_names(3), 3, seed=2)
    catalog.add([lora_file(folder / "free.safetensors", modules, metadata=FREE)])
    return World(folder, catalog)


DISGUISES = {
    "in brain floats": ({k: v.bfloat16() for k, v in RDBT.items()}, "model.diffusion_model."),
    "in half precision": ({k: v.half() for k, v in RDBT.items()}, "net."),
    "merged half and half": (mixed(ANIMA, RDBT, 0.5), ""),
    "merged with a stranger": (mixed(changed(ANIMA, 8), RDBT, 0.4), ""),
    "tuned further": (changed(RDBT, 9), ""),
}
INNOCENTS = {
    "the ancestor": ANIMA,
    "another fine-tune": changed(ANIMA, 8),
    "a merge of others": mixed(changed(ANIMA, 8), changed(ANIMA, 9), 0.5),
    "a stranger": tiny_base(prefix="", seed=5),
}


@pytest.mark.parametrize(("tensors", "prefix"), DISGUISES.values(), ids=list(DISGUISES))
def test_a_model_that_denies_is_found_in_a_base_that_claims_to_be_another(
    world: World, tensors: Tensors, prefix: str, out: Path
) -> None:
    world.base("anima", ANIMA)
    world.base("rdbt", RDBT, "rdbt")
    world.base("innocent", tensors, "anima", prefix)
    with pytest.raises(Refused) as caught:
        export_checkpoint(world.catalog, "innocent", Stack.parse("free"), out / "m.safetensors")
    said = caught.value.message
    assert RULE in said
    assert "rdbt (RDBT [Anima]), recognised by its weights (" in said
    assert list(out.iterdir()) == []
    (decision,) = world.catalog.decisions()
    relations = [part["relation"] for part in decision.subject["ingredients"][0]["ancestors"]]
    assert any("recognised by its weights" in relation for relation in relations)


@pytest.mark.parametrize("tensors", INNOCENTS.values(), ids=list(INNOCENTS))
def test_a_base_without_it_is_left_alone(world: World, tensors: Tensors) -> None:
    world.base("anima", ANIMA)
    world.base("rdbt", RDBT, "rdbt")
    world.base("innocent", tensors)
    verdict = world.verdict("innocent")
    assert verdict.allowed, verdict.reasons


def test_without_the_ancestor_it_cannot_be_told_so_it_is_denied_until_that_is_registered(
    world: World,
) -> None:
    world.base("rdbt", RDBT, "rdbt")
    world.base("sibling", changed(ANIMA, 8))
    verdict = world.verdict("sibling")
    assert verdict.share_merges is ShareMerges.UNKNOWN
    (reason,) = verdict.reasons
    assert "may be or contain rdbt" in reason
    assert "lorakit base add" in reason
    assert "anima" in reason
    world.base("anima", ANIMA)
    assert world.verdict("sibling").allowed


def test_a_fingerprint_takes_the_place_of_the_weights(world: World) -> None:
    world.base("anima", ANIMA)
    path = world.file("published", RDBT)
    content = hash_file(path, read_header(path).data_offset).tensor_sha256
    mark = Fingerprint("base", "rdbt", content, sketch_checkpoint(path), "rdbt")
    path.unlink()
    world.base("innocent", mixed(ANIMA, RDBT, 0.5))
    assert world.verdict("innocent").allowed
    world.catalog.keep_sketch(
        content, "fingerprint", name="rdbt", model="rdbt", parent=None, data=to_bytes(mark)
    )
    verdict = world.verdict("innocent")
    assert verdict.share_merges is ShareMerges.DENY
    assert RULE in verdict.reasons[0]


def test_an_author_may_state_terms_of_a_model_that_is_in_no_table(
    world: World, tmp_path: Path
) -> None:
    anima = world.base("anima", ANIMA)
    parent = hash_file(anima, read_header(anima).data_offset).tensor_sha256
    stated = StatedTerms("deny", "No merges, please.", "the author's page")
    sketch = sketch_checkpoint(world.file("published", RDBT))
    mark = Fingerprint("base", "theirs", "e" * 64, sketch, parent=parent, terms=stated)
    (tmp_path / "theirs.fingerprint").write_bytes(to_bytes(mark))
    learn_fingerprint(world.catalog, str(tmp_path / "theirs.fingerprint"), None, None)
    world.base("innocent", mixed(ANIMA, RDBT, 0.5))
    verdict = world.verdict("innocent")
    assert verdict.share_merges is ShareMerges.DENY
    assert "No merges, please. [the author's page]" in verdict.reasons[0]


def test_an_adapter_that_denies_is_found_in_other_adapters_and_in_bases(world: World) -> None:
    denied = random_lora(usual_names(3), 3, rank=4, seed=31)
    closed = lora_file(
        world.folder / "closed.safetensors",
        denied,
        metadata={"modelspec.license": "CC-BY-ND-4.0"},
    )
    world.catalog.add([closed])
    world.base("anima", ANIMA)
    load_adapter(closed).save(world.folder / "again.safetensors", layout="diffusers")
    tensors = {k: v.clone() for k, v in load_raw(world.folder / "again.safetensors").items()}
    save_file(tensors, world.folder / "again.safetensors", FREE)
    verdict = world.verdict("anima", str(world.folder / "again.safetensors"))
    assert verdict.share_merges is ShareMerges.DENY
    assert "again (adapter) contains closed" in " ".join(verdict.reasons)
    world.base("merged", dict(lorakit.fuse(ANIMA, [(closed, 0.8)])))
    verdict = world.verdict("merged")
    assert verdict.share_merges is ShareMerges.DENY
    assert "merged (base) contains closed" in " ".join(verdict.reasons)


def test_a_base_that_nobody_has_named_brings_no_terms_to_its_copies(world: World) -> None:
    world.base("anima", ANIMA)
    world.base("copy", {k: v.half() for k, v in ANIMA.items()}, "other")
    assert world.verdict("anima").allowed


def test_weights_are_not_looked_at_where_words_forbid_it_already(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("weights were looked at")

    world.base("rdbt", RDBT, "rdbt")
    monkeypatch.setattr("lorakit.gate.recognised.suspicions", never)
    assert world.verdict("rdbt").share_merges is ShareMerges.DENY


def test_the_sketch_of_an_adapter_is_taken_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.base("anima", ANIMA)
    world.base("rdbt", RDBT, "rdbt")
    world.verdict("anima")
    assert [record.name for record in world.catalog.sketches("adapter")] == ["free"]

    def never(*arguments: object) -> None:
        raise AssertionError("taken again")

    monkeypatch.setattr("lorakit.sketches.adapters.sketch_adapter", never)
    assert world.verdict("anima").allowed


def load_raw(path: Path) -> Tensors:
    from safetensors.torch import load_file

    return load_file(path)
