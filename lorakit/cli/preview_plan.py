"""From the words of `lorakit preview` to the pictures it will render, before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.stack_argument import find_given, is_picture, read_made, recipe_path
from lorakit.errors import BadUsage, LorakitError, MissingComponent
from lorakit.paths import expanded
from lorakit.preview.settings import USUAL_DENOISE, RenderSettings

if TYPE_CHECKING:
    from lorakit.bases import ChosenBase
    from lorakit.catalog import Catalog
    from lorakit.formats.generation import Generation
    from lorakit.preview.advice import Advice
    from lorakit.preview.recipes import Recipe
    from lorakit.sharing.finding import Found
    from lorakit.stack import ResolvedEntry

_EXTRA = ("diffusers", "transformers", "accelerate", "PIL")


@dataclass(frozen=True)
class Wanted:
    """What was said on the command line; None and () mean that nothing was.

    `picture` is a picture or a recipe that is to be made; so is a `stack` that names a file, where no
    picture is named.
    """

    stack: str = ""
    base: str | None = None
    prompts: Sequence[str] = ()
    negative: str | None = None
    sizes: Sequence[tuple[int, int]] = ()
    seeds: Sequence[int] = ()
    steps: int | None = None
    cfg: float | None = None
    shift: float | None = None
    recipe: str | None = None
    image: Path | None = None
    denoise: float | None = None
    picture: Path | None = None
    add_triggers: bool = False

    def check(self) -> None:
        """Raise `BadUsage` for a value that no base could render, before anything is looked up."""
        if self.denoise is not None and self.image is None and self.picture is None:
            raise BadUsage("--denoise needs an image to start from.", hint="Name it with --image.")
        given = {
            name: value
            for name in ("steps", "cfg", "shift", "denoise")
            if (value := getattr(self, name)) is not None
        }
        start = None if self.denoise is None else self.image or self.picture
        for prompt, (width, height), seed in product(
            self.prompts or [""], self.sizes or [(1024, 1024)], self.seeds or [0]
        ):
            RenderSettings(
                prompt, self.negative or "", width, height, seed=seed, image=start, **given
            )


@dataclass(frozen=True)
class Plan:
    """What will be rendered, on what, and what there is to say about it.

    `remarks` are on a picture that is made again: what could not be carried over or is not certain.
    """

    base: ChosenBase
    entries: tuple[ResolvedEntry, ...]
    recipe: Recipe
    pictures: tuple[RenderSettings, ...]
    advice: tuple[Advice, ...]
    remarks: tuple[str, ...]
    made: Generation | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        from lorakit.stack import Entry, Stack

        return {
            "base": {"name": self.base.name, "sha256": self.base.sha256},
            "stack": str(Stack(tuple(Entry(e.name, e.strength) for e in self.entries))),
            "recipe": self.recipe.key,
            "pictures": [settings.to_dict() for settings in self.pictures],
            "advice": [vars(advice) for advice in self.advice],
            "remarks": list(self.remarks),
        }


def plan_pictures(catalog: Catalog, wanted: Wanted) -> Plan:
    """Find base and stack in `catalog`, and settle what was not said.

    What was said comes first, then the picture to be made again, then the recipe of the base. Raises
    what `choose_base`, `resolve_stack` and `find_ingredients` raise, `BadFile` for the picture, and
    `BadUsage` for settings.
    """
    from lorakit.bases import choose_base
    from lorakit.preview.advice import advise_all, with_triggers
    from lorakit.preview.recipes import recipe_named, stacked
    from lorakit.stack import resolve_stack

    wanted = _with_recipe(wanted)
    made, shown = _picture(catalog, wanted)
    asked = wanted.base or (shown.base if shown else None)
    given = shown
    if given is None or wanted.stack:
        given = find_given(catalog, wanted.stack, base=asked is None)
    base = choose_base(catalog, asked or given.base)
    entries = resolve_stack(given.stack, catalog)
    recipe = recipe_named(wanted.recipe) if wanted.recipe else _recipe(base, entries)
    settings, remarks = _settings(wanted, made, recipe)
    adapters = stacked(entries)
    pictures = _pictures(wanted, made, settings, recipe)
    if wanted.add_triggers:
        pictures = [replace(p, prompt=with_triggers(p.prompt, adapters)) for p in pictures]
    if made is not None and made.prompt and made.seed is None and not wanted.seeds:
        remarks = (*remarks, "It does not say its seed; 0 is taken.")
    found = dict.fromkeys((*(shown.remarks if shown else ()), *given.remarks))
    said = (*_foreign(made, wanted.picture), *found, *remarks)
    return Plan(
        base,
        entries,
        recipe,
        tuple(dict.fromkeys(pictures)),
        advise_all(recipe, pictures, adapters),
        said,
        made,
    )


def require_no_advice(advice: Sequence[Advice]) -> None:
    """Raise `LorakitError` that says all of `advice`: for --strict."""
    if advice:
        said = " ".join(str(one) for one in advice)
        raise LorakitError(said, hint="--strict makes advice an error; nothing was rendered.")


def targets(output: Path | None, number: int) -> list[Path]:
    """The files for `number` pictures: `output` itself for one, else NAME-0001.png and so on.

    Without `output` they are the first of preview-0001.png, ... that are not there yet.
    """
    if output is None:
        free = (path for n in count(1) if not (path := Path(f"preview-{n:04}.png")).exists())
        return [next(free) for _ in range(number)]
    if number == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{n:04}{output.suffix}") for n in range(1, number + 1)]


def require_extra() -> None:
    """Raise `MissingComponent` when the packages of the preview extra are not installed."""
    from importlib.util import find_spec

    absent = [name for name in _EXTRA if not find_spec(name)]
    if absent:
        raise MissingComponent(
            f"Previews need {', '.join(absent)}, which this installation lacks.",
            hint='`pip install "lorakit[preview]"` installs them.',
        )


def _with_recipe(wanted: Wanted) -> Wanted:
    """`wanted` with the file that its stack names as the picture to be made, if it names one."""
    path = recipe_path(wanted.stack) if wanted.picture is None else None
    return wanted if path is None else replace(wanted, stack="", picture=path)


def _picture(catalog: Catalog, wanted: Wanted) -> tuple[Generation | None, Found | None]:
    if wanted.picture is None:
        return None, None
    from lorakit.sharing.finding import find_ingredients

    made = read_made(expanded(wanted.picture))
    found = find_ingredients(catalog, made, stack=not wanted.stack, base=wanted.base is None)
    return made, found


def _foreign(made: Generation | None, path: Path | None) -> tuple[str, ...]:
    """What to say of a picture or a recipe of another program, or nothing."""
    if made is None or path is None or made.program == "lorakit":
        return ()
    likeness = f"It was made with {made.program}: expect a picture like it, not the same pixels."
    return (*((likeness,) if is_picture(path) else ()), *made.left_out)


def _recipe(base: ChosenBase, entries: Sequence[ResolvedEntry]) -> Recipe:
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.preview.recipes import recipe_for, stacked

    blocks = read_checkpoint(base.path).blocks
    return recipe_for(base.models, stacked(entries), blocks=blocks, sha256=base.sha256)


def _settings(
    wanted: Wanted, made: Generation | None, recipe: Recipe
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every setting but prompt, size and seed, which may be several; and remarks on the picture's."""
    from lorakit.preview.remake import find_start_image, fitting

    stated, remarks = fitting(made) if made else ({}, ())
    values: dict[str, Any] = {"steps": recipe.steps, "cfg": recipe.cfg, "shift": recipe.shift}
    values |= {name: value for name, value in stated.items() if name in values}
    values |= {name: v for name in values if (v := getattr(wanted, name)) is not None}
    values["negative_prompt"] = wanted.negative
    if wanted.negative is None:
        values["negative_prompt"] = made.negative_prompt if made else ""
    image = None if wanted.image is None else expanded(wanted.image)
    if image is None and made and made.start_image and wanted.picture:
        image = find_start_image(made.start_image, expanded(wanted.picture))
    if image is not None:
        values["image"] = image
        values["denoise"] = wanted.denoise or stated.get("denoise") or USUAL_DENOISE
    return values, remarks


def _pictures(
    wanted: Wanted, made: Generation | None, settings: dict[str, Any], recipe: Recipe
) -> list[RenderSettings]:
    from lorakit.preview.remake import fitting

    stated: dict[str, Any] = fitting(made)[0] if made else {}
    size = (stated.get("width", recipe.size[0]), stated.get("height", recipe.size[1]))
    choices = product(
        wanted.prompts or [made.prompt if made else ""],
        wanted.sizes or [size],
        wanted.seeds or [stated.get("seed", 0)],
    )
    return [
        RenderSettings(prompt, width=width, height=height, seed=seed, **settings)
        for prompt, (width, height), seed in choices
    ]
