"""How the singular values of an adapter look in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorakit.cli.render import heading, notes, rows

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.merging.spectra import Spectra

_FULL, _EMPTY = "█", "·"
_WIDTH = 30
# From here on larger ranks tell nothing more.
_ALL = 0.9999
_SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def show_spectra(console: Console, found: Spectra) -> None:
    """What rank would do, the energy that each rank keeps, and the ranks by kind."""
    console.print()
    if found.energy:
        heading(console, "Singular values", _sentence(found))
        _show_energy(console, found)
        console.print()
        _show_kinds(console, found)
    if found.unknown:
        notes(
            console,
            [
                f"{_count(found.unknown)} none: what is changed depends on the base, is stored in full and "
                f"large, or is not finite, such as {found.unknown[0]}."
            ],
        )
    elif not found.energy:
        console.print("It changes nothing, so there are no singular values.")


def _sentence(found: Spectra) -> str:
    text = f"rank {found.rank}, effective {found.effective_rank:.1f}"
    enough = found.enough()
    if enough is None:
        return f"{text}: no smaller rank keeps 99 %"
    return f"{text}: resize to {enough} keeps {_percent(found.kept(enough))}"


def _show_energy(console: Console, found: Spectra) -> None:
    ranks = [rank for rank in _SHOWN if rank < found.rank and found.kept(rank) < _ALL]
    enough = found.enough()
    shown = sorted({*ranks, found.rank, *([enough] if enough else [])})
    rows(
        console,
        ("rank", "keeps", ""),
        [(str(rank), _percent(found.kept(rank)), _bar(found.kept(rank), 1.0)) for rank in shown],
        right=("rank", "keeps"),
    )


def _show_kinds(console: Console, found: Spectra) -> None:
    rows(
        console,
        ("kind", "modules", "rank", "effective", "stable", "effective of rank"),
        [
            (
                kind,
                str(len(one.modules)),
                str(one.rank),
                f"{one.effective_rank:.1f}",
                f"{one.stable_rank:.1f}",
                _bar(one.effective_rank, one.rank),
            )
            for kind, one in found.by_kind().items()
        ],
        right=("modules", "rank", "effective", "stable"),
    )


def _count(modules: Sequence[str]) -> str:
    return "1 module has" if len(modules) == 1 else f"{len(modules)} modules have"


def _bar(value: float, whole: float) -> str:
    # Full for all of it alone.
    filled = int(_WIDTH * value / whole + 1e-9) if whole else 0
    return _FULL * filled + _EMPTY * (_WIDTH - filled)


def _percent(share: float) -> str:
    """Never rounded up to all of it."""
    shown = int(1000 * share + 1e-6) / 10
    return f"{shown:.1f} %"
