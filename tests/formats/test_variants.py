"""The maps between the published model sizes."""

from __future__ import annotations

import pytest

from lorakit.formats.variants import SIZES, block_map, model_blocks

# As the larger models' own metadata gives them: target index of source block 0, 1, 2, ...
TO_40 = (
    *(0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35),
    *(37, 38, 39),
)
FROM_40 = (
    *(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30, 32),
    *(33, 34, 36, 37, 38, 40, 41, 42, 44, 45, 46, 48, 49, 50, 51),
)
TO_52 = (
    *(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 26, 29, 30, 33, 34, 37, 38, 41, 42, 45, 46),
    *(49, 50, 51),
)


@pytest.mark.parametrize(
    ("source", "target", "expected"), [(28, 40, TO_40), (40, 52, FROM_40), (28, 52, TO_52)]
)
def test_a_smaller_model_maps_onto_the_larger_as_it_was_built(
    source: int, target: int, expected: tuple[int, ...]
) -> None:
    assert block_map(source, target) == expected


@pytest.mark.parametrize("size", SIZES)
def test_a_model_maps_onto_itself(size: int) -> None:
    assert block_map(size, size) == tuple(range(size))


def test_larger_onto_smaller_and_unknown_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="52 to 28"):
        block_map(52, 28)
    with pytest.raises(KeyError):
        block_map(30, 40)
    with pytest.raises(KeyError):
        block_map(52, 60)


@pytest.mark.parametrize(
    ("highest", "size"), [(0, 28), (27, 28), (28, 40), (39, 40), (40, 52), (51, 52), (52, None)]
)
def test_the_highest_block_is_snapped_up_to_a_published_size(
    highest: int, size: int | None
) -> None:
    assert model_blocks(highest) == size
