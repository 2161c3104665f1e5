"""`lorakit trace`: which known models a checkpoint or an adapter holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lorakit.cli.complete import as_items, complete_models
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.trace_view import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from lorakit.tracing.known import Known


class _SuspectFirst(TyperGroup):
    """`lorakit trace FILE` means `lorakit trace suspect FILE`."""

    default_command = "suspect"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401 - Typer's own
        """The verbs within, and what the first of them may be given."""
        return super().shell_complete(ctx, incomplete) + as_items(complete_models(incomplete))


app = typer.Typer(
    cls=_SuspectFirst,
    no_args_is_help=True,
    help="Tell which known models a file holds, by its weights.",
    epilog="Example: `lorakit trace suspect.safetensors`",
)


@app.command("suspect", epilog="Example: `lorakit trace some-merge.safetensors --with rdbt`")
def suspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint (a file, its shards or a diffusers folder), an adapter, or its name in "
            "the catalog.",
            autocompletion=complete_models,
        ),
    ],
    candidates: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Look for this base, adapter or fingerprint alone; may be given again. Left out, all.",
            autocompletion=complete_models,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Read hundreds of times as many weights: for strengths to a thousandth, and for adapters "
            "where no relative of the file is known.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell which known models FILE holds, how much of each, and where.

    It samples weights at fixed places and compares them with those of every
    registered base, learnt fingerprint and adapter. Names and headers play no part.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_run import trace_file

    out = Output.of("trace", json, quiet)
    with open_catalog() as catalog, out.progress("Tracing") as update:
        report = trace_file(catalog, file, candidates or (), deep=deep, on_progress=update)
    out.result(
        report.to_dict(),
        human=lambda console: show(console, report),
        ids=[trace.finding.known.name for trace in report.found],
    )


@app.command("fingerprint", epilog="Example: `lorakit trace fingerprint rdbt -o rdbt.fingerprint`")
def fingerprint(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A base or an adapter by name.",
            autocompletion=complete_models,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    share_merges: Annotated[
        str | None,
        typer.Option(
            help="The author's terms: allow, allow_with_obligations or deny. Needs --source."
        ),
    ] = None,
    statement: Annotated[
        str | None, typer.Option(help="The sentence that says so, as the author puts it.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where that stands, such as the address of the model's page.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the fingerprint of a model: enough to recognise it, and nothing to use it with.

    An author may publish it in place of weights; `lorakit trace learn` takes it in.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_fingerprint import stated_terms, write_fingerprint

    out = Output.of("trace fingerprint", json, quiet)
    terms = stated_terms(share_merges, statement, source)
    with open_catalog() as catalog:
        done = write_fingerprint(catalog, name, output, terms, overwrite=overwrite)
    out.result(
        {"path": str(done.path), "name": done.name, "content": done.content, "bytes": done.size},
        human=lambda console: console.print(
            f"{done.path}: the fingerprint of {done.name}, {done.size / 1e3:,.0f} kB.",
        ),
        ids=[str(done.path)],
    )


@app.command("learn", epilog="Example: `lorakit trace learn rdbt.fingerprint --as rdbt`")
def learn(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A fingerprint file.")],
    name: Annotated[
        str | None, typer.Option(help="What to call the model. Left out, as the file does.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="MODEL", help="Which model of the table of known models it is."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take in a fingerprint, so that its model is recognised without its weights being here."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_fingerprint import learn_fingerprint

    out = Output.of("trace learn", json, quiet)
    with open_catalog() as catalog:
        known = learn_fingerprint(catalog, file, name, model)
    out.result(
        {"known": _described(known)},
        human=lambda console: console.print(
            f"{known.name} is known now; `lorakit trace FILE` looks for it."
        ),
        ids=[known.name],
    )


@app.command("known", epilog="Example: `lorakit trace known`")
def known_models(json: Json = False, quiet: Quiet = False) -> None:
    """List the bases and fingerprints that files are compared with, and what each was made from."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.output import warn
    from lorakit.cli.trace_run import made_from
    from lorakit.tracing.candidates import known_weights

    out = Output.of("trace known", json, quiet)
    with open_catalog() as catalog, out.progress("Reading") as update:
        found = known_weights(catalog, update, warn)
    parents = made_from(found)
    out.result(
        {"known": [{**_described(one), "made_from": parents.get(one.content)} for one in found]},
        human=lambda console: _show_known(console, found, parents),
        ids=[known.name for known in found],
    )


def _described(known: Known) -> dict[str, Any]:
    return {
        "name": known.name,
        "holds": known.holds,
        "model": known.model,
        "content": known.content,
        "parent": known.parent,
        "sampled_values": sum(map(len, known.sketch.values.values())),
    }


def _show_known(console: Console, found: list[Known], parents: Mapping[str, str]) -> None:
    from lorakit.cli.render import rows

    if not found:
        console.print(
            "No model is known: `lorakit base add FILE --as rdbt`, or `trace learn FILE`."
        )
        return
    rows(
        console,
        ("name", "of", "model", "made from"),
        [
            (
                known.name,
                "weights" if known.holds == "weights" else "an adapter",
                known.model or "not in the table",
                parents.get(known.content, "not known"),
            )
            for known in found
        ],
    )
