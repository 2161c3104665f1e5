"""Parts of an adapter left out: components, blocks, kinds, or modules by pattern."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import fsum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from lorakit.adapters.loading import load_adapter
from lorakit.adapters.pieces import Pieces, pieces_in
from lorakit.errors import BadUsage, LorakitError
from lorakit.formats import anima
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.layouts import WritableLayout
from lorakit.gate.derived import Progress
from lorakit.merging.converting import own_layout
from lorakit.merging.provenance import made, still_true
from lorakit.merging.result import size_note
from lorakit.merging.writing import WrittenAdapter, write_pieces
from lorakit.sketches.norms import delta_norms
from lorakit.stack import ResolvedEntry
from lorakit.strengths.spans import Span, parse_span
from lorakit.strengths.strength import ALL_KINDS

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


@dataclass(frozen=True)
class Cut:
    """Which modules are meant: those that everything given here names. Empty means "any".

    With `keep` they are what stays, else what goes. Raises `BadUsage` for a name that does not exist, and
    where nothing is given.
    """

    components: tuple[str, ...] = ()
    blocks: tuple[Span, ...] = ()
    kinds: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    keep: bool = False

    def __post_init__(self) -> None:
        if not (self.components or self.blocks or self.kinds or self.modules):
            raise BadUsage(
                "Nothing to prune was named.",
                hint="Give --component, --blocks, --kinds or --modules; --keep turns their sense round.",
            )
        for given, known, what in (
            (self.components, anima.COMPONENTS, "component"),
            (self.kinds, ALL_KINDS, "kind"),
        ):
            if unknown := [name for name in given if name not in known]:
                raise BadUsage(
                    f"There is no {what} {unknown[0]!r}.", hint=f"There are: {', '.join(known)}."
                )

    def stays(self, module: str) -> bool:
        """Whether a module, by its canonical name, is in the result."""
        return self._names(module) == self.keep

    def _names(self, module: str) -> bool:
        component = anima.component_of(module)
        block = anima.block_of(module)
        return (
            (not self.components or component in self.components)
            and (not self.blocks or any(block in span for span in self.blocks))
            and (not self.kinds or (component == "dit" and anima.kind_of(module) in self.kinds))
            and (not self.modules or any(fnmatchcase(module, one) for one in self.modules))
        )

    def misses(self, modules: Collection[str]) -> tuple[str, ...]:
        """What was given and names none of `modules` (canonical names), as it was given."""
        alone = {
            **{one: Cut(components=(one,)) for one in self.components},
            **{f"blocks {one}": Cut(blocks=(one,)) for one in self.blocks},
            **{one: Cut(kinds=(one,)) for one in self.kinds},
            **{one: Cut(modules=(one,)) for one in self.modules},
        }
        return tuple(
            name for name, one in alone.items() if not any(one._names(module) for module in modules)
        )

    def options(self) -> dict[str, Any]:
        """What the record of the making keeps."""
        found = {
            "components": list(self.components),
            "blocks": [str(span) for span in self.blocks],
            "kinds": list(self.kinds),
            "modules": list(self.modules),
        }
        return {**{name: value for name, value in found.items() if value}, "keep": self.keep}


def parse_blocks(text: str | None) -> tuple[Span, ...]:
    """`0-2,20-27` as spans. Raises `BadUsage`."""
    return tuple(parse_span(part) for part in (text or "").split(",") if part.strip())


@dataclass(frozen=True)
class Part:
    """The modules of one kind: how many stay, how many go, and the share of all energy of the latter.

    `share` is None where the change of some depends on a base.
    """

    kind: str
    stay: int
    go: int
    share: float | None


@dataclass(frozen=True)
class Pruned:
    """What a cut takes away, by kind and in all; the blocks of which nothing is left; and what of the cut
    names nothing in the adapter."""

    parts: tuple[Part, ...]
    total: Part
    blocks: tuple[int, ...]
    missed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "dropped": self.total.go,
            "kept": self.total.stay,
            "dropped_energy": self.total.share,
            "blocks_gone": list(self.blocks),
            "names_nothing": list(self.missed),
            "kinds": [
                {"kind": p.kind, "kept": p.stay, "dropped": p.go, "dropped_energy": p.share}
                for p in self.parts
            ],
        }


def prune(
    catalog: Catalog,
    entry: ResolvedEntry,
    cut: Cut,
    output: str | Path,
    *,
    layout: WritableLayout | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> WrittenAdapter:
    """Write what `cut` leaves of the adapter of `entry` to `output`, if its terms allow another form.

    Raises `LorakitError` where nothing would go, or nothing would be left.
    """
    _require_both(entry.report, cut)
    keep_names = layout is None
    layout = layout or own_layout(entry.report)
    options = {**cut.options(), **({"keep_names": True} if keep_names else {})}

    def opened() -> Pieces:
        pieces = pieces_in(entry.path)
        staying = {name: piece for name, piece in pieces.modules.items() if cut.stays(name)}
        return replace(pieces, modules=staying, keep_names=keep_names)

    return write_pieces(
        catalog,
        opened,
        kind="re-encoded adapter",
        what=f"a part of {entry.name}",
        ingredients=[entry],
        output=output,
        layout=layout,
        dtype=dtype,
        made=made("prune", layout=layout, dtype=dtype, options=options),
        metadata={**still_true(entry.report.metadata), **_size_note(entry.report, cut)},
        # What stood in the header of the whole is not true of a part.
        lead_back=False,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def what_goes(entry: ResolvedEntry, cut: Cut) -> Pruned:
    """What `cut` takes from the adapter of `entry`, and how much of its energy that is."""
    _require_both(entry.report, cut)
    adapter = load_adapter(entry.path)
    norms = delta_norms(adapter)
    names = [module.name for module in entry.report.modules]
    known = all(name in norms for name in names if name in adapter.modules)
    energies = {name: norm**2 for name, norm in norms.items()} if known else {}
    whole = fsum(energies.values())
    kinds = Counter(anima.kind_or_component(name) for name in names)
    parts = [
        _part(kind, [n for n in names if anima.kind_or_component(n) == kind], cut, energies, whole)
        for kind in kinds
    ]
    gone = {anima.block_of(n) for n in names} - {anima.block_of(n) for n in names if cut.stays(n)}
    return Pruned(
        tuple(parts),
        _part("all", names, cut, energies, whole),
        tuple(sorted(block for block in gone if block is not None)),
        cut.misses(names),
    )


def _part(
    kind: str, names: Sequence[str], cut: Cut, energies: Mapping[str, float], whole: float
) -> Part:
    go = [name for name in names if not cut.stays(name)]
    share = fsum(energies.get(name, 0.0) for name in go) / whole if whole else None
    return Part(kind, len(names) - len(go), len(go), share)


def _require_both(report: AdapterReport, cut: Cut) -> None:
    staying = sum(cut.stays(module.name) for module in report.modules)
    if not report.modules or 0 < staying < len(report.modules):
        return
    what = "nothing would be left" if not staying else "nothing in it is to go"
    missed = cut.misses([module.name for module in report.modules])
    why = f", since no module of it fits {' or '.join(map(repr, missed))}" if missed else ""
    raise LorakitError(
        f"{report.path} is not pruned: {what}{why}.",
        hint=f"`lorakit inspect {quote(str(report.path))}` shows which blocks and kinds it changes.",
    )


def _size_note(report: AdapterReport, cut: Cut) -> dict[str, str]:
    """The size of the model, where the blocks that stay would tell another one."""
    staying = [module.name for module in report.modules if cut.stays(module.name)]
    return size_note(staying, report.model_blocks)
