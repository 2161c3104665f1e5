"""Arbitrary strengths, for tests that want every one of them to survive something."""

from __future__ import annotations

from hypothesis import strategies as st

from lorakit.formats import anima
from lorakit.strengths import MAX_STRENGTH, PRESETS, Strength
from lorakit.strengths.strength import ALL_KINDS

# The product of all factors must stay within ±100, so refined bases are small.
_FACTOR = st.floats(-1, 1)
_SPANS = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: f"{p[0]}-{p[0] + p[1]}")
_BLOCKS = st.lists(st.integers(0, 99), unique=True, max_size=6).map(
    lambda ends: [f"{a}-{b - 1}" for a, b in zip(sorted(ends), sorted(ends)[1:], strict=False)]
)
_VECTORS = st.sampled_from([28, 29, 40, 41, 52, 53]).flatmap(
    lambda size: st.lists(_FACTOR, min_size=size, max_size=size)
)


def _factors(names: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[dict[str, float]]:
    return st.dictionaries(names, _FACTOR, max_size=most)


REFINED = st.builds(
    Strength.of,
    st.floats(-MAX_STRENGTH, MAX_STRENGTH),
    blocks=_BLOCKS.flatmap(
        lambda spans: st.tuples(*(_FACTOR for _ in spans)).map(
            lambda factors: dict(zip(spans, factors, strict=True))
        )
    ),
    kinds=_factors(st.sampled_from(ALL_KINDS)),
    components=_factors(st.sampled_from(anima.COMPONENTS)),
    modules=_factors(st.text("abz019_.*?[]!-", min_size=1, max_size=20)),
    lbw=st.none() | st.sampled_from(sorted(PRESETS)) | _VECTORS,
    steps=st.none() | st.lists(_SPANS, min_size=1, max_size=3).map(",".join),
)
STRENGTHS = st.floats(-MAX_STRENGTH, MAX_STRENGTH).map(Strength) | REFINED
