"""`lorakit verify`: whether a file holds what it says it was made from."""

from __future__ import annotations

from contextlib import suppress
from math import floor, log10
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet, looks_like_path
from lorakit.cli.output import Output
from lorakit.counting import counted_rows
from lorakit.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.merging.verifying.deviations import Deviation
    from lorakit.merging.verifying.verification import Look, Verification
    from lorakit.stack import Stack

EXAMPLE = "lorakit verify merged.safetensors"
# Beyond so many, tensors and names are counted and not listed.
_LISTED = 5


def verify_verb(
    file: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="A merged, resized, converted, pruned or extracted adapter, or a merged checkpoint.",
            show_default=False,
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="STACK",
            help="What it should hold, in place of what its header says: a stack, or a file with one.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", "-b", help="The checkpoint it was made on, by name or as a file."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell whether a file holds what it says it was made from, to the bit.

    OUT is made again in memory, as its header says, from ingredients that are
    found in the catalog by content. With --recipe any adapter or checkpoint is
    compared with what the stack should give, whatever program wrote it. Where
    it differs, it says where, and which strengths would explain it. Exit code
    0 means identical or equal within rounding, 1 that it differs. Nothing is
    written.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.merging.verifying.verify import verify

    out = Output.of("verify", json, quiet)
    with open_catalog() as catalog, out.progress("Verifying") as update:
        found = verify(
            catalog,
            _path(catalog, file),
            recipe=None if recipe is None else _stack(catalog, recipe),
            base=base,
            on_progress=update,
        )
    out.result(
        {**found.to_dict(), "sentence": sentence(found)},
        human=lambda console: show(console, found),
        ids=[found.outcome],
    )
    if found.outcome == "differs":
        raise typer.Exit(1)


def _path(catalog: Catalog, name: str) -> str:
    """The file of OUT: a path, PEFT's folder, or the name of a base or an adapter."""
    from lorakit.formats.peft_folder import adapter_file
    from lorakit.paths import expanded

    path = adapter_file(expanded(name))
    if path.exists():
        return str(path)
    if looks_like_path(name):
        raise NotFound(f"There is no file {name}.")
    with suppress(NotFound):
        return str(catalog.base(name).path)
    return str(catalog.resolve(name).existing_path())


def _stack(catalog: Catalog, text: str) -> Stack:
    from lorakit.cli.stack_argument import find_given

    return find_given(catalog, text).stack


def sentence(found: Verification) -> str:
    """The outcome in one sentence."""
    if found.outcome == "identical":
        return (
            f"{found.path.name} is {found.how}: all of it, {counted_rows(found.tensors, 'tensor')} and "
            f"{found.values:,} values, bit by bit."
        )
    if found.outcome == "rounding":
        if not found.to_the_bit:
            return f"{found.path.name} is {found.how}, within the rounding of its dtype."
        why = (
            "are others, as its header has another recipe for the same change"
            if found.recipe
            else "rounded otherwise, as another machine, device or version does"
        )
        return (
            f"{found.path.name} is {found.how}, within rounding: {found.differing:,} of "
            f"{found.values:,} values {why}."
        )
    return f"{found.path.name} is not {found.how}."


def show(console: Console, found: Verification) -> None:
    """The outcome for a person: the sentence, what explains it, and where it lies."""
    from lorakit.cli.render import notes, rows

    console.print(sentence(found), style="bold")
    for line in found.recipe:
        console.print(line)
    for line in _explanation(found):
        console.print(line)
    told = found.outcome == "differs" or found.to_the_bit
    shown = found.deviations[:_LISTED] if told else ()
    if shown:
        rows(
            console,
            ("where", "values", "differing", "largest", "relative"),
            [_row(one) for one in shown],
            right=("values", "differing", "largest", "relative"),
        )
        if len(found.deviations) > len(shown):
            by_less = "" if any(one.shapes for one in shown) else ", by less"
            more = len(found.deviations) - len(shown)
            differ = "differs" if more == 1 else "differ"
            console.print(f"{counted_rows(more, 'more tensor')} {differ}{by_less}.")
    notes(console, _notes(found))


def _row(one: Deviation) -> tuple[str, ...]:
    """Of a tensor of another shape, the shapes: its values cannot be compared."""
    if one.shapes is not None:
        found, wanted = ("×".join(map(str, shape)) or "one number" for shape in one.shapes)
        return _place(one), found, f"not {wanted}", "", ""
    relative = "" if one.relative is None else f"{one.relative:.2g}"
    return _place(one), f"{one.values:,}", f"{one.differing:,}", f"{one.largest:.2g}", relative


def _place(one: Deviation) -> str:
    """The module, and which of its factors where it has several."""
    part = one.key.removesuffix(".weight").rpartition(".")[2]
    return f"{one.module} {part}" if part.startswith("lora_") else one.module


def _explanation(found: Verification) -> Iterator[str]:
    """What the change is beside what was expected, and which strengths would explain it."""
    fit = found.fit
    if fit is None:
        return
    if found.outcome != "differs":
        if not found.to_the_bit:
            yield f"The change differs by {_share(fit.error)} of its size."
        return
    if fit.error < _SAME and found.recipe:
        yield "Its change is that of the recipe all the same; what differs is how it is written."
        return
    yield (
        f"Its change is {fit.gain:.4g} times as strong as expected, and differs from it by "
        f"{_share(fit.error)} of its size."
    )
    common = found.common_gain
    if common is not None and len(found.looks) > 1:
        yield f"Every entry has {_times(common)} the strength it should have."
    for look in found.looks:
        if look.striking and not found.by_block:
            yield _looks_like(look)
    for look, spans in zip(found.looks, found.by_block, strict=False):
        if any(abs(span.gain - 1) > _NOTICEABLE for span in spans):
            parts = ", ".join(f"{_times(span.gain)} in {_blocks(span.blocks)}" for span in spans)
            yield f"{look.name} looks like this much of its strength: {parts}."
    if found.unexplained is not None:
        where = ", ".join(name for name, _ in fit.worst[:3])
        yield (
            f"Strengths leave {_share(found.unexplained)} unexplained: another method or rank, another "
            f"adapter, or damage. Most of it is in {where}."
        )


# A change that differs by no more of its size is that of rounding factors to float32.
_SAME = 1e-5
# A gain that differs from 1 by this much is worth a sentence.
_NOTICEABLE = 0.01


def _blocks(span: str) -> str:
    return f"block{'s' if '-' in span else ''} {span}" if span[:1].isdigit() else span


def _looks_like(look: Look) -> str:
    if look.stated.is_plain:
        error = abs(look.error * look.stated.base)
        digits = min(max(2, 1 - floor(log10(error))), 4) if error else 4
        value = f"{round(look.strength, digits) + 0.0:.{digits}f}".rstrip("0").rstrip(".")
        return f"{look.name} looks like {value}; it should be {look.stated}."
    return f"{look.name} looks like {_times(look.gain)} {look.stated}."


def _times(gain: float) -> str:
    return "half" if abs(gain - 0.5) < 0.002 else f"{gain:.4g} times"


def _share(value: float) -> str:
    return f"{value * 100:.2g}%" if value < 0.995 else f"{value:.3g} times"


def _notes(found: Verification) -> list[str]:
    valued = [one for one in found.deviations if one.shapes is None]
    remarks = dict.fromkeys(one.remark for one in valued if one.remark)
    notes = []
    for remark in remarks:
        count = sum(one.remark == remark for one in found.deviations)
        notes.append(f"1 tensor {remark}." if count == 1 else f"{count} tensors: each {remark}.")
    shaped = len(found.deviations) - len(valued)
    if shaped:
        notes.append(
            f"Tensors of another shape than they should have, whose values are not compared: {shaped} of "
            f"{found.tensors}."
        )
    lone = sum(one.alone for one in valued)
    if lone and found.outcome == "differs":
        alike = "nothing beside it differs" if lone == 1 else "nothing beside them differs"
        notes.append(f"{counted_rows(lone, 'value')}: {alike} likewise, which is no rounding.")
    for names, words in ((found.missing, "missing"), (found.extra, "that should not be there")):
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            notes.append(
                f"{counted_rows(len(names), 'tensor')} {words}: {', '.join(names[:_LISTED])}{more}."
            )
    return [*notes, *found.remarks]
