"""Two ways to render, on the same prompts and seeds: the request, the pairs, and their pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.preview.ab.ballots import second_is_a
from lorakit.preview.grid.cells import Asked
from lorakit.preview.grid.folder import WorkFolder, open_folder, read_manifest
from lorakit.preview.grid.jobs import Finder, How, Job, complete
from lorakit.preview.grid.rendering import NOBODY, Opener, Rendered, Watch, fill_folder
from lorakit.preview.grid.words import stack_of
from lorakit.preview.picture import save_picture
from lorakit.preview.recipes import UNKNOWN_BASE, recipe_named
from lorakit.stack import Stack

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

MANIFEST = "ab.json"
SCHEMA = "lorakit/ab-folder/1"
MOST_PAIRS = 1000


@dataclass(frozen=True)
class AbRequest:
    """What was asked for: two sides (a base, None for the only one, and a stack), prompts and seeds.

    `asked` holds the settings that all pictures share. `order_seed` decides which side is shown as A.
    """

    sides: tuple[tuple[str | None, Stack], tuple[str | None, Stack]]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    asked: Asked
    how: How
    blind: bool
    order_seed: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        shared = {
            name: value
            for name, value in asdict(self.asked).items()
            if name not in ("stack", "base", "prompt", "seed", "image", "denoise")
        }
        return {
            **shared,
            "sides": [{"base": base, "stack": str(stack)} for base, stack in self.sides],
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            **asdict(self.how),
            "blind": self.blind,
            "order_seed": self.order_seed,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AbRequest:
        """The request that `to_dict` gave. Raises `BadFile` for a document that is none."""
        rest = dict(document)
        try:
            first, second = ((s["base"], Stack.parse(s["stack"])) for s in rest.pop("sides"))
            how = How(**{name: rest.pop(name) for name in asdict(How(""))})
            prompts, seeds = tuple(rest.pop("prompts")), tuple(rest.pop("seeds"))
            blind, order_seed = bool(rest.pop("blind")), int(rest.pop("order_seed"))
            rest["size"] = None if rest["size"] is None else tuple(rest["size"])
            asked = Asked(Stack(), **rest)
        except (KeyError, TypeError, ValueError, AttributeError, LorakitError) as error:
            raise BadFile(f"The manifest's request cannot be read: {error}.") from error
        return cls((first, second), prompts, seeds, asked, how, blind, order_seed)

    def check(self) -> None:
        """Raise `BadUsage` for what no base and no adapter could make right."""
        if self.sides[0] == self.sides[1]:
            raise BadUsage(
                "Both sides are the same.",
                hint="Give two bases (--base A --base B), or two stacks.",
            )
        count = len(self.prompts) * len(self.seeds)
        if not 1 <= count <= MOST_PAIRS:
            raise BadUsage(f"{count} pairs cannot be compared.", hint=f"Give 1 to {MOST_PAIRS}.")
        for prompt, seed in product(self.prompts, self.seeds):
            picture = replace(self.asked, prompt=prompt, seed=seed)
            complete(picture, recipe_named(self.how.recipe or UNKNOWN_BASE))


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt and seed: the jobs of the first and the second side, and the files of
    A and B."""

    number: int
    jobs: tuple[Job, Job]
    files: tuple[str, str]
    second_is_a: bool

    @property
    def shown(self) -> tuple[Job, Job]:
        """The jobs of A and B."""
        return self.jobs[::-1] if self.second_is_a else self.jobs


