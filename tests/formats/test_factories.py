"""The factories hold the figures of the published models, so tests may lean on them."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

from tests.factories import (
    ADAPTER_SHAPES,
    ANIMA_SHAPES,
    TEXT_SHAPES,
    USUAL_SHAPES,
    checkpoint_shapes,
    dit_shapes,
    number,
    write_safetensors,
    zeros,
)


# Blocks, tensors of transformer and text adapter, parameters of both: as counted in the checkpoints.
@pytest.mark.parametrize(
    ("blocks", "tensors", "parameters", "dit_parameters"),
    [
        (28, 567 + 118, 2_091_068_928, 1_956_405_248),
        (40, 807 + 118, 2_921_547_264, 2_786_883_584),
        (52, 1047 + 118, 3_752_025_600, 3_617_361_920),
    ],
)
def test_a_full_checkpoint_has_the_published_size(
    blocks: int, tensors: int, parameters: int, dit_parameters: int
) -> None:
    shapes = checkpoint_shapes(blocks)
    assert len(shapes) == tensors
    assert sum(map(prod, shapes.values())) == parameters
    assert sum(prod(s) for key, s in shapes.items() if "llm_adapter" not in key) == dit_parameters


def test_the_module_lists_have_the_published_lengths() -> None:
    assert len(dit_shapes()) == 454
    assert len(ADAPTER_SHAPES) == 61
    assert len(ANIMA_SHAPES) == 454 + 61
    assert len(TEXT_SHAPES) == 196
    assert len(USUAL_SHAPES) == 280


def test_zeros_take_no_bytes_in_memory_and_their_full_length_in_the_file(tmp_path: Path) -> None:
    tensors = {"large": zeros("BF16", [1000, 1000]), "one": number(2.5)}
    path = write_safetensors(tmp_path / "a.safetensors", tensors)
    raw = path.read_bytes()
    assert len(raw) > 2_000_000
    assert raw[-4:] == bytes.fromhex("00002040")
    assert not any(raw[-2_000_004:-4])
