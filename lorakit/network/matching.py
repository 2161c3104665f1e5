"""Which version on Civitai an adapter is, among those listed under its hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PureWindowsPath
from typing import Any

from lorakit.formats.own_record import rows, table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.civitai import file_hashes
from lorakit.network.civitai import Found, number

_NO_DATE = "9999"
# Civitai gives sizes in kilobytes, as a rounded fraction.
_ROUNDING = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """One content of the catalog: what it is called, and the hashes, names and sizes of its files."""

    content: str
    name: str
    hashes: frozenset[str]
    files: frozenset[str] = frozenset()
    sizes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that is listed under a subject's hash, with its model's answer.

    `version` is None where the model does not show it. `strange` says that the version lists other
    files than this one: the hash was wrong on one side.
    """

    found: Found
    model: Mapping[str, Any]
    version: Mapping[str, Any] | None
    strange: bool
    name_fits: bool
    size_fits: bool

    @property
    def where(self) -> str:
        """What it is called in remarks."""
        return f"Civitai model {self.found.model}, version {self.found.version}"


@dataclass(frozen=True, slots=True)
class Match:
    """What came of one subject: the version taken, if any, all candidates, and what to know of it."""

    subject: Subject
    taken: Candidate | None
    candidates: tuple[Candidate, ...]
    remarks: tuple[str, ...]


def match(
    subject: Subject, found: Sequence[Found], models: Mapping[int, Mapping[str, Any]], host: str
) -> Match:
    """The version that a subject is, by file name, then size, then age; `found` is not empty."""
    # Two files of one content may be listed under the same version.
    versions = {one.version: one for one in found if one.model in models}
    candidates = tuple(_candidate(subject, one, models[one.model]) for one in versions.values())
    gone = sorted({one.model for one in found if one.model not in models})
    sound = sorted((one for one in candidates if not one.strange), key=_order)
    remarks = [
        f"{subject.name}: Civitai model {one} was deleted, or {host} does not show it; what is known of "
        "it stays."
        for one in gone
    ]
    remarks += [
        f"{subject.name}: {one.where} is listed under its hash, but lists other files; it is passed over."
        for one in candidates
        if one.strange
    ]
    if len(sound) > 1:
        remarks.append(_choice(subject, sound))
    taken = sound[0] if sound else None
    state = values.known_line(taken.model.get("mode")) if taken else None
    if taken and state:
        remarks.append(f"{subject.name}: Civitai model {taken.found.model} is {state} there.")
    return Match(subject, taken, candidates, tuple(remarks))


def _candidate(subject: Subject, found: Found, model: Mapping[str, Any]) -> Candidate:
    versions = (table(one) for one in rows(model.get("modelVersions")))
    version = next((one for one in versions if number(one.get("id")) == found.version), None)
    if version is None:
        return Candidate(found, model, None, False, False, False)
    listed = {*file_hashes(version)}
    strange = bool(listed) and not any(_is_of(subject, one) for one in listed)
    files = [table(file) for file in rows(version.get("files"))]
    names = {_file_name(file.get("name")) for file in files}
    mine = {_file_name(name) for name in subject.files}
    sizes = [size for file in files if (size := _kilobytes(file.get("sizeKB"))) is not None]
    near = any(abs(size - own / 1024) <= _ROUNDING for size in sizes for own in subject.sizes)
    return Candidate(found, model, version, strange, bool(names & mine - {""}), near)


def _is_of(subject: Subject, listed: str) -> bool:
    return subject.content.startswith(listed) or any(
        own.startswith(listed) for own in subject.hashes
    )


def _order(one: Candidate) -> tuple[bool, bool, bool, str, int]:
    version = one.version or {}
    dated = values.line(version.get("publishedAt")) or values.line(version.get("createdAt"))
    return (
        one.version is None,
        not one.name_fits,
        not one.size_fits,
        dated or _NO_DATE,
        one.found.version,
    )


def _choice(subject: Subject, sound: Sequence[Candidate]) -> str:
    first, second = sound[0], sound[1]
    by = "the oldest of them"
    if first.name_fits and not second.name_fits:
        by = "by the name of its file"
    elif first.size_fits and not second.size_fits:
        by = "by its size"
    others = _listed(one.where for one in sound[1:])
    return f"{subject.name}: {first.where} is taken, {by}; the same file is in {others}."


def _listed(texts: Iterable[str], most: int = 3) -> str:
    found = list(texts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more


def _file_name(value: object) -> str:
    return PureWindowsPath(PurePath(values.line(value) or "").name).name.casefold()


def _kilobytes(value: object) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if good and 0 < value < 1e12 else None  # type: ignore[operator, arg-type]