@dataclass(frozen=True)
class AbPlan:
    """The pairs of a comparison. `name` is the same when everything is that could change a pixel."""

    request: AbRequest
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """What the catalog and the page call it."""
        keys = [job.key for pair in self.pairs for job in pair.jobs]
        text = "\n".join([str(self.request.order_seed), *keys])
        return f"ab-{sha256(text.encode()).hexdigest()[:10]}"

    def labels(self) -> tuple[str, str]:
        """What tells the sides apart: their bases, their stacks, or both."""
        first, second = self.pairs[0].jobs
        stacks = [str(stack_of(job)) or "no adapter" for job in (first, second)]
        bases = [job.base.name for job in (first, second)]
        if stacks[0] == stacks[1]:
            return bases[0], bases[1]
        if bases[0] == bases[1]:
            return stacks[0], stacks[1]
        return f"{stacks[0]} on {bases[0]}", f"{stacks[1]} on {bases[1]}"

    def sides(self) -> list[dict[str, Any]]:
        """The sides as the catalog keeps them."""
        return [
            {
                "name": label,
                "base": job.base.name,
                "base_sha256": job.base.sha256,
                "stack": str(stack_of(job)),
                "adapters": [entry.sha256 for entry in job.entries],
            }
            for label, job in zip(self.labels(), self.pairs[0].jobs, strict=True)
        ]

    def by_file(self) -> dict[str, Job]:
        """Every picture of the comparison."""
        return {
            file: job
            for pair in self.pairs
            for file, job in zip(pair.files, pair.shown, strict=True)
        }

    def missing(self, folder: WorkFolder) -> list[Job]:
        """The jobs that are still to be done."""
        return [job for file, job in self.by_file().items() if not folder.holds(file, job.key)]


def plan_ab(request: AbRequest, catalog: Catalog, device: str) -> AbPlan:
    """Find everything that `request` names. `device` is one that `choose_device` gave.

    Raises what `Finder.jobs` raises, and `BadUsage` when both sides turn out to be the same content.
    """
    finder = Finder(catalog, replace(request.how, device=device))
    picks = list(product(request.prompts, request.seeds))
    jobs = [_jobs(finder, request, side, picks) for side in request.sides]
    order = second_is_a(request.order_seed, len(picks), blind=request.blind)
    digits = len(str(len(picks)))
    pairs = []
    for number, both in enumerate(zip(*jobs, strict=True), start=1):
        if both[0].key == both[1].key:
            raise BadUsage("Both sides have the same content, so there is nothing to compare.")
        files = (f"pair{number:0{digits}}-a.png", f"pair{number:0{digits}}-b.png")
        pairs.append(Pair(number, (both[0], both[1]), files, order[number - 1]))
    return AbPlan(request, tuple(pairs))


def _jobs(
    finder: Finder,
    request: AbRequest,
    side: tuple[str | None, Stack],
    picks: Sequence[tuple[str, int]],
) -> list[Job]:
    base, stack = side
    asked = replace(request.asked, base=base, stack=stack)
    return finder.jobs([replace(asked, prompt=p, seed=s) for p, s in picks], stack)


def open_ab_folder(path: Path, request: AbRequest) -> WorkFolder:
    """The folder of a comparison, new or to be gone on with. Raises as `open_folder`."""
    return open_folder(path, MANIFEST, SCHEMA, request.to_dict())


def read_ab_request(path: Path) -> AbRequest:
    """The request of the comparison in a folder. Raises `BadFile` for a folder without one."""
    return AbRequest.from_dict(read_manifest(path / MANIFEST, SCHEMA)["request"])


def render_ab(
    plan: AbPlan,
    folder: WorkFolder,
    *,
    device: str,
    compiled: bool = False,
    watch: Watch = NOBODY,
    on_picture: Callable[[str, Rendered], None] = lambda file, rendered: None,
    opener: Opener | None = None,
) -> dict[str, str]:
    """Render what `folder` lacks, as `fill_folder` does.

    Blind pictures do not say what made them or how long it took, and once all are there none is older
    than the others.
    """
    problems = fill_folder(
        folder,
        plan.by_file(),
        _save_silent if plan.request.blind else _save,
        device=device,
        compiled=compiled,
        # The first picture of a model takes longer, which would tell.
        timed=not plan.request.blind,
        watch=watch,
        on_picture=on_picture,
        opener=opener,
    )
    if plan.request.blind and not plan.missing(folder):
        newest = max((folder.pictures / file).stat().st_mtime for file in plan.by_file())
        for file in plan.by_file():
            os.utime(folder.pictures / file, (newest, newest))
    return problems


def _save(rendered: Rendered, path: Path) -> None:
    assert rendered.image is not None
    save_picture(rendered.image, path, rendered.job.settings, rendered.origin, overwrite=True)


def _save_silent(rendered: Rendered, path: Path) -> None:
    assert rendered.image is not None
    rendered.image.save(path, "png")
