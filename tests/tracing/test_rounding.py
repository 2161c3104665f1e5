"""The steps of stored formats, against PyTorch's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorakit.tracing.rounding import agrees, on_format, step, step_exponent

FORMATS = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
FINITE = st.floats(2.0**-6, 200.0, width=32)


def stored(values: np.ndarray, code: str) -> np.ndarray:
    found: np.ndarray = torch.from_numpy(values).to(FORMATS[code]).double().numpy()
    return found


@pytest.mark.parametrize("code", FORMATS)
@given(st.lists(FINITE, min_size=1), st.booleans())
def test_rounding_moves_a_number_by_half_a_step_at_most(
    code: str, numbers: list[float], negative: bool
) -> None:
    values = np.array(numbers) * (-1 if negative else 1)
    rounded = stored(values, code)
    assert np.all(np.abs(rounded - values) <= step(values, code) / 2 * (1 + 1e-12))
    assert on_format(rounded, code)
    # The next number of the format is one step away.
    assert np.array_equal(
        stored(rounded + step(rounded, code), code), rounded + step(rounded, code)
    )


def test_below_the_smallest_normal_number_steps_stay_as_they_are() -> None:
    tiny = np.array([0.0, 2.0**-9, 2.0**-7])
    assert np.array_equal(step(tiny, "F8_E4M3"), np.full(3, 2.0**-9))
    assert np.array_equal(step_exponent(tiny, "F8_E4M3"), np.full(3, -9))


def test_numbers_between_the_steps_are_no_numbers_of_a_format() -> None:
    values = stored(np.linspace(0.1, 1, 50), "BF16")
    assert on_format(values, "BF16")
    assert not on_format(values * 1.01, "BF16")
    assert not on_format(values, "F8_E4M3")
    assert not on_format(values, "I8")


@pytest.mark.parametrize("code", ["F16", "F8_E4M3", "F8_E5M2"])
def test_copies_in_two_formats_agree_and_other_numbers_do_not(code: str) -> None:
    values = stored(np.random.default_rng(0).normal(size=2000), "BF16")
    same = agrees(stored(values, code), values, (code, "BF16"))
    assert same is not None
    assert same.all()
    other = agrees(stored(values * 1.5, code), values, (code, "BF16"))
    assert other is not None
    assert other.mean() < 0.05


def test_nothing_is_said_of_formats_without_known_steps() -> None:
    assert agrees(np.ones(2), np.ones(2), ("I8", "BF16")) is None
