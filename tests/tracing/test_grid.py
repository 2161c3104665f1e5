"""Where sketches can be compared: common modules, runs, and the block numbers of larger relatives."""

from __future__ import annotations

import numpy as np
import pytest

from lorakit.formats.variants import block_map
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.grid import common_grid, difference, with_blocks


def sketch(blocks: int = 2, **sizes: int) -> Sketch:
    values = {
        name.replace("__", "."): np.arange(size, dtype=np.float32) for name, size in sizes.items()
    }
    return Sketch(values, "BF16", blocks)


def test_a_grid_has_the_modules_that_all_have_at_the_same_size() -> None:
    one, other = sketch(a=64, b=32, c=40), sketch(c=40, b=33, a=64)
    grid = common_grid([one, other])
    assert grid.names == ("a", "c")
    assert common_grid([one, other], ["c"]).names == ("c",)
    assert grid.module.tolist() == [0] * 64 + [1] * 40
    # Runs of 32; what is left over is a run of its own.
    assert grid.run.tolist() == [0] * 32 + [1] * 32 + [2] * 32 + [3] * 8
    assert grid.module_of_run.tolist() == [0, 0, 1, 1]
    assert grid.take(one).tolist() == [*range(64), *range(40)]


def test_a_module_that_a_sketch_lacks_is_zero() -> None:
    grid = common_grid([sketch(a=32, b=32)])
    assert grid.take(sketch(b=32)).tolist() == [0] * 32 + [*range(32)]


def test_nothing_in_common_is_an_empty_grid() -> None:
    grid = common_grid([sketch(a=32), sketch(b=32)])
    assert (grid.names, len(grid.module), len(grid.take(sketch(a=32)))) == ((), 0, 0)


def test_a_part_of_a_grid_is_numbered_anew() -> None:
    grid = common_grid([sketch(a=40, b=64, c=32)])
    part, chosen = grid.part(lambda name, size: name != "a" and size in (64, 32))
    assert part.names == ("b", "c")
    assert chosen.sum() == 96
    assert part.module.tolist() == [0] * 64 + [1] * 32
    assert part.run.tolist() == [0] * 32 + [1] * 32 + [2] * 32
    assert part.module_of_run.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("smaller", "larger"), [(28, 40), (28, 52), (40, 52)])
def test_a_relative_with_more_blocks_holds_them_under_other_numbers(
    smaller: int, larger: int
) -> None:
    names = {f"blocks__{n}__mlp__layer1": 32 for n in range(smaller)}
    one = sketch(smaller, x_embedder__proj__1=32, **names)
    for number, values in enumerate(one.values.values()):
        values += number
    up = with_blocks(one, larger)
    assert up.blocks == larger
    assert len(up.values) == len(one.values)
    carried = block_map(smaller, larger)
    moved = f"blocks.{carried[5]}.mlp.layer1"
    assert np.array_equal(up.values[moved], one.values["blocks.5.mlp.layer1"])
    down = with_blocks(up, smaller)
    assert down.values.keys() == one.values.keys()
    assert all(np.array_equal(down.values[n], one.values[n]) for n in one.values)


def test_sizes_that_were_never_published_are_left_alone() -> None:
    one = sketch(8, blocks__0__mlp__layer1=32)
    assert with_blocks(one, 28) is one


def test_a_difference_leaves_out_what_is_the_same() -> None:
    one, other = sketch(a=32, b=32, c=32), sketch(a=32, b=32)
    other.values["b"][3] = 100
    found = difference(one, other)
    assert list(found.values) == ["b"]
    assert found.values["b"][3] == 3 - 100
