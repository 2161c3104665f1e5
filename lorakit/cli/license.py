"""`lorakit license`: what may be done with a file, why, and what a person knows of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.complete import complete_bases, complete_models
from lorakit.cli.license_audit import EXAMPLE as AUDIT_EXAMPLE
from lorakit.cli.license_audit import audit
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, LorakitError
from lorakit.licenses.terms import ShareMerges
from lorakit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.licenses.dossier import Dossier

app = typer.Typer(
    no_args_is_help=True,
    help="Show what may be shared and why; put terms on record, with their source.",
    epilog="Example: `lorakit license show ink`",
)
app.command("audit", epilog=f"Example: `{AUDIT_EXAMPLE}`")(audit)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An adapter or base by name or file, or a known model such as animayume.",
        show_default=False,
        autocompletion=complete_models,
    ),
]


@app.command("show", epilog="Example: `lorakit license show ink`")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An adapter or base by name or file, or a known model such as animayume; with --base "
            "a whole STACK.",
            show_default=False,
            autocompletion=complete_models,
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-b",
            help="Answer for a stack on this base.",
            autocompletion=complete_bases,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show whether you may render, share pictures and share a merge, what must go with it, and why."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("license show", json, quiet)
    with open_catalog() as catalog:
        if base is not None:
            _show_stack(catalog, name, base, out.about("stack"))
        else:
            _show(_dossier(catalog, name, out), out)


@app.command(
    "set",
    epilog='Example: `lorakit license set ink --share-merges allow --credit --source "its author, by '
    'mail of 3 May 2026"`',
)
def set_(
    name: Name,
    share_merges: Annotated[
        ShareMerges | None, typer.Option(help="May merges with it be shared?")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where the terms stand. Required.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(metavar="SPDX", help="Its licence, such as CC-BY-4.0.")
    ] = None,
    statement: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The sentence that says so, word for word.")
    ] = None,
    obligation: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="What must go with a merge; may be given again."),
    ] = None,
    credit: Annotated[bool, typer.Option("--credit", help="Its author must be credited.")] = False,
    share_pictures: Annotated[
        ShareMerges | None, typer.Option(help="May pictures made with it be shared?")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="MODEL", help="It is this known model: rdbt-lora, anima-turbo-lora, ..."
        ),
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Take the terms from a saved answer of Civitai (/api/v1/models/ID) or a model card.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put on record what you know of a file's terms, with its source.

    It settles what is unknown. It loosens no refusal and takes no obligation away.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.license_subject import find_subject
    from lorakit.licenses.user_claims import Saying, claims_from, record, say

    out = Output.of("license set", json, quiet)
    said = (share_merges, license, statement, obligation, share_pictures, model, credit or None)
    if from_file is not None and any(one is not None for one in said):
        raise BadUsage("--from takes everything from its file; give it alone.")
    if from_file is None and source is None:
        raise BadUsage(
            "A claim needs its source.",
            hint='--source says where the terms stand, such as --source "model page, read 3 May 2026".',
        )
    with open_catalog() as catalog:
        subject = find_subject(catalog, name, out, whole=True)
        one = subject.dossier
        if from_file is not None:
            claims = claims_from(expanded(from_file), one.role, one.sha256, subject.content)
        else:
            saying = Saying(
                source or "",
                share_merges,
                license,
                statement,
                tuple(obligation or ()),
                credit,
                model,
                share_pictures,
            )
            claims = (say(one.name, saying),)
        with catalog.step(f"license set {name}"):
            record(catalog, subject.content, claims)
        _show(_dossier(catalog, name, out), out)


@app.command("withdraw", epilog="Example: `lorakit license withdraw ink`")
def withdraw_(name: Name, json: Json = False, quiet: Quiet = False) -> None:
    """Take back what `lorakit license set` put on record of a file; other sources stand."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.license_subject import find_subject
    from lorakit.licenses.user_claims import withdraw

    out = Output.of("license withdraw", json, quiet)
    with open_catalog() as catalog:
        subject = find_subject(catalog, name, out, whole=True)
        with catalog.step(f"license withdraw {name}"):
            count = withdraw(catalog, subject.content)
        if not count:
            raise LorakitError(
                f"Nothing that `lorakit license set` put on record is known of {subject.dossier.name}.",
                hint=f"`lorakit license show {shlex.quote(name)}` lists what other sources say.",
            )
        out.say(f"Withdrawn: {counted_rows(count, 'claim')}.")
        _show(_dossier(catalog, name, out), out)


def _dossier(catalog: Catalog, name: str, out: Output) -> Dossier:
    from lorakit.cli.license_subject import find_subject

    dossier = find_subject(catalog, name, out, weights=True).dossier
    for problem in dossier.problems:
        out.warn(problem)
    return dossier


def _show(dossier: Dossier, out: Output) -> None:
    from lorakit.cli.license_view import dossier_document, show_dossier
    from lorakit.licenses.answers import answers

    found = answers(dossier.verdict)
    out.result(
        dossier_document(dossier, found),
        human=lambda console: show_dossier(console, dossier, found),
        ids=[str(dossier.verdict.share_merges)],
    )


def _show_stack(catalog: Catalog, stack: str, base: str, out: Output) -> None:
    from lorakit.bases import choose_base
    from lorakit.cli.license_view import answers_document, show_answers, show_obligations
    from lorakit.cli.stack_argument import find_given
    from lorakit.gate.judging import judge_stack
    from lorakit.licenses.answers import answers
    from lorakit.stack import resolve_stack

    chosen = choose_base(catalog, base)
    entries = resolve_stack(find_given(catalog, stack).stack, catalog)
    verdict = judge_stack(catalog, chosen, entries)
    found = answers(verdict)

    def human(console: Console) -> None:
        show_answers(console, found)
        show_obligations(console, verdict)

    out.result(
        {
            "stack": stack,
            "base": chosen.name,
            "answers": answers_document(found),
            "verdict": verdict.to_dict(),
        },
        human=human,
        ids=[str(verdict.share_merges)],
    )
