"""`lorakit preview NAME --cover`: the picture that stands for an adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.cli.output import Output
from lorakit.cli.preview_dry import show_plan
from lorakit.cli.preview_plan import Plan, Wanted, plan_pictures, require_extra
from lorakit.cli.preview_run import check_files, finish, run_plan, say_advice
from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.preview.cover import Recommended
    from lorakit.stack import ResolvedEntry


def render_cover(
    out: Output,
    wanted: Wanted,
    *,
    device: str,
    components: str | None,
    compiled: bool,
    force: bool,
    strict: bool,
    beside: bool,
    dry_run: bool,
    show: bool,
) -> None:
    """Render the cover of the one adapter in `wanted.stack` into the catalog's folder.

    With `beside` also as NAME.preview.png, which is never overwritten. A dry run says what it would do.
    Raises `BadUsage` for more than one adapter or picture, and for a file that is there already.
    """
    from lorakit.cli.catalogs import open_catalog

    if not dry_run:
        require_extra()
    with open_catalog() as catalog:
        plan, recommended = _plan(catalog, wanted)
    (entry,) = plan.entries
    target, copy = _places(entry, force=force, beside=beside)
    say_advice(out, plan, strict)
    out.say(f"{entry.name} at strength {recommended.strength:g}: {recommended.source}.")
    made = {
        "adapter": entry.name,
        "path": str(target),
        "beside": None if copy is None else str(copy),
        "strength": recommended.strength,
        "strength_source": recommended.source,
    }
    if dry_run:
        show_plan(out, plan, [target], {"cover": made})
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    check_files([target], force)
    document = run_plan(
        out,
        plan,
        [target],
        device=device,
        components=components,
        compiled=compiled,
        # A cover that has come about meanwhile is the same adapter's.
        force=True,
        show=show,
    )
    if copy is not None:
        _copy(target, copy)
        out.say(f"Also written as {copy}.")
    finish(out, {**document, "cover": made})


def _places(entry: ResolvedEntry, *, force: bool, beside: bool) -> tuple[Path, Path | None]:
    """Where the cover goes, and where its copy does. Raises `BadUsage` for one that is there."""
    from lorakit.catalog.covers import cover_path

    # What comes from the catalog has its hashes.
    assert entry.tensor_sha256 is not None
    target = cover_path(entry.tensor_sha256)
    if target.exists() and not force:
        raise BadUsage(
            f"{entry.name} has a cover already.", hint="--overwrite renders another one."
        )
    copy = entry.path.with_name(f"{entry.path.stem}.preview.png") if beside else None
    if copy is not None and copy.exists():
        raise BadUsage(
            f"{copy} exists already and is never overwritten.", hint="Leave --beside out."
        )
    return target, copy


def _plan(catalog: Catalog, wanted: Wanted) -> tuple[Plan, Recommended]:
    """The plan for the one adapter, at its recommended strength unless another was given."""
    from lorakit.cli.stack_argument import find_given
    from lorakit.preview.advice import with_triggers
    from lorakit.preview.cover import SUBJECT, Recommended, recommended_strength
    from lorakit.preview.recipes import stacked
    from lorakit.stack import Entry, resolve_stack
    from lorakit.strengths import Strength

    stack = find_given(catalog, wanted.stack).stack
    if len(stack) != 1:
        raise BadUsage(
            "A cover shows one adapter.", hint="For example: lorakit preview ink --cover"
        )
    (asked,) = stack
    # Covers are the catalog's, so a file has to be in it.
    record = catalog.resolve(asked.name, whole=True)
    name = f"sha256:{record.file_sha256}"
    (entry,) = resolve_stack([Entry(name, asked.strength)], catalog)
    recommended = Recommended(asked.strength.headline, "as given")
    strength: Strength | float = asked.strength
    if asked.strength == Strength(1.0):
        recommended = _suggested(catalog, record) or recommended_strength(entry.report)
        strength = recommended.strength
    prompts = wanted.prompts or [with_triggers(SUBJECT, stacked([entry]))]
    plan = plan_pictures(
        catalog, replace(wanted, stack=str(Entry(name, strength)), prompts=prompts)
    )
    if len(plan.pictures) != 1:
        raise BadUsage("A cover is one picture.", hint="Give one prompt, one size and one seed.")
    return plan, recommended


def _suggested(catalog: Catalog, record: AdapterRecord) -> Recommended | None:
    """What the person or another program says of its strength; None where nobody does."""
    from lorakit.cli.strength import evidence_of
    from lorakit.preview.cover import Recommended

    found = evidence_of(catalog, record)
    why = found.reason
    # Of its own header, the key is told.
    if found.value is None or why is None or why.kind == "size" or why.source == "header":
        return None
    return Recommended(found.value, why.text.rstrip("."))


def _copy(cover: Path, copy: Path) -> None:
    """Write the cover's bytes to a file that must not be there yet."""
    try:
        with copy.open("xb") as file:
            file.write(cover.read_bytes())
    except FileExistsError as error:
        raise BadUsage(f"{copy} exists already and is never overwritten.") from error
    except OSError as error:
        raise LorakitError(f"{copy} cannot be written: {error.strerror or error}.") from error
