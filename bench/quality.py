"""What merging keeps of each style: `python -m bench.quality` measures it on the shipped demo model.

It writes its part of docs/fidelity.md; `--print` prints it instead. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import combinations
from multiprocessing import get_context
from statistics import fmean, stdev

from bench.fidelity_page import table, write_part
from bench.machine import usable_cores
from bench.quality_model import Model
from bench.quality_score import METHODS, TEST_SEEDS, Bench, Score
from bench.quality_text import FIGURES, INTRODUCTION, verdicts
from bench.tables import say
from lorakit.preview.demo_model import STYLES

PART = "python -m bench.quality"
Styles = tuple[str, ...]
Scores = Mapping[Styles, Mapping[str, Score]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Score every method on every pair and triple, and write the page's part or print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--print", action="store_true", help="print and leave the page as it is")
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--processes", type=int, default=usable_cores(), help="one a core")
    options = parser.parse_args(arguments)
    part = measure(options.styles, options.methods, options.processes)
    if options.print:
        print(part)
    else:
        write_part(PART, part)


def measure(
    styles: Sequence[str] = STYLES, methods: Sequence[str] = tuple(METHODS), processes: int = 1
) -> str:
    """The page's part as Markdown."""
    sets: list[Styles] = [*combinations(styles, 2), *combinations(styles, 3)]
    scores: dict[Styles, dict[str, Score]] = {chosen: {} for chosen in sets}
    # Models as small as this gain nothing from a second thread; spawned, since torch does not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        jobs = {
            (chosen, method): pool.submit(_score, tuple(styles), method, chosen)
            for chosen in sets
            for method in methods
        }
        for (chosen, method), job in jobs.items():
            scores[chosen][method] = job.result()
            say(f"{method} of {' + '.join(chosen)}")
    return "\n\n".join(
        [
            INTRODUCTION,
            "### Together",
            _summary(scores, methods),
            verdicts({what: _means(scores, what) for what in FIGURES}),
            *(
                f"### {title}, style by style\n\n{_details(scores, methods, what)}"
                for what, title in FIGURES.items()
            ),
        ]
    )


def _score(styles: Styles, method: str, chosen: Styles) -> Score:
    return _bench(styles).score(method, chosen)


@cache
def _bench(styles: Styles) -> Bench:
    """The model, once a process."""
    import torch

    torch.set_num_threads(1)
    return Bench(Model.load(), styles)


def _summary(scores: Scores, methods: Sequence[str]) -> str:
    head = ["share kept, mean ± deviation over seeds"]
    head += [
        f"{size}, {title.lower()}" for size in ("pairs", "triples") for title in FIGURES.values()
    ]
    head += ["weakest style, loss", "tuned strengths"]
    rows = []
    for method in methods:
        cells = [method]
        for count in (2, 3):
            for what in FIGURES:
                values = [fmean(v) for v in zip(*_values(scores, method, what, count), strict=True)]
                cells.append(_spread(values))
        cells.append(f"{min(_weakest(scores, method)):.2f}")
        strengths = [found[method].strength for found in scores.values()]
        cells.append(f"{min(strengths):.2g}–{max(strengths):.2g}")
        rows.append(cells)
    return table(head, rows)


def _values(scores: Scores, method: str, what: str, count: int) -> Iterator[list[float]]:
    """Of every style in every set of `count`: its share for each seed."""
    for styles, found in scores.items():
        if len(styles) == count:
            for style in styles:
                yield [shares[style] for shares in getattr(found[method], what)]


def _weakest(scores: Scores, method: str) -> Iterator[float]:
    for count in (2, 3):
        yield from (fmean(values) for values in _values(scores, method, "losses", count))


def _means(scores: Scores, what: str) -> dict[str, list[list[float]]]:
    """By method: for each set of styles, the mean share over its styles for each seed."""
    return {
        method: [
            [fmean(shares.values()) for shares in getattr(found[method], what)]
            for found in scores.values()
        ]
        for method in next(iter(scores.values()))
    }


def _details(scores: Scores, methods: Sequence[str], what: str) -> str:
    rows = []
    for styles, found in scores.items():
        for style in styles:
            cells = [
                _spread([shares[style] for shares in getattr(found[method], what)])
                for method in methods
            ]
            rows.append([f"{style} in {' + '.join(styles)}", *cells])
    return table(["share of", *methods], rows)


def _spread(values: Sequence[float]) -> str:
    assert len(values) == len(TEST_SEEDS)
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


if __name__ == "__main__":
    main()
