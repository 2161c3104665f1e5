"""Strengths are found again in files of any origin, for every kind of change, and by the bits they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import open_base
from lorakit.merging.verifying.change_products import adapter_products
from lorakit.merging.verifying.deviations import deviation
from lorakit.merging.verifying.fitting import fit
from lorakit.strengths import Strength
from tests.models import memory_adapter, random_lora, tiny_base, usual_names

NAMES = usual_names(2)
SHAPES = {name: tuple(tiny_base(2)[f"net.{name}.weight"].shape) for name in NAMES}


def lora(seed: int) -> Adapter:
    return memory_adapter(random_lora(NAMES, 2, seed=seed))


def file_of(path: Path, parts: Mapping[str, Sequence[int]], seed: int) -> Adapter:
    """An adapter file with the same random parts on every module; -1 and -2 stand for its sides."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, sides in SHAPES.items():
        for part, shape in parts.items():
            actual = [{-1: sides[0], -2: sides[1]}.get(side, side) for side in shape]
            values = torch.randn(actual, generator=generator) * 0.1
            tensors[f"lycoris_{name.replace('.', '_')}.{part}"] = values
    save_file(tensors, path)
    return lorakit.load_adapter(path)


def given_by(parts: Sequence[tuple[Adapter, float]]) -> dict[str, torch.Tensor]:
    """What the parts do together, stored in full by a program that knows nothing of lorakit."""
    base = tiny_base(2)
    fused = lorakit.fuse(base, parts)
    return {
        f"lycoris_{name.replace('.', '_')}.diff": fused[f"net.{name}.weight"]
        - base[f"net.{name}.weight"]
        for name in NAMES
    }


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.01, 2) | st.floats(-2, -0.01), min_size=1, max_size=3))
def test_strengths_are_found_again(strengths: list[float]) -> None:
    entries = [(lora(seed), Strength(1.0)) for seed in range(len(strengths))]
    parts = [(one, strength) for (one, _), strength in zip(entries, strengths, strict=True)]
    found = lorakit.merge(parts)
    fitted = fit(list(adapter_products(found, None, entries, None)), 10_000)
    assert fitted.gains == pytest.approx(strengths, abs=1e-5)
    assert fitted.unexplained == pytest.approx(0, abs=1e-4)


KINDS = {
    "loha": {
        "hada_w1_a": (-1, 2),
        "hada_w1_b": (2, -2),
        "hada_w2_a": (-1, 2),
        "hada_w2_b": (2, -2),
    },
    "full": {"diff": (-1, -2)},
    "dora": {"lora_up.weight": (-1, 2), "lora_down.weight": (2, -2), "dora_scale": (-1, 1)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_changes_of_every_kind_are_compared(tmp_path: Path, kind: str) -> None:
    one = file_of(tmp_path / "one.safetensors", KINDS[kind], 1)
    path = tmp_path / "both.safetensors"
    save_file(given_by([(one, 0.7), (lora(2), -0.4)]), path)
    entries = [(one, Strength(1.0)), (lora(2), Strength(-0.4))]
    base = open_base(tiny_base(2))
    fitted = fit(list(adapter_products(lorakit.load_adapter(path), None, entries, base)), 10_000)
    assert fitted.gains == pytest.approx((0.7, 1.0), abs=1e-3)
    assert fitted.unexplained < 1e-3


def test_a_change_that_depends_on_the_base_asks_for_it(tmp_path: Path) -> None:
    one = file_of(tmp_path / "one.safetensors", KINDS["dora"], 1)
    with pytest.raises(BadUsage, match="depends on the weights of a base"):
        list(adapter_products(lora(1), None, [(one, Strength())], None))


def test_gains_by_block_find_where_a_strength_holds() -> None:
    entries = [(lora(0), Strength()), (lora(1), Strength())]
    made = [(lora(0), Strength.of(blocks={"1": 0.25})), (lora(1), Strength())]
    products = list(adapter_products(lorakit.merge(made), None, entries, None))
    first, second = fit(products, 10_000).by_block.spans
    assert [(span.blocks, round(span.gain, 4)) for span in first] == [("0", 1.0), ("1", 0.25)]
    assert [(span.blocks, round(span.gain, 4)) for span in second] == [("0-1", 1.0)]


def test_deviations_count_values_and_steps() -> None:
    expected = torch.tensor([1.0, -2.0, 0.0, 3.0], dtype=torch.bfloat16)
    assert deviation("k", "m", expected, expected.clone()) is None
    # Minus zero is equal in value and not in its bits.
    signed = torch.tensor([1.0, -2.0, -0.0, 3.0], dtype=torch.bfloat16)
    zero = deviation("k", "m", expected, signed)
    assert zero is not None
    assert (zero.differing, zero.largest, zero.steps) == (1, 0.0, 0)
    moved = torch.tensor([1.0, -2.03125, 0.0, 2.96875], dtype=torch.bfloat16)
    found = deviation("k", "m", expected, moved)
    assert found is not None
    # Between 2 and 4 the numbers of bfloat16 lie 1/64 apart.
    assert (found.differing, found.largest, found.steps) == (2, 0.03125, 2)
    assert found.relative == pytest.approx((2 * 0.03125**2 / 14) ** 0.5)
    other = deviation("k", "m", expected, expected.float())
    assert other is not None
    assert "F32" in other.remark
    assert (other.differing, other.steps) == (0, 0)
    shaped = deviation("k", "m", expected, expected[:2])
    assert shaped is not None
    assert "[2]" in shaped.remark
    assert shaped.relative is None
    told = shaped.to_dict()
    assert (told["shape"], told["expected_shape"]) == ([2], [4])
    assert (told["largest_difference"], told["relative_difference"]) == (None, None)


def test_what_is_no_number_is_never_noise() -> None:
    expected = torch.linspace(-1, 1, 400).reshape(20, 20)
    found = expected.clone()
    found[3, 4] = torch.nan
    expected[0, 0] = found[0, 0] = torch.inf
    one = deviation("key", "module", expected, found)
    assert one is not None
    assert (one.differing, one.beyond, one.alone, one.explained) == (1, 1, 1, False)


def test_a_whole_tensor_of_noise_has_company_and_a_lone_value_has_none() -> None:
    generator = torch.Generator().manual_seed(2)
    expected = torch.randn(64, 64, generator=generator)
    noise = 3e-6 * torch.randn(64, 64, generator=generator)
    spread = deviation("key", "module", expected, expected + noise)
    assert spread is not None
    assert spread.beyond > 1000
    assert spread.explained
    found = expected.clone()
    found[5, 6] += 3e-6
    lone = deviation("key", "module", expected, found)
    assert lone is not None
    assert (lone.beyond, lone.alone) == (1, 1)
    # A single column that was summed otherwise is company for itself.
    found = expected.clone()
    found[:, 7] += noise[:, 7]
    column = deviation("key", "module", expected, found)
    assert column is not None
    assert column.beyond > 10
    assert column.explained
