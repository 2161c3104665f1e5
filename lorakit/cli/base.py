"""`lorakit base`: the models that adapters are stacked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.paths import expanded
from lorakit.errors import NotFound

if TYPE_CHECKING:
    from rich.console import Console

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
    from lorakit.bases import UNNAMED_MODEL, require_not_looser
    from lorakit.cli.catalogs import open_catalog
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.formats.hashing import hash_file
    from lorakit.licenses.terms import model_terms

    out = Output.of("base add", json, quiet)
    if model is not None:
        model_terms(model)
    path = expanded(file).absolute()
    if not path.is_file():
        raise NotFound(f"There is no file {file}.")
    checkpoint = read_checkpoint(path)
    with open_catalog() as catalog, out.progress("Registering") as update:
        update(0, 0, f"hashing {path.name}")
        hashes = hash_file(path, checkpoint.header.data_offset)
        called = name or path.stem
        before = next((base for base in catalog.bases() if base.name == called), None)
        model = model or (before.model if before else UNNAMED_MODEL)
        require_not_looser(catalog, path, hashes.file_sha256, model)
        record = catalog.add_base(
            path,
            name=called,
            model=model,
            prefix=checkpoint.prefix,
            blocks=checkpoint.blocks,
            dtype=checkpoint.dtype,
            components=_components(components) or (before.components if before else None),
            file_sha256=hashes.file_sha256,
        )
    if not checkpoint.has_llm_adapter:
        out.warn(f"{path.name} has no text adapter (llm_adapter.*), so it cannot render by itself.")
    out.result(
        {"base": record},
        human=lambda console: show(console, record, model_terms(record.model)),
        ids=[record.name],
    )


@app.command("ls", epilog="Example: `lorakit base ls`")
def ls(json: Json = False, quiet: Quiet = False) -> None:
    """List the registered bases with their terms."""
    from lorakit.cli.catalogs import open_catalog
    out = Output.of("base ls", json, quiet)
    with open_catalog() as catalog:
        bases = catalog.bases()
    out.result(
        {"bases": bases},
        human=lambda console: _show_all(console, bases),
        ids=[b.name for b in bases],
    )


def _show_all(console: Console, bases: list[BaseRecord]) -> None:
    from lorakit.licenses.terms import model_terms

    if not bases:
        console.print("No base is registered: `lorakit base add FILE --as rdbt`.", style="dim")
    for number, record in enumerate(bases):
        if number:
            console.print()
        terms = model_terms(record.model)
        show(console, record, terms)


def show(console: Console, record: BaseRecord, terms: Terms) -> None:
    """One base for a person."""
    from lorakit.cli.render import facts, heading, size

    heading(console, record.name, terms.title)
    facts(
        console,
        [
            ("file", f"{record.path} ({size(record.file_size)})"),
            ("blocks", f"{record.blocks}, stored as {record.dtype}"),
            ("prefix", record.prefix or "none (bare names)"),
            ("components", record.components or "Anima's own repository"),
            ("share merges", f"{terms.share_merges}: {terms.statement}".replace("_", " ")),
        ],
    )


def _components(source: str | None) -> str | None:
    """A folder is kept as an absolute path, a repository as it is; both are checked when used."""
    if source is None or not expanded(source).exists():
        return source
    return str(expanded(source).absolute())
