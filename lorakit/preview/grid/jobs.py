"""From what was asked to work: files found, settings complete, and a key that says what a picture is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase, choose_base
from lorakit.errors import BadFile
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.formats.hashing import hash_file, hash_model
from lorakit.formats.header import read_header
from lorakit.preview.advice import with_triggers
from lorakit.preview.grid.cells import Asked
from lorakit.preview.picture import versions
from lorakit.preview.recipes import Recipe, StackedAdapter, recipe_for, recipe_named, stacked
from lorakit.preview.settings import USUAL_DENOISE, RenderSettings
from lorakit.stack import Entry, ResolvedEntry, Stack, resolve_stack

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


@dataclass(frozen=True)
class How:
    """How pictures are rendered: on which torch device, what is used instead of each base's own components
    and recipe, and whether missing trigger words are put into prompts."""

    device: str
    components: str | None = None
    recipe: str | None = None
    add_triggers: bool = False


@dataclass(frozen=True)
class Job:
    """One picture to render. Base and entries have their hashes; entries of strength 0 are left out.

    `key` is the same for two pictures exactly when everything is that could change a pixel: the content
    of the files, strengths, settings, device, components, and the versions of the programs.
    """

    base: ChosenBase
    entries: tuple[ResolvedEntry, ...]
    settings: RenderSettings
    recipe: Recipe
    components: str | None
    key: str

    @property
    def stack_key(self) -> tuple[tuple[str, str], ...]:
        """What tells apart two stacks on the same base."""
        return tuple((str(entry.path), str(entry.strength)) for entry in self.entries)

    @property
    def passes(self) -> int:
        """How often the transformer runs: once a step, twice with guidance."""
        return self.settings.steps_run * (1 if self.settings.cfg == 1.0 else 2)


@dataclass(frozen=True)
class Load:
    """How much work some pictures are."""

    pictures: int
    bases: int
    fuses: int
    prompts: int
    passes: int

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Load:
        """Count; each distinct stack on each base is fused once."""
        found = list(jobs)
        return cls(
            pictures=len(found),
            bases=len({job.base.path for job in found}),
            fuses=len({(job.base.path, job.stack_key) for job in found}),
            prompts=len({job.settings.prompt for job in found}),
            passes=sum(job.passes for job in found),
        )


class Finder:
    """Finds the bases and adapters of many pictures, each once.

    Files are hashed here, whatever the catalog says: people train again under the same name, and a
    picture of the old file must not pass for one of the new.
    """

    def __init__(self, catalog: Catalog, how: How) -> None:
        """Look in `catalog` for what is not named by path."""
        self._catalog = catalog
        self._how = how
        self._bases: dict[str | None, ChosenBase] = {}
        self._entries: dict[str, ResolvedEntry] = {}
        self._hashes: dict[Path, str] = {}

    def jobs(self, pictures: Sequence[Asked], whole: Stack) -> list[Job]:
        """The work for each of `pictures`.

        What was left open is filled in from the recipe of the picture's base under `whole`, the stack
        that the pictures are variations of: so all pictures on one base have the same settings.

        Raises `NotFound`, `Ambiguous` or `BadUsage` for a base or an adapter that is not to be found,
        `BadFile` for one that cannot be read, `BadUsage` for settings out of range.
        """
        found = stacked(self.entry(entry) for entry in whole)
        recipes = {
            name: self._recipe(self.base(name), found)
            for name in dict.fromkeys(asked.base for asked in pictures)
        }
        return [self._job(asked, recipes[asked.base], found) for asked in pictures]

    def base(self, name: str | None) -> ChosenBase:
        """The base called `name` with its hash."""
        if name not in self._bases:
            chosen = choose_base(self._catalog, name)
            known = chosen.sha256 or self._hash_base(chosen.path)
            self._bases[name] = replace(chosen, sha256=known)
        return self._bases[name]

    def entry(self, entry: Entry) -> ResolvedEntry:
        """The entry's file with its hash."""
        if entry.name not in self._entries:
            (found,) = resolve_stack([entry], self._catalog)
            hashes = hash_file(found.path, read_header(found.path).data_offset)
            self._entries[entry.name] = replace(
                found, sha256=hashes.file_sha256, tensor_sha256=hashes.tensor_sha256
            )
        return replace(self._entries[entry.name], strength=entry.strength)

    def _recipe(self, base: ChosenBase, adapters: Sequence[StackedAdapter]) -> Recipe:
        if self._how.recipe is not None:
            return recipe_named(self._how.recipe)
        blocks = read_checkpoint(base.path).blocks
        return recipe_for(base.models, adapters, blocks=blocks, sha256=base.sha256)

    def _job(self, asked: Asked, recipe: Recipe, whole: Sequence[StackedAdapter]) -> Job:
        base = self.base(asked.base)
        entries = tuple(self.entry(entry) for entry in asked.applied)
        settings = complete(asked, recipe)
        if self._how.add_triggers:
            # A picture without adapters is compared with the others, so it has their words.
            prompt = with_triggers(asked.prompt, stacked(entries) or whole)
            settings = replace(settings, prompt=prompt)
        components = self._how.components or base.components
        image = None if settings.image is None else self._hash(settings.image)
        facts = {
            "base": base.sha256,
            "components": components,
            "entries": [[entry.sha256, str(entry.strength)] for entry in entries],
            "settings": {**settings.to_dict(), "image": image},
            "device": self._how.device,
            "versions": versions(),
        }
        key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return Job(base, entries, settings, recipe, components, key)

    def _hash_base(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = hash_model(path).whole.file_sha256
        return self._hashes[path]

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = hash_whole(path)
        return self._hashes[path]


def complete(asked: Asked, recipe: Recipe) -> RenderSettings:
    """`asked` with what it leaves open filled in. Raises `BadUsage` for settings out of range."""
    width, height = asked.size or recipe.size
    usual = 1.0 if asked.image is None else USUAL_DENOISE
    return RenderSettings(
        prompt=asked.prompt,
        negative_prompt=asked.negative,
        width=width,
        height=height,
        steps=recipe.steps if asked.steps is None else asked.steps,
        cfg=recipe.cfg if asked.cfg is None else asked.cfg,
        seed=asked.seed,
        shift=recipe.shift if asked.shift is None else asked.shift,
        image=asked.image,
        denoise=usual if asked.denoise is None else asked.denoise,
    )


def hash_whole(path: Path) -> str:
    """A file's SHA-256 as lower-case hex. Raises `BadFile`."""
    try:
        with path.open("rb", buffering=0) as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, each key once, so that bases are opened, stacks fused and prompts read once each.

    Of a base, pictures without adapters come first: if one of them fails, the base is at fault.
    """
    once = list({job.key: job for job in jobs}.values())
    seen: dict[object, int] = {}

    def place(job: Job) -> tuple[int, bool, int, int]:
        base = seen.setdefault(job.base.path, len(seen))
        stack = seen.setdefault((job.base.path, job.stack_key), len(seen))
        prompt = seen.setdefault(job.settings.prompt, len(seen))
        return base, bool(job.entries), stack, prompt

    return sorted(once, key=place)
