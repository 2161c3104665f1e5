"""`lorakit ab`: two ways to render, side by side, and votes on which is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorakit.cli import render_options as given
from lorakit.cli.complete import complete_bases, complete_stacks
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.errors import BadUsage
from lorakit.paths import expanded

app = typer.Typer(
    no_args_is_help=True,
    help="Compare two bases or stacks on the same prompts and seeds, blind if asked, by votes.",
    epilog="Example: `lorakit ab run ink --base rdbt-031 --base rdbt-032 --prompts p.txt --blind`",
)


@app.command(
    "run",
    epilog="Example: `lorakit ab run ink --base rdbt-031 --base rdbt-032 -p 'a sea' --seed 1-8 --blind`",
)
def run(
    stacks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STACK] [STACK]",
            help="One stack for both sides, or one for each.",
            show_default=False,
            autocompletion=complete_stacks,
        ),
    ] = None,
    bases: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            "-b",
            help="A base by name; given twice, one for each side. Left out, the only one.",
            autocompletion=complete_bases,
        ),
    ] = None,
    prompt: given.Prompts = None,
    prompts: given.PromptFile = None,
    seed: given.Seeds = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Hide which is which until the votes are in.")
    ] = False,
    order_seed: Annotated[
        int | None,
        typer.Option(
            "--order-seed", min=0, help="Decides which side is A in which pair. Left out, random."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="A folder, new or of this same comparison. Left out, the next ab-NNNN.",
        ),
    ] = None,
    negative: given.Negative = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Width and height. Left out, the recipe's."),
    ] = None,
    steps: given.Steps = None,
    cfg: given.Cfg = None,
    shift: given.Shift = None,
    recipe: given.RecipeName = None,
    add_triggers: given.AddTriggers = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the transformer first: pays for many pairs."),
    ] = False,
    device: given.Device = "auto",
    components: given.Components = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Render both sides, and a page on which to compare and vote.

    A pair is one prompt with one seed. Settings left out are those each base is meant for.
    Stopped, the same command with the same folder goes on where it was.
    """
    from lorakit.cli.ab_run import free_folder, run_ab
    from lorakit.cli.stack_argument import given_stack
    from lorakit.preview.ab.comparison import AbRequest
    from lorakit.preview.grid.cells import Asked
    from lorakit.preview.grid.jobs import How
    from lorakit.stack import Stack

    out = Output.of("ab run", json, quiet)
    named: list[str | None] = list(bases) if bases else [None]
    texts_of = stacks or [""]
    if len(texts_of) > 2 or len(named) > 2:
        raise BadUsage("Two sides are compared.", hint="Give at most two stacks and two bases.")
    pairs = ((texts_of[0], named[0]), (texts_of[-1], named[-1]))
    found = {pair: given_stack(pair[0], out, base=pair[1]) for pair in dict.fromkeys(pairs)}
    first, second = (found[pair] for pair in pairs)
    texts = given.read_prompts(prompt, prompts) or [""]
    request = AbRequest(
        sides=((first.base, first.stack), (second.base, second.stack)),
        prompts=tuple(dict.fromkeys(texts)),
        seeds=tuple(given.parse_seeds(seed)) if seed is not None else (0,),
        asked=Asked(
            Stack(),
            negative=negative or "",
            size=None if size is None else given.parse_size(size),
            steps=steps,
            cfg=cfg,
            shift=shift,
        ),
        how=How(device, components, recipe, add_triggers),
        blind=blind,
        order_seed=-1 if order_seed is None else order_seed,
    )
    request.check()
    target = free_folder() if output is None else expanded(output)
    run_ab(out, request, target, compiled=compiled)


Which = Annotated[
    str,
    typer.Argument(
        metavar="WHICH",
        help="A comparison's folder, its name (ab-...), or a file of votes that its page saved.",
    ),
]


@app.command("vote", epilog="Example: `lorakit ab vote ab-0001 1=a 2=b 3==`")
def vote(
    which: Which,
    ballots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VOTE]...",
            help="Number of the pair and a, b or =, such as 1=a. Left out, each pair is asked for.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give votes: on the command line, from the page's file, or one by one.

    A vote on a pair again takes the place of the first.
    """
    from lorakit.cli.ab_votes import give_votes

    give_votes(Output.of("ab vote", json, quiet), which, ballots or [])


@app.command("show", epilog="Example: `lorakit ab show`")
def show(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHICH]",
            help="A comparison's folder or name. Left out, all of them.",
            show_default=False,
        ),
    ] = None,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Also name the sides of a blind one that is not voted out."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count the votes, and say what so many can tell."""
    from lorakit.cli.ab_votes import show_votes

    show_votes(Output.of("ab show", json, quiet), which, reveal)
