"""The advice of a check's page, at any strengths of its sliders, against that of Python."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from lorakit.merging.checking.advice import advise
from lorakit.merging.checking.balance import balanced
from lorakit.merging.checking.comparing import Comparison, compare
from lorakit.merging.checking.usual import Usual
from lorakit.report.check_page import check_page
from lorakit.strengths import Strength
from tests.merging.test_check_advice import BLOCKS, NAMES, factors, pulled, scaled
from tests.models import memory_adapter, tiny_base
from tests.report.browser import Page

USUAL = {
    "ink": Usual(0.7, 0.5, 0.9, "yours", ("You set 0.7, from 0.5 to 0.9.",)),
    "wash": Usual(0.4, 0.3, 0.5, "size", ("At 1 it changes rdbt by 2%.",)),
}
THERE = [name for name in NAMES if name.split(".")[1] in ("2", "3") and "mlp" not in name]


def fighting() -> Comparison:
    """One that fights `ink` somewhere, a scaled copy of `ink`, and a relative of the first two blocks."""
    ink, sea = factors(1), factors(3, 2)
    wash = pulled(factors(2), ink, -0.6, THERE)
    copy = scaled(pulled(ink, factors(5), 0.03, NAMES), -0.5)
    fog = pulled(sea, factors(4), 0.9, NAMES)
    stack = [
        (memory_adapter(one), Strength.parse(text))
        for one, text in (
            (ink, "0.8"),
            (wash, "0.5@steps=0-8"),
            (copy, "0.125"),
            (sea, "1"),
            (fog, "-0.3456"),
        )
    ]
    labels = ["ink", "wash", "copy", "sea", "fog"]
    return compare(stack, tiny_base(BLOCKS, dtype=torch.bfloat16), labels=labels, names=labels)


def quiet(count: int) -> Comparison:
    """Strangers, without a base."""
    stack = [(memory_adapter(factors(seed)), 0.5) for seed in range(count)]
    return compare(stack, labels=[f"a{n}" for n in range(count)])


def faint() -> Comparison:
    """Two that rounding eats up."""
    stack = [(memory_adapter(scaled(factors(seed), 0.02)), 0.333 * seed) for seed in (1, 2)]
    base = tiny_base(BLOCKS, dtype=torch.bfloat16)
    return compare(stack, base, labels=["ink", "wash"])


def told(browser: Page) -> list[str]:
    found: list[str] = browser.run(
        "[...document.querySelectorAll('#advising:not([hidden]) #told li')].map(e => e.textContent)"
    )
    return found


def wanted(found: Comparison, strengths: list[float]) -> list[str]:
    return [one.text for one in advise(found.at(strengths), USUAL)]


@pytest.mark.parametrize(
    "found", [fighting(), quiet(1), quiet(3), faint()], ids=["fighting", "one", "quiet", "faint"]
)
def test_advice_follows_the_sliders_in_the_words_of_python(
    browser: Page, tmp_path: Path, found: Comparison
) -> None:
    page = tmp_path / "check.html"
    page.write_text(check_page(found, USUAL, base="rdbt"), encoding="utf-8")
    browser.open(page)
    assert told(browser) == wanted(found, found.strengths)
    draw = random.Random(0)
    seen = set()
    for _ in range(30):
        strengths = [
            draw.choice([0.0, 0.25, round(draw.uniform(-2, 2), 2)]) for _ in found.strengths
        ]
        browser.run(
            f"{json.dumps(strengths)}.forEach((value, at) => {{ const s = document.getElementById(`s${{at}}`);"
            "s.value = value; s.dispatchEvent(new Event('input')); })"
        )
        assert told(browser) == wanted(found, strengths), strengths
        seen |= {one.kind for one in advise(found.at(strengths), USUAL)}
    if len(found.parts) == 5:
        assert seen >= {"same", "relative", "uneven", "apart", "together", "range"}
    balance = balanced(found.whole, found.strengths)
    if balance is not None:
        browser.click("#balance")
        assert told(browser) == wanted(found, list(balance.strengths))
    assert browser.problems == []
