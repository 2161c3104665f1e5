"""`lorakit preview`: a picture of a stack on a base."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from lorakit.cli.options import BaseName, Force, Json, Quiet, StackText
from lorakit.cli.output import Output
from lorakit.errors import BadUsage, MissingComponent

EXAMPLE = 'lorakit preview "ink:0.8 wash:0.5" --base rdbt -p "@ink, a lighthouse" -o out.png'


def preview_verb(
    stack: StackText = "",
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What to render; name a style.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The .png to write. Left out, the next preview-NNNN.png."
        ),
    ] = None,
    base: BaseName = None,
    negative: Annotated[str, typer.Option(help="Negative prompt; does nothing at CFG 1.")] = "",
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT in pixels, multiples of 16.")
    ] = "1024x1024",
    steps: Annotated[int, typer.Option(help="16-24 for RDBT, 8-12 with a turbo adapter.")] = 20,
    cfg: Annotated[float, typer.Option(help="1 costs one pass a step; RDBT takes 1-4.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same noise everywhere.")] = 0,
    device: Annotated[
        str, typer.Option(help="auto (CUDA, then MPS, then CPU), cuda, mps or cpu.")
    ] = "auto",
    components: Annotated[
        str | None,
        typer.Option(
            metavar="DIR-or-REPO", help="Instead of the components the base was added with."
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fuse a stack onto a base in memory and render one picture.

    Merged weights are never written.
    """
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.preview.recipes import recipe_for, stacked
    from lorakit.preview.settings import RenderSettings
    from lorakit.stack import Stack, resolve_stack

    out = Output.of("preview", json, quiet)
    width, height = parse_size(size)
    settings = RenderSettings(prompt, negative, width, height, steps, cfg, seed)
    require_extra()
    from lorakit.preview.picture import check_target, save_picture

    target = output if output is not None else free_name()
    check_target(target, overwrite=force)
    with open_catalog() as catalog:
        chosen = choose_base(catalog, base)
        entries = resolve_stack(Stack.parse(stack), catalog)
    recipe = recipe_for(chosen.models, stacked(entries), sha256=chosen.sha256)
    for entry in entries:
        if not any(map(entry.strength.active, range(steps))):
            out.warn(f"{entry.name} is never applied: {entry.strength} names no step of {steps}.")
    with out.progress("Rendering") as update:
        update(0, 0, "loading PyTorch")
        from lorakit.preview.devices import choose_device
        from lorakit.preview.made_from import made_from
        from lorakit.preview.session import open_session

        session = open_session(
            chosen.path,
            [(entry.path, entry.strength) for entry in entries],
            components=components or chosen.components,
            device=choose_device(device),
            on_stage=lambda stage: update(0, 0, stage),
        )
        image = session.renderer.render(settings, _on_step(update))
    origin = made_from(chosen, entries, session, recipe=recipe)
    save_picture(image, target, settings, origin, overwrite=force)
    document = {"path": str(target), **origin.to_dict(), "settings": settings.to_dict()}
    out.result(
        document,
        human=lambda console: console.print(f"{target}  ({session.device})", soft_wrap=True),
        ids=[str(target)],
    )


def require_extra() -> None:
    """Raise `MissingComponent` when the packages of the preview extra are not installed."""
    from importlib.util import find_spec

    absent = [
        name for name in ("diffusers", "transformers", "accelerate", "PIL") if not find_spec(name)
    ]
    if absent:
        raise MissingComponent(
            f"Previews need {', '.join(absent)}, which this installation lacks.",
            hint='`pip install "lorakit[preview]"` installs them.',
        )


def parse_size(text: str) -> tuple[int, int]:
    """`832x1216` as (width, height). Raises `BadUsage`."""
    match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", text.strip().lower())
    if match is None:
        raise BadUsage(f"{text!r} is not a size.", hint="Write WIDTHxHEIGHT, such as 832x1216.")
    return int(match[1]), int(match[2])


def free_name() -> Path:
    """The first preview-NNNN.png that is not there yet."""
    names = (Path(f"preview-{number:04}.png") for number in count(1))
    return next(path for path in names if not path.exists())


def _on_step(update: Callable[[int, int, str], None]) -> Callable[[int, int], None]:
    return lambda done, total: update(done, total, "denoising")
