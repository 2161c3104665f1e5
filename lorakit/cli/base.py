"""`lorakit base`: the models that adapters are stacked on."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.records import BaseRecord
    from lorakit.licenses.terms import Terms

app = typer.Typer(
    no_args_is_help=True,
    help="Register and list the models that adapters are stacked on.",
    epilog="Example: `lorakit base add rdbt.safetensors --as rdbt`",
)


@app.command(
    "add", epilog="Example: `lorakit base add rdbt_v0.32.safetensors --name rdbt --as rdbt`"
)
def add(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The checkpoint: a .safetensors file, the index of its shards, or a folder.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it. Left out, the file's name.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="MODEL",
            help="Which known model it is: rdbt, rdbt-lora, anima, anima-turbo, anima-2.9b, anima-3.8b, "
            "animayume, other. Left out, what it was registered as before, else other: its terms are "
            "then unknown.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="The model that this one was made from: a registered base, or a fingerprint that was "
            "learnt. Left out, what was said before.",
        ),
    ] = None,
    components: Annotated[
        str | None,
        typer.Option(
            metavar="DIR-or-REPO",
            help="Text encoder, VAE and tokenizers: a diffusers folder, ComfyUI's split files, or "
            "a Hugging Face repository. Left out, those of the base's own folder, else Anima's own "
            "repository.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Register a base checkpoint under the terms of a known model."""
    from lorakit.cli.base_add import Wanted, register
    from lorakit.cli.catalogs import open_catalog
    from lorakit.licenses.terms import model_terms

    out = Output.of("base add", json, quiet)
    if model is not None:
        model_terms(model)
    with open_catalog() as catalog:
        record = register(catalog, file, Wanted(name, model, components, on), out)
        terms, parents = terms_of(catalog, record), _names(catalog)
    out.result(
        {"base": _document(record, terms)},
        human=lambda console: show(console, record, terms, parents),
        ids=[record.name],
    )


@app.command("ls", epilog="Example: `lorakit base ls`")
def ls(json: Json = False, quiet: Quiet = False) -> None:
    """List the registered bases with their terms."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("base ls", json, quiet)
    with open_catalog() as catalog:
        bases = [(record, terms_of(catalog, record)) for record in catalog.bases()]
        parents = _names(catalog)
    out.result(
        {"bases": [_document(record, terms) for record, terms in bases]},
        human=lambda console: _show_all(console, bases, parents),
        ids=[record.name for record, _ in bases],
    )


def terms_of(catalog: Catalog, record: BaseRecord) -> Terms:
    """What everything that is known of a base comes to: what it was registered as, by whatever name, what
    its file says and what lies beside it, and what it was made from."""
    from lorakit.bases import same_content
    from lorakit.licenses.gathering import base_dossier

    sha256, content = record.file_sha256, record.tensor_sha256
    models = tuple(one.model for one in same_content(catalog, record.path, sha256, content))
    return base_dossier(catalog, record.name, record.path, models, content, sha256).terms


def _conditions(terms: Terms, name: str) -> str | None:
    count = len(terms.obligations)
    return f"{count} to keep: lorakit license show {shlex.quote(name)}" if count else None


def _document(record: BaseRecord, terms: Terms) -> dict[str, Any]:
    return {**asdict(record), "terms": terms.to_dict()}


def _names(catalog: Catalog) -> dict[str, str]:
    """What the known contents are called."""
    learnt = {sketch.content: sketch.name for sketch in catalog.sketches("fingerprint")}
    return learnt | {b.tensor_sha256: b.name for b in catalog.bases() if b.tensor_sha256}


def _show_all(
    console: Console, bases: Sequence[tuple[BaseRecord, Terms]], names: Mapping[str, str]
) -> None:
    if not bases:
        console.print("No base is registered: `lorakit base add FILE --as rdbt`.", style="dim")
    for number, (record, terms) in enumerate(bases):
        if number:
            console.print()
        show(console, record, terms, names)


def show(console: Console, record: BaseRecord, terms: Terms, names: Mapping[str, str]) -> None:
    """One base for a person; `names` says what the contents of other models are called."""
    from lorakit.cli.render import facts, heading
    from lorakit.licenses.claims import NOTHING_SAID
    from lorakit.licenses.terms import model_terms

    model = model_terms(record.model).title
    heading(console, record.name, model)
    facts(
        console,
        [
            ("file", f"{record.path} ({_told(record)})"),
            ("missing", record.what_is_missing() if record.missing else None),
            ("blocks", f"{record.blocks}, stored as {record.dtype}"),
            ("prefix", record.prefix or "none (bare names)"),
            ("made from", names.get(record.parent, record.parent[:12]) if record.parent else None),
            ("components", record.components or "Anima's own repository"),
            ("share merges", f"{terms.share_merges}: {terms.statement}".replace("_", " ")),
            ("told by", terms.title if terms.title not in (model, NOTHING_SAID.title) else None),
            ("conditions", _conditions(terms, record.name)),
        ],
    )


def _told(record: BaseRecord) -> str:
    """How large it is, and in how many files where it is not one; what is wrong with them."""
    from lorakit.cli.render import size
    from lorakit.errors import BadFile
    from lorakit.formats.model_files import model_files

    try:
        count = len(model_files(record.path))
    except BadFile:
        count = 1
    several = f"{count} files, " if count > 1 else ""
    return f"{several}{size(record.file_size)}{', changed since' if record.changed else ''}"
