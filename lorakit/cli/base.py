"""`lorakit base`: the models that adapters are stacked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        str, typer.Argument(metavar="FILE", help="The checkpoint, one .safetensors file.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it. Left out, the file's name.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="MODEL",
            help="Which known model it is: rdbt, rdbt-lora, anima, animayume, other. Left out, what it "
            "was registered as before, else other: its terms are then unknown.",
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
            "a Hugging Face repository. Left out, Anima's own repository.",
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
        parents = _names(catalog)
    out.result(
        {"base": record},
        human=lambda console: show(console, record, model_terms(record.model), parents),
        ids=[record.name],
    )


@app.command("ls", epilog="Example: `lorakit base ls`")
def ls(json: Json = False, quiet: Quiet = False) -> None:
    """List the registered bases with their terms."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("base ls", json, quiet)
    with open_catalog() as catalog:
        bases = catalog.bases()
        parents = _names(catalog)
    out.result(
        {"bases": bases},
        human=lambda console: _show_all(console, bases, parents),
        ids=[b.name for b in bases],
    )


def _names(catalog: Catalog) -> dict[str, str]:
    """What the known contents are called."""
    learnt = {sketch.content: sketch.name for sketch in catalog.sketches("fingerprint")}
    return learnt | {b.tensor_sha256: b.name for b in catalog.bases() if b.tensor_sha256}


def _show_all(console: Console, bases: list[BaseRecord], names: Mapping[str, str]) -> None:
    from lorakit.licenses.terms import model_terms

    if not bases:
        console.print("No base is registered: `lorakit base add FILE --as rdbt`.", style="dim")
    for number, record in enumerate(bases):
        if number:
            console.print()
        terms = model_terms(record.model)
        show(console, record, terms, names)


def show(console: Console, record: BaseRecord, terms: Terms, names: Mapping[str, str]) -> None:
    """One base for a person; `names` says what the contents of other models are called."""
    from lorakit.cli.render import facts, heading, size

    heading(console, record.name, terms.title)
    facts(
        console,
        [
            ("file", f"{record.path} ({size(record.file_size)})"),
            ("blocks", f"{record.blocks}, stored as {record.dtype}"),
            ("prefix", record.prefix or "none (bare names)"),
            ("made from", names.get(record.parent, record.parent[:12]) if record.parent else None),
            ("components", record.components or "Anima's own repository"),
            ("share merges", f"{terms.share_merges}: {terms.statement}".replace("_", " ")),
        ],
    )
