"""How the figures of the fidelity page are written down, and the part of the page that a script owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase

from bench.fidelity_figures import Figures
from bench.tables import say

PAGE = Path(__file__).parents[1] / "docs" / "fidelity.md"
Results = Mapping[str, Mapping[str, Figures | str]]
"""By tool and case: what was measured, or why nothing was."""

_EXACT_BELOW = 1e-3


def write_part(name: str, text: str) -> None:
    """Put `text` on the page in place of what the script `name` wrote before."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(replace_part(page, name, text), encoding="utf-8")
    say(f"Written to {PAGE.relative_to(PAGE.parents[1])}")


def replace_part(page: str, name: str, text: str) -> str:
    """`page` with what stands between the marks of `name` replaced; a part it lacks comes last."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    part = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin not in page:
        return f"{page.strip()}\n\n{part}\n".lstrip()
    before, _, rest = page.partition(begin)
    return f"{before}{part}{rest.partition(end)[2]}"


def part_of(page: str, name: str) -> str:
    """What stands between the marks of `name`; empty where they are not there."""
    return page.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0].strip()


def tables(results: Results, cases: Sequence[str], letters: dict[str, str]) -> str:
    """Error, gain and cosine as three tables; `letters` collects the reasons behind empty cells."""
    written = (
        ("Relative error", lambda figures: error_text(figures.error)),
        ("Gain", lambda figures: f"{figures.gain:.3f}"),
        ("Cosine", lambda figures: f"{figures.cosine:.4f}"),
    )
    parts = []
    for title, write in written:
        rows = [
            [tool, *(_cell(found[case], write, letters) for case in cases)]
            for tool, found in results.items()
        ]
        parts.append(f"**{title}**\n\n{table([title.lower(), *cases], rows)}")
    return "\n\n".join(parts)


def reasons(letters: Mapping[str, str]) -> str:
    """The reasons by their letters."""
    return "\n".join(f"- ({letter}) {reason}" for reason, letter in letters.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False) -> str:
    """A Markdown table whose first column is text and whose others are figures, or text as well."""
    side = "---" if text else "---:"
    lines = [head, ["---", *[side] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def error_text(error: float) -> str:
    """An error with two digits where it is small, as a share with three decimals elsewhere."""
    return f"{error:.1e}" if error < _EXACT_BELOW else f"{error:.3f}"


def _cell(found: Figures | str, write: object, letters: dict[str, str]) -> str:
    if isinstance(found, Figures):
        assert callable(write)
        return str(write(found))
    letter = letters.setdefault(found, ascii_lowercase[len(letters)])
    return f"({letter})"
