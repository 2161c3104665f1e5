"""How exactly tools merge adapters: `python -m bench.fidelity` measures it and writes docs/fidelity.md.

`--print` prints the page's part instead. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import (
    fidelity_diffusers,
    fidelity_kohya,
    fidelity_lycoris,
    fidelity_ours,
    fidelity_peft,
)
from bench.fidelity_cases import MODULES, NAMES, SEED, Case, Deltas, make_case
from bench.fidelity_figures import Figures, Refused, Tool, compare
from bench.fidelity_page import error_text, reasons, table, tables, write_part
from bench.fidelity_text import CAUSES, OTHERS_TEXT, OWN_TEXT, STATED_TEXT, SUMS_TEXT
from bench.machine import installed
from bench.tables import say

PART = "python -m bench.fidelity"
PEERS = ("peft", "lycoris-lora", "diffusers", "torch")
SUMMING: tuple[Tool, ...] = (
    *fidelity_ours.tools(),
    *fidelity_peft.tools(fidelity_peft.SUMS),
    *fidelity_lycoris.tools(),
    *fidelity_diffusers.tools(),
    *fidelity_kohya.tools(),
    fidelity_ours.nearest(),
)
OTHERS: tuple[Tool, ...] = tuple(fidelity_peft.tools(fidelity_peft.METHODS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every tool on every case, and write the page or print its part."""
    parser = argparse.ArgumentParser(prog="python -m bench.fidelity", description=__doc__)
    parser.add_argument("--print", action="store_true", help="print and leave the page as it is")
    options = parser.parse_args(arguments)
    part = measure()
    if options.print:
        print(part)
    else:
        write_part(PART, part)


def measure() -> str:
    """The page's part as Markdown."""
    cases = {name: make_case(name) for name in NAMES}
    summing = {tool.name: _row(tool, cases) for tool in SUMMING}
    others, own = {}, []
    for mode, tool in zip(fidelity_peft.METHODS, OTHERS, strict=True):
        others[tool.name], errors = _row_beside_own(mode, tool, cases)
        # Its mask is drawn at random, from numbers that another order of work would not give.
        if not mode.startswith("dare"):
            own.append([tool.name, *errors])
    letters: dict[str, str] = {}
    return "\n\n".join(
        [
            _facts(),
            table(
                ["case", "adapters"],
                [[name, case.about] for name, case in cases.items()],
                text=True,
            ),
            "## Sums",
            SUMS_TEXT,
            tables(summing, NAMES, letters),
            STATED_TEXT,
            table(["relative error", *NAMES], [["stated by `merge`", *_stated(cases)]]),
            CAUSES,
            "## PEFT's other methods",
            OTHERS_TEXT,
            tables(others, NAMES, letters),
            OWN_TEXT,
            table(["relative error", *NAMES], own),
            "## What the letters stand for",
            reasons(letters),
        ]
    )


def _row(tool: Tool, cases: dict[str, Case]) -> dict[str, Figures | str]:
    say(tool.name)
    return {name: outcome(tool, case) for name, case in cases.items()}


def _row_beside_own(
    mode: str, tool: Tool, cases: dict[str, Case]
) -> tuple[dict[str, Figures | str], list[str]]:
    """A row, and the errors of the same results beside PEFT's own function on the changes themselves."""
    say(tool.name)
    row: dict[str, Figures | str] = {}
    errors = []
    for name, case in cases.items():
        made = attempt(tool, case)
        row[name] = made if isinstance(made, str) else compare(made, case.exact())
        if isinstance(made, str):
            errors.append("")
        else:
            own = fidelity_peft.on_changes(mode, case)
            errors.append(error_text(compare(made, own).error))
    return row, errors


def _stated(cases: dict[str, Case]) -> list[str]:
    found = []
    for case in cases.values():
        with TemporaryDirectory() as folder:
            found.append(error_text(fidelity_ours.stated(case, Path(folder))))
    return found


def attempt(tool: Tool, case: Case) -> Deltas | str:
    """What a tool makes of a case, or why it does not."""
    with TemporaryDirectory() as folder:
        try:
            return tool.run(case, Path(folder))
        except Refused as reason:
            return str(reason)


def outcome(tool: Tool, case: Case) -> Figures | str:
    """The figures of a tool on a case, or why there are none."""
    made = attempt(tool, case)
    return made if isinstance(made, str) else compare(made, case.exact())


def _facts() -> str:
    versions = ", ".join(f"{name} {installed(name) or 'missing'}" for name in PEERS)
    shapes = " and ".join(f"`{name}` {out} × {inner}" for name, (out, inner) in MODULES.items())
    return "\n".join(
        [
            f"- Command: `{PART}`; seed {SEED}, plus the number of the case",
            f"- Versions: lorakit {_version()}, {versions}",
            f"- Modules: {shapes}; random weights, each adapter's change 2 % of the weight's norm",
        ]
    )


def _version() -> str:
    import lorakit

    return lorakit.__version__


if __name__ == "__main__":
    main()
