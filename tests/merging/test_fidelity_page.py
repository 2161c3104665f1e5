"""docs/fidelity.md against the scripts that write it: every case and tool is there, and figures come out again."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from bench.fidelity import OTHERS, PART, SUMMING, outcome
from bench.fidelity_cases import ABOUT, NAMES, SEED, make_case
from bench.fidelity_figures import Figures
from bench.fidelity_page import PAGE, part_of, replace_part
from bench.quality import PART as QUALITY_PART
from bench.quality_score import METHODS
from lorakit.preview.demo_model import STYLES

TOOLS = {tool.name: tool for tool in (*SUMMING, *OTHERS)}


def tables(part: str) -> list[list[list[str]]]:
    """Every table of a part: rows of cells, its head first and without the rule."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", part, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            for line in block.splitlines()
            if not line.startswith("| ---")
        ]
        for block in blocks
    ]


def figures(name: str, part: str) -> dict[str, dict[str, str]]:
    """The cells of the tables headed `name`, by tool and case."""
    found: dict[str, dict[str, str]] = {}
    for head, *rows in tables(part):
        if head[0] == name:
            for tool, *cells in rows:
                # The rows beside PEFT's own functions come later, and say another thing.
                found.setdefault(tool, dict(zip(head[1:], cells, strict=True)))
    return found


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["relative error", "gain", "cosine"])
def test_every_tool_has_a_cell_for_every_case(page: str, name: str) -> None:
    part = part_of(page, PART)
    assert f"seed {SEED}," in part
    written = figures(name, part)
    assert written.keys() >= TOOLS.keys()
    reasons = set(re.findall(r"^- (\([a-z]\)) ", part, re.MULTILINE))
    for tool in TOOLS:
        assert tuple(written[tool]) == NAMES
        assert all(
            re.fullmatch(r"-?\d+\.\d+(e-\d+)?", c) or c in reasons for c in written[tool].values()
        )


def test_cases_stand_on_the_page_as_they_are(page: str) -> None:
    written = dict(tables(part_of(page, PART))[0][1:])
    assert written == ABOUT


def check(page: str, tool: str, case: str) -> None:
    found = outcome(TOOLS[tool], make_case(case))
    assert isinstance(found, Figures)
    part = part_of(page, PART)
    error = float(figures("relative error", part)[tool][case])
    if error < 1e-5:
        # Rounding, whose last digits depend on the machine.
        assert found.error < 1e-5
    else:
        assert found.error == pytest.approx(error, rel=0.02, abs=6e-4)
    assert found.gain == pytest.approx(float(figures("gain", part)[tool][case]), abs=2e-3)
    assert found.cosine == pytest.approx(float(figures("cosine", part)[tool][case]), abs=2e-3)


@pytest.mark.parametrize(
    ("tool", "case"),
    [
        ("lorakit `merge`", "ranks"),
        ("lorakit `merge`", "negative"),
        ("lorakit `merge`", "LoHa"),
        ("lorakit `fuse`", "DoRA"),
        ("kohya's formula, `merge_lora --concat`", "ranks"),
        ("kohya's formula, `merge_lora`", "plain"),
    ],
)
def test_figures_come_out_again(page: str, tool: str, case: str) -> None:
    check(page, tool, case)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "case"), [("cat", "rsLoRA"), ("linear", "plain")])
def test_figures_of_peft_come_out_again(page: str, mode: str, case: str) -> None:
    pytest.importorskip("peft")
    check(page, f"peft `{mode}`", case)


def test_lorakit_is_at_rounding_wherever_factors_hold_the_sum(page: str) -> None:
    written = figures("relative error", part_of(page, PART))
    exact = [name for name in NAMES if not name.startswith("DoRA")]
    assert all(float(written["lorakit `merge`"][name]) < 1e-7 for name in exact)
    assert all(float(written["lorakit `fuse`"][name]) < 1e-5 for name in NAMES if name != "bf16")
    nearest = written["(the exact weights, rounded once)"]["bf16"]
    assert written["lorakit `fuse`"]["bf16"] == nearest


def test_every_method_is_scored_on_every_pair_and_triple(page: str) -> None:
    part = part_of(page, QUALITY_PART)
    if not part:
        pytest.skip(f"{QUALITY_PART} has not written its part yet")
    summary, *details = tables(part)
    assert [row[0] for row in summary[1:]] == list(METHODS)
    sets = [*combinations(STYLES, 2), *combinations(STYLES, 3)]
    wanted = [f"{style} in {' + '.join(styles)}" for styles in sets for style in styles]
    assert len(details) == 2
    for head, *rows in details:
        assert head[1:] == list(METHODS)
        assert [row[0] for row in rows] == wanted
        assert all(
            re.fullmatch(r"-?\d+\.\d\d ± \d+\.\d\d", cell) for row in rows for cell in row[1:]
        )


def test_a_part_is_replaced_and_the_rest_of_the_page_stays() -> None:
    first = replace_part("# Page\n\nText.\n", "one", "old")
    both = replace_part(first, "two", "other")
    again = replace_part(both, "one", "new")
    assert part_of(again, "one") == "new"
    assert part_of(again, "two") == "other"
    assert again.startswith("# Page\n\nText.\n")
    assert "old" not in again
