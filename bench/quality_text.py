"""What the page says about the quality table, and which of its differences it may call differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from bench.quality_model import STEPS
from bench.quality_score import GRID, TEST_EXAMPLES, TUNING_EXAMPLES

FIGURES = {"losses": "Loss", "pictures": "Pictures"}
# So many spreads make a difference: every method is compared, and one in twenty exceeds two by chance.
_SPREADS = 3
INTRODUCTION = f"""\
## What survives of each style

Command: `python -m bench.quality`, some minutes on two cores. The model is the one that lorakit ships
([demo-model.md](demo-model.md)), its adapters the four styles; every pair and every triple of them is merged by each
method with its default options, all strengths equal. Entrywise methods keep their result in full, so that the
method is judged and not a rank.

- **Loss**: mean square error of the velocity on {TEST_EXAMPLES} pictures in the style, called by its trigger
  word. The share kept is (base - merge) / (base - the style alone): 1 is as good as the style's own adapter,
  0 is the base.
- **Pictures**: the style's figure (darkness beside edges, paleness, darkness, what repeats from tile to tile) over
  four scenes whose prompts name no style, in {STEPS} steps; the share is taken alike.

One strength for the whole merge is chosen for each method and each set of styles by the loss on {TUNING_EXAMPLES}
other pictures of each style, from a grid that begins at {GRID[0]:g}. Three seeds change pictures, noise and, for
DARE and DELLA, the mask; ± is the standard deviation over them. Shares below 1 are no fault of a method:
styles that contradict each other cannot both be there in full."""


def verdicts(means: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> str:
    """Which methods differ from `sum` by more than the spread; `means` by figure, method, set and seed.

    A difference counts when it is several times the standard error over the sets of styles, and as many
    times the standard deviation over the seeds.
    """
    lines = []
    for figure, title in FIGURES.items():
        found = means[figure]
        if "sum" not in found:
            continue
        above: list[str] = []
        below: list[str] = []
        within: list[str] = []
        for method, values in found.items():
            if method == "sum":
                continue
            mean, spread = _difference(values, found["sum"])
            group = within if abs(mean) <= _SPREADS * spread else above if mean > 0 else below
            group.append(f"{method} ({mean:+.2f} ± {spread:.2f})")
        lines += [
            f"- {title}: above `sum` by more than that: {_listed(above)}; "
            f"below it: {_listed(below)}; not to be told from it: {_listed(within)}."
        ]
    rule = (
        "Differences from `sum`, over all pairs and triples; the spread is the larger of the standard error "
        f"over the sets of styles and the deviation over the seeds, and only what exceeds {_SPREADS} times the "
        "spread is called a difference. Among the methods that cannot be told from `sum` no order is claimed."
    )
    return "\n".join([rule, "", *lines])


def _difference(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """The mean of one - other over sets and seeds, and its spread."""
    gaps = [
        [a - b for a, b in zip(values, others, strict=True)]
        for values, others in zip(one, other, strict=True)
    ]
    by_set = [fmean(values) for values in gaps]
    by_seed = [fmean(values) for values in zip(*gaps, strict=True)]
    over_sets = stdev(by_set) / len(by_set) ** 0.5 if len(by_set) > 1 else float("inf")
    return fmean(by_set), max(over_sets, stdev(by_seed))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
