"""What has no verb of its own yet goes through the same function: merged, extracted and converted adapters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from lorakit.adapters.loading import load_adapter
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.errors import BadUsage, LorakitError, Refused
from lorakit.formats.ancestry import read_ancestry
from lorakit.formats.header import read_header
from lorakit.gate import Derived, LazyTensor, write_derived
from lorakit.gate.derived import Kind
from lorakit.gate.subjects import Subject
from lorakit.stack import Stack, resolve_stack
from tests.gate.conftest import register
from tests.models import tiny_base_file

NAME = "diffusion_model.blocks.0.self_attn.q_proj"
DOWN = torch.arange(64, dtype=torch.float32).reshape(2, 32)
UP = torch.ones(32, 2, dtype=torch.bfloat16)


def lazily(tensors: Mapping[str, torch.Tensor]) -> dict[str, LazyTensor]:
    codes = {torch.float32: "F32", torch.bfloat16: "BF16"}
    return {
        name: LazyTensor(codes[tensor.dtype], tuple(tensor.shape), lambda found=tensor: found)  # type: ignore[misc]
        for name, tensor in tensors.items()
    }


def derived(kind: Kind) -> Derived:
    """A small adapter, as a verb would describe it."""
    tensors = {f"{NAME}.lora_A.weight": DOWN, f"{NAME}.lora_B.weight": UP}
    return Derived(kind, "a test", lambda: lazily(tensors), {"ss_network_dim": "2"})


def subjects(catalog: Catalog, bases: str, stack: str) -> list[Subject]:
    chosen = [choose_base(catalog, name) for name in bases.split()]
    return [*chosen, *resolve_stack(Stack.parse(stack), catalog)]


@pytest.fixture
def tuned(catalog: Catalog, files: Path) -> None:
    """A second model of Anima's own, to be compared with the first."""
    register(catalog, tiny_base_file(files.parent / "tuned.safetensors", seed=7), "tuned", "anima")


ALLOWED: list[tuple[Kind, str, str]] = [
    ("merged adapter", "", "free:0.8 named:-0.5"),
    ("extracted adapter", "tuned own", ""),
    ("dora conversion", "own", "free"),
]
DENIED: list[tuple[Kind, str, str, str]] = [
    ("merged adapter", "", "free closed", "closed (adapter, CC BY-ND"),
    ("merged adapter", "", "free silent", "unknown denies"),
    ("extracted adapter", "tuned rdbt", "", "rdbt (base, RDBT [Anima])"),
    ("extracted adapter", "rdbt own", "", "rdbt (base, RDBT [Anima])"),
    ("dora conversion", "rdbt", "free", "rdbt (base, RDBT [Anima])"),
    ("dora conversion", "own", "closed", "closed (adapter, CC BY-ND"),
]


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize(("kind", "bases", "stack"), ALLOWED)
def test_what_every_licence_allows_is_written_with_its_ancestry(
    catalog: Catalog, out: Path, kind: Kind, bases: str, stack: str
) -> None:
    made_from = subjects(catalog, bases, stack)
    done = write_derived(catalog, derived(kind), made_from, out / "new.safetensors")
    adapter = load_adapter(done.path)
    (module,) = adapter.modules.values()
    thin = module.low_rank()
    assert thin is not None
    assert torch.equal(thin.down, DOWN)
    assert torch.equal(thin.up, UP)
    metadata = read_header(done.path).metadata
    assert metadata["ss_network_dim"] == "2"
    assert metadata["modelspec.architecture"] == "anima/lora"
    assert [a.name for a in read_ancestry(metadata)] == [subject.name for subject in made_from]
    assert done.notice.is_file()
    (decision,) = catalog.decisions()
    assert (decision.verdict, decision.subject["kind"]) == ("allowed", kind)


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize(("kind", "bases", "stack", "named"), DENIED)
def test_what_one_licence_denies_is_not_even_opened(
    catalog: Catalog, out: Path, kind: Kind, bases: str, stack: str, named: str
) -> None:
    def never() -> dict[str, LazyTensor]:
        raise AssertionError("opened for a refusal")

    with pytest.raises(Refused) as caught:
        write_derived(
            catalog,
            Derived(kind, "a test", never),
            subjects(catalog, bases, stack),
            out / "new.safetensors",
        )
    assert named in caught.value.message
    assert list(out.iterdir()) == []
    (decision,) = catalog.decisions()
    assert (decision.verdict, decision.subject["kind"]) == ("refused", kind)


def test_without_ingredients_nothing_is_written(catalog: Catalog, out: Path) -> None:
    with pytest.raises(Refused):
        write_derived(catalog, derived("merged adapter"), [], out / "new.safetensors")
    assert list(out.iterdir()) == []


def test_a_description_cannot_replace_what_the_gate_says(
    catalog: Catalog, files: Path, out: Path
) -> None:
    lies = {
        "modelspec.license": "CC0-1.0",
        "modelspec.merged_from": "nothing",
        "lorakit.ingredients": "[]",
        "lorakit.audit": "0",
    }
    what = Derived("merged adapter", "a test", derived("merged adapter").open, lies)
    done = write_derived(catalog, what, subjects(catalog, "", "named"), out / "new.safetensors")
    metadata = read_header(done.path).metadata
    assert not {metadata[key] for key in lies} & set(lies.values())
    assert "CC-BY-4.0" in metadata["modelspec.license"]


def test_a_tensor_of_another_size_than_described_leaves_no_file(
    catalog: Catalog, files: Path, out: Path
) -> None:
    wrong = {"x": LazyTensor("F32", (3,), lambda: torch.zeros(4))}
    what = Derived("merged adapter", "a test", lambda: wrong)
    with pytest.raises(LorakitError, match="another size"):
        write_derived(catalog, what, subjects(catalog, "", "free"), out / "new.safetensors")
    assert list(out.iterdir()) == []


def test_an_output_in_the_way_is_refused_here_too(catalog: Catalog, files: Path, out: Path) -> None:
    what, made_from = derived("merged adapter"), subjects(catalog, "", "free")
    with pytest.raises(BadUsage, match="one of the ingredients"):
        write_derived(catalog, what, made_from, files / "free.safetensors", overwrite=True)
