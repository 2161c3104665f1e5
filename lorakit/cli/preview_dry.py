"""What `lorakit preview --dry-run` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.cli.preview_plan import Plan


def show_plan(
    out: Output, plan: Plan, files: Sequence[Path], more: Mapping[str, Any] | None = None
) -> None:
    """Write the result of a dry run; `more` goes into its JSON document."""
    out.about("plan").result(
        {**plan.to_dict(), "files": [str(path) for path in files], **(more or {})},
        human=lambda console: _show_plan(console, plan, files),
        ids=map(str, files),
    )


def _show_plan(console: Console, plan: Plan, files: Sequence[Path]) -> None:
    from lorakit.cli.render import facts, heading, rows

    heading(console, f"{len(files)} to render on {plan.base.name}", plan.recipe.title)
    stack = " ".join(f"{entry.name}:{entry.strength}" for entry in plan.entries)
    one = plan.pictures[0]
    start = f"{one.image} (denoise {one.denoise:g})" if one.image else None
    facts(
        console,
        [
            ("stack", stack or "empty: the base as it is"),
            ("steps", str(one.steps)),
            ("CFG", f"{one.cfg:g}"),
            ("shift", f"{one.shift:g}"),
            ("negative", one.negative_prompt),
            ("start image", start),
            ("prefix", plan.recipe.prefix and f"{plan.recipe.prefix}(recommended, never added)"),
            ("note", plan.recipe.note),
        ],
    )
    rows(
        console,
        ("file", "size", "seed", "prompt"),
        [
            (str(path), f"{p.width}x{p.height}", str(p.seed), p.prompt)
            for path, p in zip(files, plan.pictures, strict=True)
        ],
        right=("seed",),
    )
