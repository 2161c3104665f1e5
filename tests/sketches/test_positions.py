"""The scheme is public: these values must never change."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.sketches.positions import MOST_VALUES, Positions, kind_name, positions
from tests.factories import ANIMA_SHAPES, dit_shapes

MODULES = st.sampled_from(
    [
        "blocks.0.mlp.layer1",
        "blocks.27.cross_attn.q_proj",
        "blocks.3.adaln_modulation_mlp.2",
        "x_embedder.proj.1",
        "llm_adapter.embed",
        "llm_adapter.blocks.5.mlp.0",
    ]
)


def from_the_specification(kind: str, rows: int, columns: int) -> Positions:
    """The module's text, followed to the letter by somebody who has not seen the code."""
    length = 32 if columns >= 32 else columns
    in_a_row = columns // 32 if columns >= 32 else 1
    well = ("blocks.*.self_attn.", "blocks.*.cross_attn.", "blocks.*.mlp.")
    wanted = min(32 if kind.startswith(well) else 8, rows * in_a_row)
    chosen: list[tuple[int, int]] = []
    if wanted == rows * in_a_row:
        chosen = [(row, run) for row in range(rows) for run in range(in_a_row)]
    i = 0
    while len(chosen) < wanted:
        text = f"lorakit sketch 1 {kind} {rows}x{columns} {i}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        row, run = int(digest[:16], 16) % rows, int(digest[16:32], 16) % in_a_row
        full = [r for r, _ in chosen].count(row) == -(-wanted // rows)
        if not full and (row, run) not in chosen:
            chosen.append((row, run))
        i += 1
    chosen.sort()
    return Positions(
        tuple(row for row, _ in chosen), tuple(run * length for _, run in chosen), length
    )


def test_the_positions_of_a_published_model_are_frozen() -> None:
    first = positions("blocks.0.mlp.layer1", (8192, 2048))
    assert first.rows[:8] == (151, 193, 207, 322, 361, 821, 2017, 2029)
    assert first.columns[:8] == (928, 0, 736, 2016, 480, 1024, 288, 160)
    root = positions("final_layer.linear", (64, 2048))
    assert root.rows == (0, 1, 13, 20, 26, 48, 53, 59)
    assert root.columns == (576, 512, 32, 640, 672, 1216, 1376, 736)
    shapes = {**ANIMA_SHAPES, "llm_adapter.embed": (32128, 1024)}
    found = {name: positions(name, shape) for name, shape in sorted(shapes.items())}
    text = json.dumps([[name, p.rows, p.columns, p.length] for name, p in found.items()])
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN
    assert sum(p.count for p in found.values()) == 347_136


FROZEN = "3d12d6449e1c4d74e68bb47d92a45822816bb6b0fe368e3306f87b2ab0557fd8"


@given(MODULES, st.integers(1, 200), st.integers(1, 300))
def test_the_specification_is_what_the_code_does(module: str, rows: int, columns: int) -> None:
    found = positions(module, (rows, columns))
    assert found == from_the_specification(kind_name(module), rows, columns)
    runs = list(zip(found.rows, found.columns, strict=True))
    assert runs == sorted(set(runs))
    assert 0 < found.count <= MOST_VALUES
    for row, column in runs:
        assert 0 <= row < rows
        assert column % 32 == 0
        assert column + found.length <= columns
    assert max(Counter(found.rows).values()) <= max(-(-len(runs) // rows), 1)


def test_positions_do_not_depend_on_the_number_of_a_block() -> None:
    small, large = dit_shapes(28), dit_shapes(40)
    for name, shape in large.items():
        twin = name.replace("blocks.39.", "blocks.5.")
        assert positions(name, shape) == positions(twin, shape)
        if name in small:
            assert positions(name, shape) == positions(name, small[name])
    assert kind_name("llm_adapter.blocks.5.mlp.0") == "llm_adapter.blocks.*.mlp.0"
    assert kind_name("x_embedder.proj.1") == "x_embedder.proj.1"


def test_kinds_and_shapes_are_looked_at_in_different_places() -> None:
    square = (2048, 2048)
    looks = [
        positions("blocks.0.self_attn.q_proj", square),
        positions("blocks.0.self_attn.k_proj", square),
        positions("blocks.0.self_attn.q_proj", (2048, 1024)),
    ]
    assert len(set(looks)) == 3
    assert positions("llm_adapter.blocks.0.self_attn.q_proj", square).count == 8 * 32


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_nothing_is_looked_at_in_an_empty_matrix(shape: tuple[int, int]) -> None:
    assert positions("blocks.0.mlp.layer1", shape).count == 0
