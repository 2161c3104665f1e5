"""Which known model a file is, or was made from: by its hash, its Civitai page, its repository, its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from lorakit.licenses.terms import Terms, entry_terms, table


@dataclass(frozen=True)
class KnownModel:
    """An entry of the table, model or adapter.

    `ancestors` are the keys of what it was made from; `sha256` file hashes, `civitai` model ids,
    `repositories` Hugging Face names and `names` regular expressions by which it is known.
    `adapters_derive` says that its licence counts adapters trained on it among its derivatives.
    """

    key: str
    terms: Terms
    is_adapter: bool
    ancestors: tuple[str, ...]
    sha256: tuple[str, ...]
    civitai: tuple[int, ...]
    repositories: tuple[str, ...]
    names: tuple[str, ...]
    adapters_derive: str


@cache
def known() -> Mapping[str, KnownModel]:
    """Every model and adapter of the table by key, and what they were made from; not the nameless `other`."""
    found = {}
    for section in ("models", "adapters", "upstream"):
        for key, entry in table()[section].items():
            found[key] = _known(key, entry, section == "adapters")
    del found["other"]
    return MappingProxyType(found)


def ancestors_of(model: str) -> tuple[str, ...]:
    """The keys of all that a known model was made from, the nearest first; () for one unknown."""
    found: dict[str, None] = {}
    waiting = list(known()[model].ancestors) if model in known() else []
    while waiting:
        key = waiting.pop(0)
        if key not in found:
            found[key] = None
            waiting += known()[key].ancestors
    return tuple(found)


def lineages() -> Mapping[str, tuple[str, ...]]:
    """What each model was made from, of those that are models of this family themselves.

    None for Anima: what it grew from has another shape, so its weights cannot be compared with.
    """
    upstream = table()["upstream"]
    return {
        key: tuple(one for one in ancestors_of(key) if one not in upstream)
        for key in known()
        if key not in upstream
    }


def by_hash(file_sha256: str | None) -> str | None:
    """The key of the published file with this hash."""
    return next((m.key for m in known().values() if file_sha256 and file_sha256 in m.sha256), None)


def by_civitai(model_id: object) -> str | None:
    """The key of the model with this number on Civitai."""
    return next((m.key for m in known().values() if model_id in m.civitai), None)


def by_repository(text: str) -> str | None:
    """The key of the model that a model card's `base_model` names: a repository, its address or a title."""
    name = re.sub(r"^https?://(www\.)?(huggingface\.co|hf\.co)/", "", text.strip().lower())
    repository = "/".join(name.rstrip("/").split("/")[:2])
    for model in known().values():
        if repository in (r.lower() for r in model.repositories):
            return model.key
        if name in (model.key, model.terms.title.lower()):
            return model.key
    number = re.search(r"civitai\.(?:com|red|green)/models/(\d+)", name)
    return by_civitai(int(number[1])) if number else by_name(text)


def by_name(text: str | None, *, adapter: bool = False) -> str | None:
    """The key of the model that is published under names such as `text`, which may be a file's stem.

    Only models with telling names are found so; anybody may give a file any name. Where a checkpoint
    and an adapter go by the same names, `adapter` chooses.
    """
    # `animaPreviewRdbt` is three words, and `LoRA` one.
    spellings = {_words(text), _words(re.sub(r"([a-z])([A-Z])", r"\1 \2", text or ""))}
    fits = [
        m for m in known().values() if any(re.search(n, s) for n in m.names for s in spellings if s)
    ]
    fits.sort(key=lambda model: model.is_adapter != adapter)
    return fits[0].key if fits else None


def named_as_denying(*names: str | None) -> bool:
    """Whether one of `names` is one under which a model that denies is published."""
    return any(_denying_names().search(_words(name)) for name in names if name)


@cache
def _denying_names() -> re.Pattern[str]:
    models = (m for m in known().values() if m.terms.share_merges == "deny")
    patterns = [f"(?:{pattern})" for model in models for pattern in model.names]
    return re.compile("|".join(patterns) or r"(?!)")


def mentioned(*texts: str | None) -> Iterator[str]:
    """The keys of models that deny and whose name is a word of one of `texts`."""
    found = {word for text in texts for word in _words(text).split()}
    for model in known().values():
        if model.key in found and model.terms.share_merges == "deny":
            yield model.key


def _words(text: str | None) -> str:
    """In lower case, with one space for whatever is neither letter nor digit nor dot."""
    return re.sub(r"[^a-z0-9.]+", " ", (text or "").lower()).strip()


def _known(key: str, entry: Mapping[str, Any], is_adapter: bool) -> KnownModel:
    return KnownModel(
        key,
        entry_terms(entry),
        entry.get("adapter", is_adapter),
        tuple(entry.get("ancestors", ())),
        tuple(entry.get("sha256", ())),
        tuple(entry.get("civitai", ())),
        tuple(entry.get("repositories", ())),
        tuple(entry.get("names", ())),
        entry.get("adapters_derive", ""),
    )
