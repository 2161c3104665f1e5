"""What a STACK on the command line means: text, the name of a kept stack, or a file that states a stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import Ambiguous, NotFound
from lorakit.formats.peft_folder import is_adapter_file
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.cli.output import Output
    from lorakit.formats.generation import Generation
    from lorakit.sharing.finding import Found
    from lorakit.stack import Stack

_KEPT = "stack:"
_RECIPES = (".json", ".toml", ".txt")
_PICTURES = (".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class GivenStack:
    """A STACK, and the base that it states, if it is a file that does and none was asked for."""

    stack: Stack
    base: str | None = None


def given_stack(text: str, out: Output, *, base: str | None = None) -> GivenStack:
    """Read a STACK, and find what a file states in the person's catalog. `base` is the one asked for.

    What is not certain is said. Raises what `Stack.parse` raises, `BadFile` for a file that states no
    stack, and `NotFound` or `Ambiguous` for what it states.
    """
    from lorakit.stack import Stack

    text = quoted(text)
    path = recipe_path(text)
    if path is None and not may_be_kept(text):
        return GivenStack(Stack.parse(text), base)
    from lorakit.cli.catalogs import open_catalog
    from lorakit.sharing.finding import find_ingredients

    with open_catalog() as catalog:
        made = read_made(path) if path is not None else kept(catalog, text)
        if made is None:
            return GivenStack(Stack.parse(text), base)
        found = find_ingredients(catalog, made, base=base is None)
    for remark in (*found.remarks, *made.left_out):
        out.warn(remark)
    return GivenStack(found.stack, base or found.base)


def quoted(word: str) -> str:
    """The path of an adapter with spaces as a stack takes it, where the shell has taken its quotes away."""
    path, colon, strength = word.rpartition(":")
    for name, rest in ((word, ""), (path, colon + strength)):
        spaced = any(map(str.isspace, name)) and recipe_path(name) is None
        if spaced and is_adapter_file(expanded(name)):
            return f'"{name}"{rest}'
    return word


def find_given(catalog: Catalog, text: str, *, base: bool = False) -> Found:
    """As `given_stack`, for those who have opened the catalog; `base` says whether its base is wanted."""
    from lorakit.sharing.finding import Found, find_ingredients
    from lorakit.stack import Stack

    text = quoted(text)
    path = recipe_path(text)
    made = read_made(path) if path is not None else kept(catalog, text)
    if made is None:
        return Found(Stack.parse(text), None, ())
    return find_ingredients(catalog, made, base=base)


def may_be_kept(text: str) -> bool:
    """Whether `text` can mean a kept stack: its name alone, or `stack:NAME`."""
    from lorakit.catalog.kept_stacks import is_stack_name

    name = text.strip().removeprefix(_KEPT)
    return is_stack_name(name) and not is_adapter_file(expanded(text.strip()))


def kept(catalog: Catalog, text: str) -> Generation | None:
    """What the stack states that is kept as `text`; None where there is none.

    Raises `Ambiguous` where an adapter has exactly the same name.
    """
    from lorakit.stack import read_kept

    name = text.strip().removeprefix(_KEPT)
    found = catalog.kept_stack(name) if may_be_kept(text) else None
    if found is None:
        return None
    if name == text.strip() and is_adapter(catalog, name):
        raise Ambiguous(
            f"Both an adapter and a stack are called {name!r}.",
            hint=f"Write {name}:1 for the adapter, or {_KEPT}{found.name} for the stack.",
        )
    return read_kept(found.document, found.name)


def is_adapter(catalog: Catalog, name: str) -> bool:
    """Whether an adapter of the catalog has exactly this name, case aside."""
    try:
        return catalog.resolve(name).name.casefold() == name.casefold()
    except (NotFound, Ambiguous):
        return False


def recipe_path(text: str) -> Path | None:
    """The file that `text` names, where it ends as files do that state a stack."""
    path = expanded(text.strip())
    return path if path.suffix.lower() in (*_RECIPES, *_PICTURES) else None


def is_picture(path: Path) -> bool:
    """Whether the file's name is a picture's."""
    return path.suffix.lower() in _PICTURES


def read_made(path: Path) -> Generation:
    """What the recipe or picture at `path` states.

    Raises `NotFound` when there is none, and `BadFile` for one that states nothing.
    """
    if is_picture(path):
        from lorakit.preview.read_picture import read_generation

        return read_generation(path)
    if path.suffix.lower() == ".toml":
        from lorakit.stack import read_saved

        return read_saved(path)
    from lorakit.formats.recipe_files import read_recipe

    return read_recipe(path)
