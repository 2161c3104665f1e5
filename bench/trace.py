"""Recognition by weights: what is found in which disguise, and how often something is found wrongly.

Run as `python -m bench.trace`; `--siblings 1000 --seeds 5` are the figures in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench import virtual as v
from bench.tables import Section, command_line, say
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.recognition import recognise_adapter, recognise_base

ANCESTORS: Mapping[str, tuple[str, ...]] = {
    "anima": (),
    "animayume": ("anima",),
    "rdbt": ("anima", "animayume"),
}
SIZES = (0.005, 0.01, 0.03)
SIBLINGS, SEEDS = 96, 1


@dataclass(frozen=True)
class World:
    """An ancestor, a fine-tune of it, and an RDBT-like model made from it, with its change."""

    anima: v.Values
    yume: v.Values
    change: v.Values
    rdbt: v.Values

    def known(self) -> list[Known]:
        """All three as registered models."""
        return [
            Known("a" * 64, "anima", "weights", v.sketch(self.anima), "anima"),
            Known("b" * 64, "animayume", "weights", v.sketch(self.yume), "animayume"),
            Known("c" * 64, "rdbt", "weights", v.sketch(self.rdbt), "rdbt"),
        ]


def make_world(seed: int, size: float) -> World:
    """A world whose RDBT differs from its ancestor by `size` of the weights, at rank 24."""
    anima = v.weights(seed)
    yume = v.summed(anima, (1.0, v.dense(seed + 1, 0.01)), (1.0, v.lora(seed + 2, 0.01, 64)))
    change = v.lora(seed + 3, size, 24, v.as_rdbt)
    return World(anima, yume, change, v.summed(anima, (1.0, change)))


def disguises(world: World, seed: int) -> Iterator[tuple[str, float, Sketch]]:
    """What holds the RDBT-like change: a name, its true strength, and the sketch."""
    a, d = world.anima, world.change
    style, other = v.lora(seed + 4, 0.02, 32), v.lora(seed + 5, 0.03, 16)
    tuned = v.dense(seed + 6, 0.05)
    copies: list[tuple[str, str, v.Rounding]] = [
        ("bf16", "BF16", v.bf16),
        ("fp16", "F16", v.fp16),
        ("fp8", "F8_E4M3", v.fp8),
        ("fp8 with scales", "F8_E4M3", v.scaled_fp8),
        ("int8", "I8", v.int8),
    ]
    for name, code, rounding in copies:
        yield (
            f"copy in {name}",
            1.0,
            v.sketch({n: rounding(x) for n, x in world.rdbt.items()}, code),
        )
    for strength in (1.0, 0.5, 0.2, 0.1):
        merged = v.summed(a, (strength, d))
        yield f"merge at {strength}", strength, v.sketch(merged)
        with_style = v.summed(a, (strength, d), (0.8, style))
        yield f"merge at {strength}, and a style at 0.8", strength, v.sketch(with_style)
        in_fp8 = {n: v.fp8(x) for n, x in merged.items()}
        yield f"merge at {strength}, cast to fp8", strength, v.sketch(in_fp8, "F8_E4M3")
        later = v.summed(v.summed(a, (strength, d)), (1.0, tuned))
        yield f"merge at {strength}, then 5 % dense fine-tune", strength, v.sketch(later)
    between = v.summed(a, (0.3, {n: world.rdbt[n] - a[n] for n in a}))
    yield "mean of checkpoints, 0.7 to 0.3", 0.3, v.sketch(between)
    yume = {n: world.yume[n] - a[n] for n in a}
    yield "three-way merge", 1 / 3, v.sketch(v.summed(a, (1 / 3, d), (1 / 3, yume), (1 / 3, other)))
    yield "on AnimaYume", 1.0, v.sketch(v.summed(world.yume, (1.0, d)))


def innocents(world: World, seed: int) -> Iterator[tuple[str, Sketch]]:
    """Siblings without the change, endlessly: fine-tunes, merges and casts of the ancestor."""
    a, yume = world.anima, {n: world.yume[n] - world.anima[n] for n in world.anima}
    makers: list[tuple[str, Callable[[int], v.Values]]] = [
        ("style LoRA, 1 %", lambda n: v.summed(a, (1.0, v.lora(n, 0.01, 16)))),
        ("style LoRA, 5 %", lambda n: v.summed(a, (0.8, v.lora(n, 0.06, 32)))),
        ("RDBT's modules and rank", lambda n: v.summed(a, (1.0, v.lora(n, 0.01, 24, v.as_rdbt)))),
        (
            "three styles",
            lambda n: v.summed(a, *((0.6, v.lora(n * 3 + k, 0.02, 32)) for k in range(3))),
        ),
        ("fine-tune, 1 %", lambda n: v.summed(a, (1.0, v.dense(n, 0.01)))),
        ("fine-tune, 5 %", lambda n: v.summed(a, (1.0, v.dense(n, 0.05)))),
        ("half AnimaYume", lambda n: v.summed(a, (0.5, yume), (0.5, v.lora(n, 0.02, 8)))),
        ("AnimaYume and a style", lambda n: v.summed(world.yume, (0.7, v.lora(n, 0.02, 32)))),
    ]
    casts: list[tuple[str, str, v.Rounding]] = [
        ("bf16", "BF16", v.bf16),
        ("fp16", "F16", v.fp16),
        ("fp8", "F8_E4M3", v.fp8),
        ("int8", "I8", v.int8),
    ]
    number = 0
    while True:
        name, make = makers[number % len(makers)]
        cast, code, rounding = casts[(number // len(makers)) % len(casts)]
        made = make(seed + 1000 + number)
        yield f"{name}, {cast}", v.sketch({n: rounding(x) for n, x in made.items()}, code)
        number += 1


def about_rdbt(suspect: Sketch, known: list[Known]) -> Finding:
    """The finding about the RDBT-like model alone."""
    about = [one for one in known if one.model == "rdbt"]
    return recognise_base(suspect, known, ancestors=ANCESTORS, about=about)[0]


def found_section(seeds: int, command: str) -> Section:
    """What is found in every disguise, for changes of each size."""
    rows: dict[str, list[str]] = {}
    for size in SIZES:
        found: dict[str, list[tuple[float, Finding]]] = {}
        for seed in range(seeds):
            say(f"disguises: {size:.1%} of the weights, seed {seed}")
            world = make_world(100 * seed, size)
            known = world.known()
            for name, strength, suspect in disguises(world, 100 * seed):
                found.setdefault(name, []).append((strength, about_rdbt(suspect, known)))
        for name, findings in found.items():
            rows.setdefault(name, []).append(_summary(findings))
    head = ["disguise", *(f"change of {size:.1%}" for size in SIZES)]
    return Section(
        "Recognising an RDBT-like change",
        command,
        [head, *([name, *cells] for name, cells in rows.items())],
        (
            f"Each cell: in how many of {seeds} worlds it was found, and the largest error of the strength "
            "relative to the true one. Ancestor, a fine-tune of it and the RDBT-like model (rank 24, blocks "
            "3-27, no adaln) are registered; a world is a seed. `same` is a copy recognised value by value.",
        ),
    )


def _summary(findings: list[tuple[float, Finding]]) -> str:
    outcomes = Counter(finding.outcome for _, finding in findings)
    there = outcomes["same"] + outcomes["contains"]
    text = f"{there}/{len(findings)}"
    if outcomes["same"]:
        text += " same"
    errors = [
        abs(finding.strength / strength - 1)
        for strength, finding in findings
        if finding.strength is not None and finding.outcome == "contains"
    ]
    return f"{text}, {max(errors):.1%}" if errors else text


def alarms_section(count: int, command: str) -> Section:
    """How often something is found in siblings that were made without it."""
    per_size = -(-count // len(SIZES))
    table = [["change of", "siblings", "false alarms", "undecided", "largest z"]]
    for size in SIZES:
        world = make_world(7, size)
        known = world.known()
        outcomes: Counter[str] = Counter()
        largest = 0.0
        for number, (_, suspect) in zip(range(per_size), innocents(world, 7), strict=False):
            if number % 50 == 0:
                say(f"siblings: {size:.1%}, {number} of {per_size}")
            finding = about_rdbt(suspect, known)
            outcomes[finding.outcome] += 1
            largest = max(largest, finding.z or 0.0)
        table.append(
            [
                f"{size:.1%}",
                str(per_size),
                str(outcomes["same"] + outcomes["contains"]),
                str(outcomes["undecided"]),
                f"{largest:.1f}",
            ]
        )
    return Section(
        "False alarms in siblings built without it",
        command,
        table,
        (
            "Eight kinds of siblings in turn (style LoRAs of 1 to 5 %, also with RDBT's own rank and "
            "modules, fine-tunes of 1 and 5 %, merges with AnimaYume), each in bf16, fp16, fp8 and int8 in "
            "turn. The largest z is that of the estimate of the strength.",
        ),
    )


def adapters_section(seeds: int, command: str) -> Section:
    """Adapters that hold the change, and adapters that do not."""
    table = [["adapter", *(f"change of {size:.1%}" for size in SIZES)]]
    rows: dict[str, list[str]] = {}
    for size in SIZES:
        found: dict[str, list[tuple[float, Finding]]] = {}
        for seed in range(seeds):
            world = make_world(100 * seed, size)
            known = world.known()
            about = [one for one in known if one.model == "rdbt"]
            style = v.lora(100 * seed + 4, 0.02, 32)
            united = {n: 0.5 * world.change.get(n, 0.0) + style[n] for n in style}
            suspects = {
                "the LoRA itself": (1.0, world.change),
                "a tenth of it": (0.1, {n: 0.1 * x for n, x in world.change.items()}),
                "half of it, merged with a style of 2 %": (0.5, united),
                "a style of 2 % alone": (0.0, style),
            }
            for name, (strength, values) in suspects.items():
                finding = recognise_adapter(
                    v.sketch(values), known, ancestors=ANCESTORS, about=about
                )[0]
                found.setdefault(name, []).append((strength, finding))
        for name, findings in found.items():
            rows.setdefault(name, []).append(_summary(findings))
    table += [[name, *cells] for name, cells in rows.items()]
    return Section(
        "The change in adapters",
        command,
        table,
        ("The ancestor and the RDBT-like checkpoint are known.",),
    )


def main() -> None:
    """Print the sections asked for as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--siblings", type=int, default=SIBLINGS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.parse_args()
    command = command_line("trace", siblings=given.siblings, seeds=given.seeds)
    print(found_section(given.seeds, command).markdown())
    print("\n" + adapters_section(given.seeds, command).markdown())
    print("\n" + alarms_section(given.siblings, command).markdown())


if __name__ == "__main__":
    main()
