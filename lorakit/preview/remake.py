"""From what a picture says of itself to the base and the stack that make it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.formats.generation import Generation, StartImage, UsedAdapter
from lorakit.preview.settings import (
    LARGEST_CFG,
    LARGEST_SEED,
    LONGEST_SIDE,
    MOST_STEPS,
    SIDE_STEP,
)
from lorakit.stack import Entry, Stack
from lorakit.strengths import Strength
from lorakit.strengths.tags import parse_tag

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord, BaseRecord

T = TypeVar("T")
# Fewer digits fit several files by accident.
_FEWEST_DIGITS = 8


@dataclass(frozen=True)
class Found:
    """What was found, with sentences on what is not certain."""

    stack: Stack
    base: str | None
    remarks: tuple[str, ...]


def find_ingredients(
    catalog: Catalog, made: Generation, *, stack: bool = True, base: bool = True
) -> Found:
    """Find the adapters and the base that `made` names, in `catalog`.

    By hash first: the whole SHA-256 or its beginning, of the file or its tensors, then the hashes that
    headers state of themselves. Else by name, with a remark. `stack` and `base` say which are wanted;
    a picture that names no base leaves it open.

    Raises `NotFound` that lists everything that is missing, and `BadUsage` for a strength that lorakit
    does not know.
    """
    remarks: list[str] = []
    missing: list[str] = []
    entries = []
    if stack:
        records = catalog.adapters() if made.adapters else []
        for used in made.adapters:
            record = _adapter(catalog, records, used, remarks)
            if record is None:
                missing.append(_named("the adapter", used.name, used.hashes))
            else:
                entries.append(Entry(f"sha256:{record.file_sha256}", _strength(used, remarks)))
    found_base = None
    if base and (made.base_name or made.base_hash):
        found_base = _base(catalog.bases(), made, remarks)
        if found_base is None:
            hashes = (made.base_hash,) if made.base_hash else ()
            missing.append(_named("the base", made.base_name, hashes))
    if missing:
        raise NotFound(
            f"The picture was made with {', and '.join(missing)}, which the catalog does not know.",
            hint="`lorakit add FILE` and `lorakit base add FILE` add them; a STACK or --base given here "
            "takes their place.",
        )
    name = None if found_base is None else found_base.name
    return Found(Stack(tuple(entries)), name, tuple(remarks))


def find_start_image(start: StartImage, picture: Path) -> Path:
    """The image that `picture` began from, beside it or here.

    Raises `LorakitError` when there is none of that name, or another one.
    """
    places = dict.fromkeys((picture.parent / start.name, Path(start.name)))
    there = [path for path in places if path.is_file()]
    for path in there:
        if start.sha256 is None or _sha256(path) == start.sha256:
            return path
    what = "is another image" if there else "is not beside it or in this folder"
    raise LorakitError(
        f"The picture began from the image {start.name}, which {what}.",
        hint="Name it with --image.",
    )


def fitting(made: Generation) -> tuple[dict[str, int | float], tuple[str, ...]]:
    """The numbers of `made` as `RenderSettings` takes them, and remarks on those that were changed.

    Other programs render sizes, seeds and guidance that lorakit does not.
    """
    values: dict[str, int | float] = {}
    remarks: list[str] = []

    def take(name: str, value: float | None, possible: Callable[[float], float]) -> None:
        if value is None:
            return
        values[name] = possible(value)
        if values[name] != value:
            remarks.append(f"Its {name} {value} became {values[name]}.")

    take("width", made.width, _side)
    take("height", made.height, _side)
    take("steps", made.steps, lambda steps: min(max(1, steps), MOST_STEPS))
    take("cfg", made.cfg, lambda cfg: min(max(1.0, cfg), LARGEST_CFG))
    take("seed", made.seed, lambda seed: int(seed) & LARGEST_SEED)
    if made.shift is not None and made.shift > 0:
        values["shift"] = made.shift
    if made.denoise is not None and 0 < made.denoise <= 1:
        values["denoise"] = made.denoise
    return values, tuple(remarks)


def differences(made: Generation, here: dict[str, str]) -> tuple[str, ...]:
    """Why a picture that lorakit made may come out with other pixels `here` (as its environment)."""
    found = [
        f"{name} {made.environment[name]} then, {value} now"
        for name, value in here.items()
        if made.environment.get(name, value) != value
    ]
    return (f"Pixels may differ: {'; '.join(found)}.",) if found else ()


def _adapter(
    catalog: Catalog, records: Sequence[AdapterRecord], used: UsedAdapter, remarks: list[str]
) -> AdapterRecord | None:
    hashes = [digest for digest in used.hashes if len(digest) >= _FEWEST_DIGITS]
    by_hash = [r for r in records if any(_has_hash(r, digest) for digest in hashes)]
    claimed = by_hash or [r for digest in hashes for r in catalog.claiming(digest)]
    if claimed:
        return _one_of(claimed, used.name, lambda record: record.name)
    by_name = [record for record in records if _called(used.name, record)]
    if not by_name:
        return None
    why = "has another hash than the picture's" if hashes else "may be another version of it"
    record = _one_of(by_name, used.name, lambda record: record.name)
    remarks.append(f"{record.name} was found by its name, and {why}.")
    return record


def _base(bases: Iterable[BaseRecord], made: Generation, remarks: list[str]) -> BaseRecord | None:
    listed = list(bases)
    digest = made.base_hash if len(made.base_hash) >= _FEWEST_DIGITS else ""
    by_hash = [b for b in listed if digest and (b.file_sha256 or "").startswith(digest)]
    if by_hash:
        return _one_of(by_hash, made.base_name, lambda base: base.name)
    name = made.base_name.casefold()
    by_name = [b for b in listed if name in (b.name.casefold(), b.path.stem.casefold())]
    if not by_name:
        return None
    base = _one_of(by_name, made.base_name, lambda base: base.name)
    why = "has another hash than the picture's" if digest else "may be another version of it"
    remarks.append(f"The base {base.name} was found by its name, and {why}.")
    return base


def _has_hash(record: AdapterRecord, digest: str) -> bool:
    return record.file_sha256.startswith(digest) or record.tensor_sha256.startswith(digest)


def _called(name: str, record: AdapterRecord) -> bool:
    """Whether `name` is the adapter's, one of its files', or its title (A1111's alias)."""
    names = {record.name, record.title or "", *(path.stem for path in record.locations)}
    return bool(name) and name.casefold() in {known.casefold() for known in names}


def _one_of(found: Sequence[T], name: str, name_of: Callable[[T], str]) -> T:
    """The one called `name`, else the first: equal hashes mean equal weights."""
    return next((one for one in found if name_of(one).casefold() == name.casefold()), found[0])


def _strength(used: UsedAdapter, remarks: list[str]) -> Strength:
    if used.strength is None and not used.arguments:
        remarks.append(f"The strength of {used.name} is not stated; 1 is assumed.")
        return Strength(1.0)
    try:
        if used.strength is not None:
            return Strength.parse(used.strength)
        return parse_tag(used.arguments)
    except BadUsage as error:
        stated = used.strength or ":".join(used.arguments)
        raise BadUsage(
            f"The strength of {used.name} in the picture, {stated!r}, is not one that lorakit knows: "
            f"{error.message}",
            hint="Give the stack yourself: lorakit preview STACK --from PICTURE",
        ) from error


def _named(what: str, name: str, hashes: Sequence[str]) -> str:
    digest = f" ({hashes[0][:12]})" if hashes else ""
    return f"{what} {name or 'without a name'}{digest}"


def _side(side: float) -> int:
    return min(max(round(side / SIDE_STEP) * SIDE_STEP, SIDE_STEP), LONGEST_SIDE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
