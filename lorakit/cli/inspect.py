"""`lorakit inspect`: what is inside an adapter file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.complete import as_items, complete_names
from lorakit.cli.options import Json, Quiet, looks_like_path, read_names
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand, is_condition
from lorakit.errors import BadUsage, NotFound
from lorakit.formats.inspection import AdapterReport, inspect
from lorakit.formats.peft_folder import adapter_file
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.merging.spectra import Spectra

    Yours = dict[str, Any]

EXAMPLE = "lorakit inspect ink.safetensors"
# The names are taken as they stand and not declared as an argument: Typer converts arguments with
# pydantic, whose import would be two fifths of this verb's time.
CONTEXT_SETTINGS = {"allow_extra_args": True}
USAGE = "NAME... [OPTIONS]"
MAX_LISTED = 12


class InspectCommand(QueryCommand):
    """A command whose words are completed as names, though no argument says what they are."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401 - Typer's own
        """Options as of every command; else names of adapters."""
        found = super().shell_complete(ctx, incomplete)
        return found or as_items(complete_names(incomplete))


COMMAND = InspectCommand


def inspect_verb(
    context: typer.Context,
    hashes: Annotated[bool, typer.Option(help="Hash the file.")] = True,
    spectrum: Annotated[
        bool,
        typer.Option(
            "--spectrum",
            help="Also the singular values of what it changes, and the rank that would do.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show layout, algorithm, rank, blocks, training facts and licence.

    NAME is a file, a name in the catalog or, with others, a query as for ls; - reads names from stdin.
    """
    out = Output.of("inspect", json, quiet)
    if not context.args:
        raise BadUsage("There is no NAME.", hint=f"For example: {EXAMPLE}")
    files = find_files(read_names(context.args))
    found = []
    with out.progress("Reading") as update:
        for number, (path, yours) in enumerate(files):
            update(number, len(files), path.name)
            found.append((inspect(path, hashes=hashes), yours))
    spectra = _spectra([report for report, _ in found], out) if spectrum else {}
    out.result(
        {
            "adapters": [
                {
                    **report.to_dict(),
                    "cover": find_cover(report),
                    "embedded_cover": _embedded(report),
                    "yours": yours,
                    **({"spectrum": spectra[report.path].to_dict()} if spectrum else {}),
                }
                for report, yours in found
            ]
        },
        human=lambda console: show_all(console, found, spectra),
        ids=[str(report.path) for report, _ in found],
    )


def _spectra(reports: list[AdapterReport], out: Output) -> dict[Path, Spectra]:
    """The spectra of each file, for which its weights are read. Raises what `load_adapter` raises."""
    from lorakit.adapters.loading import load_adapter
    from lorakit.merging.spectra import spectra

    with out.progress("Singular values") as update:
        return {one.path: spectra(load_adapter(one.path), update) for one in reports}


def find_files(names: list[str]) -> list[tuple[Path, Yours | None]]:
    """The file of each name, and what is said of it beyond the file, where it is named in the catalog.

    Where one is a condition such as `rank:8..`, all of them are one query. The catalog is opened only for
    what is no path. Raises `NotFound` for a path that leads nowhere, and what `select_adapters` raises.
    """
    asked = any(is_condition(name) and not is_file(expanded(name)) for name in names)
    if not asked and all(looks_like_path(name) for name in names):
        return [(_at_path(name), None) for name in names]
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    with open_catalog() as catalog:
        if asked:
            return [_known(catalog, record) for record in select_adapters(catalog, names)]
        return [
            (_at_path(name), None)
            if looks_like_path(name)
            else _known(catalog, catalog.resolve(name))
            for name in names
        ]


def _at_path(name: str) -> Path:
    path = adapter_file(expanded(name))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"There is no file {name}.", hint="Check the spelling and the drive."
        ) from None
    except (OSError, ValueError):
        pass  # What reads it says what is the matter.
    return path


def _known(catalog: Catalog, record: AdapterRecord) -> tuple[Path, Yours]:
    from lorakit.cli.yours import known_of

    return record.existing_path(), known_of(catalog, record)


def find_cover(report: AdapterReport) -> str | None:
    """The adapter's cover; None without one, and where the file was not hashed."""
    from lorakit.catalog.covers import existing_cover

    cover = existing_cover(report.hashes.tensor_sha256) if report.hashes else None
    return None if cover is None else str(cover)


def _embedded(report: AdapterReport) -> str | None:
    """Where the picture in the header stands, and what it is; None without one."""
    from lorakit.formats.embedded_cover import embedded_cover

    cover = embedded_cover(report.metadata)
    return None if cover is None else str(cover)


def show_all(
    console: Console,
    found: list[tuple[AdapterReport, Yours | None]],
    spectra: Mapping[Path, Spectra],
) -> None:
    """The adapters one below the other, each with its spectra where they were asked for."""
    for number, (report, yours) in enumerate(found):
        if number:
            console.print()
        show(console, report, yours)
        if report.path in spectra:
            from lorakit.cli.inspect_spectrum import show_spectra

            show_spectra(console, spectra[report.path])


def show(console: Console, report: AdapterReport, yours: Yours | None = None) -> None:
    """One adapter for a person; `yours` is what is said of it beyond its file."""
    from lorakit.cli.blockmap import untouched
    from lorakit.cli.render import block_map, counted, facts, heading, notes, size
    from lorakit.counting import counted_rows

    heading(console, report.path.name, size(report.file_size))
    info, modules = report.info, [module.name for module in report.modules]
    scales = {module.scale for module in report.modules}
    alpha = counted(report.alphas) if report.alphas else "none stated"
    if len(scales) == 1 and modules:
        alpha += f" (scale {scales.pop():g})"
    blocks = report.model_blocks
    facts(
        console,
        [
            ("family", _family(report)),
            ("algorithm", ", ".join(report.algos)),
            ("layout", ", ".join(report.layouts)),
            ("rank", counted(report.ranks) if report.ranks else None),
            ("alpha", alpha if modules else None),
            ("dtype", counted(report.dtypes)),
            ("modules", _modules(report)),
            ("made for", counted_rows(blocks, "block") if blocks else None),
            ("not touched", "; ".join(untouched(modules, blocks or 0)) if modules else None),
            ("title", info.title),
            ("author", info.author),
            ("trainer", info.trainer),
            ("base named", info.base_model),
            ("triggers", ", ".join(info.trigger_words)),
            ("tags", ", ".join(f"{tag} ({count})" for tag, count in info.tags[:MAX_LISTED])),
            ("licence", info.license or ("none named: unknown" if modules else None)),
            ("merged from", info.merged_from),
            ("file sha256", report.hashes.file_sha256 if report.hashes else None),
            ("tensor sha256", report.hashes.tensor_sha256 if report.hashes else None),
            ("cover", find_cover(report) or _embedded(report)),
        ],
    )
    if yours is not None:
        show_yours(console, yours)
    if report.blocks:
        block_map(console, modules, blocks or report.blocks[-1] + 1)
    if yours is not None and yours["changed"]:
        text = "The file has another size or time than when the catalog read it (lorakit scan reads it again)"
        notes(console, [f"{text}. What is said of it above is of what it held then."])
    notes(console, report.remarks)
    notes(console, _listed("Problem", report.problems), style="red")
    if report.other_model is None:
        notes(console, _listed("Unused key", report.unused_keys))


def show_yours(console: Console, yours: Yours) -> None:
    """What is known of an adapter beyond its file, under headings; nothing where nothing is known."""
    from lorakit.cli.render import facts, heading
    from lorakit.cli.yours import sections

    for title, rows in sections(yours):
        console.print()
        heading(console, title)
        facts(console, rows)


def _family(report: AdapterReport) -> str | None:
    """The model that it was made for, with what tells."""
    told = report.family_told
    if told is None:
        return report.family
    return f"{told.name} ({told.how})" if told.name else f"not certain: {told.how}"


def _modules(report: AdapterReport) -> str:
    parts = (f"{count} in {name}" for name, count in report.components.items())
    return f"{len(report.modules)} ({', '.join(parts)})" if report.modules else "none"


def _listed(label: str, items: tuple[str, ...]) -> list[str]:
    shown = [f"{label}: {item}" for item in items[:MAX_LISTED]]
    more = len(items) - MAX_LISTED
    return [*shown, f"... and {more} more (--json lists all)"] if more > 0 else shown
