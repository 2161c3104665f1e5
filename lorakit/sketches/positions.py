"""Where a weight sketch looks: scheme 1, a stable public specification.

A sketch holds a few runs of neighbouring weights from every matrix of a model. Two sketches can be
compared only where they looked at the same places, so this scheme never changes; another one would
bear another number. Whoever builds the same positions from this text can read and write fingerprints.

**Which matrices.** Every 2-D weight of the transformer and its text adapter, by its original name
without `.weight`: `blocks.0.mlp.layer1`, `x_embedder.proj.1`, `llm_adapter.blocks.0.mlp.0`. A 1x1
convolution (n, m, 1, 1) counts as (n, m). Norms and biases are left out.

**Kind.** The name with the number after `blocks.` replaced by `*`: `blocks.*.mlp.layer1`,
`llm_adapter.blocks.*.mlp.0`. Positions depend on kind and shape alone, so that block 5 of one model can
be compared with block 7 of another.

**Runs.** A run is `length` neighbouring columns of one row. For a shape of (rows, columns):

- columns >= 32: length is 32, and runs begin at columns 0, 32, 64, ...; there are
  `columns // 32` of them in a row, and what is left over at the end of a row is never looked at.
- columns < 32: length is `columns`, and the one run of a row begins at column 0.

**How many.** 32 runs for the attentions and the MLP of a transformer block (kinds that begin with
`blocks.*.self_attn.`, `blocks.*.cross_attn.` or `blocks.*.mlp.`), 8 for every other kind. A matrix that
has no more runs than that gives all of them.

**Which ones.** For i = 0, 1, 2, ... take the SHA-256 of the ASCII text

    lorakit sketch 1 KIND ROWSxCOLUMNS i        (such as: lorakit sketch 1 blocks.*.mlp.layer1 8192x2048 0)

Its first 8 bytes, a big-endian number, modulo `rows` are the row; the next 8 bytes modulo the number of
runs in a row tell which run of it. The draw is passed over when that run has been drawn before, or its
row already gave `ceil(wanted / rows)` runs (so rows do not repeat where there are enough of them). It
ends when all that are wanted have been drawn.

**Order.** By row, then by column; the values of a sketch stand in that order, run after run.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count

SCHEME = 1
RUN = 32

_MANY, _FEW = 32, 8
# What a sketch holds of one matrix at most.
MOST_VALUES = _MANY * RUN
_SAMPLED_WELL = ("blocks.*.self_attn.", "blocks.*.cross_attn.", "blocks.*.mlp.")
_BLOCK_NUMBER = re.compile(r"(^|\.)blocks\.[0-9]+\.")


@dataclass(frozen=True, slots=True)
class Positions:
    """The runs of one matrix, by row and then by column: where each begins, and how long all are."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    length: int

    @property
    def count(self) -> int:
        """How many values a sketch has of such a matrix."""
        return len(self.rows) * self.length


@lru_cache(maxsize=8192)
def kind_name(module: str) -> str:
    """A canonical module name without its block number: `blocks.*.mlp.layer1`."""
    return _BLOCK_NUMBER.sub(r"\1blocks.*.", module, count=1)


def positions(module: str, shape: tuple[int, int]) -> Positions:
    """Where to look in the weight of `module`, of `shape` (out, in)."""
    return _drawn(kind_name(module), *shape)


@cache
def _drawn(kind: str, rows: int, columns: int) -> Positions:
    length = min(RUN, columns)
    per_row = columns // length if length else 0
    wanted = _MANY if kind.startswith(_SAMPLED_WELL) else _FEW
    if rows * per_row <= wanted:
        runs = {(row, run) for row in range(rows) for run in range(per_row)}
    else:
        runs = _draw(f"lorakit sketch {SCHEME} {kind} {rows}x{columns}", rows, per_row, wanted)
    ordered = sorted(runs)
    return Positions(
        tuple(row for row, _ in ordered), tuple(run * length for _, run in ordered), length
    )


def _draw(text: str, rows: int, per_row: int, wanted: int) -> set[tuple[int, int]]:
    """`wanted` different runs as (row, number in the row); there are more than that."""
    drawn: set[tuple[int, int]] = set()
    used: Counter[int] = Counter()
    most = -(-wanted // rows)
    for number in count():
        digest = hashlib.sha256(f"{text} {number}".encode("ascii")).digest()
        row = int.from_bytes(digest[:8], "big") % rows
        run = int.from_bytes(digest[8:16], "big") % per_row
        if used[row] < most and (row, run) not in drawn:
            drawn.add((row, run))
            used[row] += 1
            if len(drawn) == wanted:
                break
    return drawn
