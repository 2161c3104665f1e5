"""Giving and counting votes from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.catalogs import open_catalog
from lorakit.cli.output import Mode, Output
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.records import ComparisonRecord
    from lorakit.preview.ab.tally import Tally


def give_votes(out: Output, which: str, words: Sequence[str]) -> None:
    """Keep the votes in `words`, in the file that `which` names, or those asked for one by one."""
    from lorakit.preview.ab.ballots import choices, parse_ballots, read_ballots

    with open_catalog() as catalog:
        if is_file(expanded(which)):
            if words:
                raise BadUsage("Votes come from a file or from the command line, not from both.")
            name, ballots = read_ballots(expanded(which))
            record = catalog.comparison(name)
        else:
            record = _find(catalog, which)
            ballots = parse_ballots(words, len(record.pairs))
        if ballots:
            catalog.vote(record.name, choices(ballots, order_of(record)))
        elif not is_file(expanded(which)):
            _ask(out, catalog, record)
        record = catalog.comparison(record.name)
    _report(out, [record], reveal=False)


def show_votes(out: Output, which: str | None, reveal: bool) -> None:
    """The tally of one comparison, or of all."""
    with open_catalog() as catalog:
        records = catalog.comparisons() if which is None else [_find(catalog, which)]
    _report(out, records, reveal=reveal)


def order_of(record: ComparisonRecord) -> tuple[bool, ...]:
    """For each pair whether the second side was shown as A."""
    from lorakit.preview.ab.ballots import second_is_a

    return second_is_a(record.order_seed, len(record.pairs), blind=record.blind)


def _find(catalog: Catalog, which: str) -> ComparisonRecord:
    """By folder, where it is one, else by name."""
    path = expanded(which)
    return catalog.comparison(str(path.absolute()) if path.is_dir() else which)


def _ask(out: Output, catalog: Catalog, record: ComparisonRecord) -> None:
    """Ask for a vote on each pair that has none; each is kept at once."""
    from lorakit.preview.ab.ballots import choices

    order = order_of(record)
    for number, (prompt, seed) in enumerate(record.pairs, start=1):
        if number in record.votes:
            continue
        files = _files(record, number)
        out.say(f"Pair {number} of {len(record.pairs)}: {prompt or '(no prompt)'}, seed {seed}")
        for letter, file in zip("AB", files, strict=True):
            out.say(f"  {letter}  {file}")
        if out.mode is Mode.HUMAN:
            _show_pair(files)
        answer = _answer()
        if answer is None:
            return
        if answer:
            catalog.vote(record.name, choices({number: answer}, order))


def _answer() -> str | None:
    """a, b or same; empty to pass over; None at the end of the input."""
    while True:
        print("a, b, = (the same), s (skip) or q (stop): ", end="", file=sys.stderr, flush=True)  # noqa: T201
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line or word == "q":
            return None
        if word in ("a", "b", "s", "", "=", "same"):
            return {"=": "same", "s": "", "": ""}.get(word, word)


def _files(record: ComparisonRecord, number: int) -> tuple[Path, Path]:
    digits = len(str(len(record.pairs)))
    first, second = (
        Path(record.folder) / "pictures" / f"pair{number:0{digits}}-{letter}.png" for letter in "ab"
    )
    return first, second


def _show_pair(files: tuple[Path, Path]) -> None:
    from lorakit.cli.terminal import show_picture, why_not_shown

    if why_not_shown() is not None or not all(map(is_file, files)):
        return
    from PIL import Image

    from lorakit.preview.sheet import side_by_side

    with Image.open(files[0]) as first, Image.open(files[1]) as second:
        show_picture(side_by_side([("A", first.convert("RGB")), ("B", second.convert("RGB"))]))


def _report(out: Output, records: Sequence[ComparisonRecord], *, reveal: bool) -> None:
    tallies = [tally_of(record) for record in records]
    shown = [
        reveal or not r.blind or t.voted == t.pairs for r, t in zip(records, tallies, strict=True)
    ]
    found = list(zip(records, tallies, shown, strict=True))
    totals = _totals(records, tallies) if all(shown) else []
    out.result(
        {
            "comparisons": [_document(*one) for one in found],
            "totals": [_counted(names, tally) for names, tally in totals],
        },
        human=lambda console: _print(console, found, totals),
        ids=[record.name for record in records],
    )


def tally_of(record: ComparisonRecord) -> Tally:
    """The votes of a comparison, counted."""
    from lorakit.preview.ab.tally import Tally

    return Tally.of(record.votes, order_of(record))


def _names(record: ComparisonRecord) -> tuple[str, str]:
    first, second = (str(side["name"]) for side in record.sides)
    return first, second


def _totals(
    records: Sequence[ComparisonRecord], tallies: Sequence[Tally]
) -> list[tuple[tuple[str, str], Tally]]:
    """Several comparisons of the same content, as one."""
    from lorakit.preview.ab.tally import Tally

    groups: dict[frozenset[str], list[tuple[ComparisonRecord, Tally]]] = {}
    for record, tally in zip(records, tallies, strict=True):
        first, second = map(_content, record.sides)
        group = groups.setdefault(frozenset((first, second)), [])
        same_way = not group or _content(group[0][0].sides[0]) == first
        group.append((record, tally if same_way else tally.turned()))
    return [
        (_names(group[0][0]), Tally.total(tally for _, tally in group))
        for group in groups.values()
        if len(group) > 1
    ]


def _content(side: Any) -> str:  # noqa: ANN401 - a side as the catalog keeps it
    return "\n".join([str(side["base_sha256"]), str(side["stack"]), *map(str, side["adapters"])])


def _document(record: ComparisonRecord, tally: Tally, shown: bool) -> dict[str, Any]:
    order = order_of(record)
    facts = {
        "comparison": record.name,
        "folder": record.folder,
        "made_at": record.made_at,
        "blind": record.blind,
        "pairs": tally.pairs,
        "voted": tally.voted,
    }
    if not shown:
        return {**facts, "sides": None}
    votes = [
        {
            "pair": pair,
            "prompt": record.pairs[pair - 1][0],
            "seed": record.pairs[pair - 1][1],
            "a": _names(record)[int(order[pair - 1])],
            "choice": None if choice == "same" else _names(record)[int(choice == "second")],
        }
        for pair, choice in sorted(record.votes.items())
    ]
    return {**facts, **_counted(_names(record), tally), "sides": record.sides, "votes": votes}


def _counted(names: tuple[str, str], tally: Tally) -> dict[str, Any]:
    low, high = tally.interval
    return {
        "names": list(names),
        "first": tally.first,
        "second": tally.second,
        "same": tally.same,
        "second_share": tally.second / tally.decided if tally.decided else None,
        "interval_95": [low, high],
        "p_value": tally.p_value,
        "chosen_as_a": tally.as_a,
        "verdict": tally.verdict(*names),
    }


def _print(
    console: Console,
    found: Sequence[tuple[ComparisonRecord, Tally, bool]],
    totals: Sequence[tuple[tuple[str, str], Tally]],
) -> None:
    from lorakit.cli.render import heading

    if not found:
        console.print("No comparison has been made: `lorakit ab run`.", style="dim")
    for number, (record, tally, shown) in enumerate(found):
        if number:
            console.print()
        kind = "blind, " if record.blind else ""
        heading(console, record.name, f"{kind}{tally.voted} of {tally.pairs} pairs voted")
        if shown:
            _print_tally(console, _names(record), tally)
        else:
            console.print(
                "Names and counts stay hidden until every pair is voted; --reveal shows them."
            )
    for names, tally in totals:
        console.print()
        heading(
            console, "Together", f"{names[0]} and {names[1]}, {counted_rows(tally.voted, 'vote')}"
        )
        _print_tally(console, names, tally)


def _print_tally(console: Console, names: tuple[str, str], tally: Tally) -> None:
    from lorakit.cli.render import rows

    low, high = tally.interval
    shares = ("", "")
    if tally.decided:
        share = tally.second / tally.decided
        shares = (
            f"{1 - share:.0%} ({1 - high:.0%} to {1 - low:.0%})",
            f"{share:.0%} ({low:.0%} to {high:.0%})",
        )
    rows(
        console,
        ("side", "chosen", "of those decided (95 % interval)"),
        [
            (names[0], str(tally.first), shares[0]),
            (names[1], str(tally.second), shares[1]),
            ("neither", str(tally.same), ""),
        ],
        right=("chosen",),
    )
    console.print(tally.verdict(*names))
    if tally.decided >= 10:
        console.print(
            f"A was chosen in {tally.as_a} of {tally.decided} decided pairs.", style="dim"
        )
