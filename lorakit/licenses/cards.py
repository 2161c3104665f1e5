"""Model cards: what the YAML at the top of a README.md says of licence and bases.

Keys as Hugging Face defines them: `license`, `license_name` and `license_link` (for `license: other`),
`base_model` (one or several) and `base_model_relation`, `instance_prompt` (its trigger words), `tags`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from lorakit.licenses.civitai import link_permissions, permission_terms
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.known import by_repository, known
from lorakit.licenses.lineage import model_dossier
from lorakit.licenses.spdx import all_of, license_terms, unknown_license
from lorakit.licenses.terms import ShareMerges, Terms

_MAX_FRONT = 100_000


@dataclass(frozen=True)
class Card:
    """What a card's front matter says; empty where it says nothing."""

    licenses: tuple[str, ...] = ()
    license_name: str = ""
    license_link: str = ""
    bases: tuple[str, ...] = ()
    relation: str = ""
    trigger_words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def says_anything(self) -> bool:
        """Whether it names a licence or a base."""
        return bool(self.licenses or self.license_name or self.bases)


def read_card(text: str) -> Card:
    """The front matter of a card; an empty one where there is none. Raises `ValueError`."""
    front = _front(text)
    if front is None:
        return Card()
    # Imported when there is a card to read.
    import yaml

    try:
        fields = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(str(error).split("\n", 1)[0]) from error
    if not isinstance(fields, Mapping):
        return Card()
    return Card(
        _texts(fields.get("license")),
        next(iter(_texts(fields.get("license_name"))), ""),
        next(iter(_texts(fields.get("license_link"))), ""),
        _texts(fields.get("base_model")),
        next(iter(_texts(fields.get("base_model_relation"))), "").lower(),
        _texts(fields.get("instance_prompt")),
        _texts(fields.get("tags")),
    )


def card_terms(card: Card, source: str, read_on: date | None) -> Terms | None:
    """The terms of the licence that a card names; None where it names none."""
    linked = link_permissions(card.license_link) if card.license_link else None
    if linked is not None:
        return permission_terms(linked, source, read_on)
    named = [card.license_name if name.lower() == "other" else name for name in card.licenses]
    if not card.licenses and card.license_name:
        named = [card.license_name]
    found = [license_terms(name, source, read_on) for name in named if name]
    if len(found) < len(named):
        found.append(unknown_license(card.license_link or "other", source, read_on))
    return all_of(found) if found else None


def card_ancestors(card: Card, where: str, *, adapter: bool) -> tuple[Dossier, ...]:
    """The models whose weights the card says are in the file.

    An adapter that was trained on a base holds none of its weights: see `card_notes`.
    """
    if _is_trained_on(card, adapter):
        return ()
    verb = {"merge": "was merged from", "quantized": "was quantised from"}.get(
        card.relation, "was fine-tuned from"
    )
    return tuple(
        _ancestor(base, f"{verb} {base} (base_model in {where})", where) for base in card.bases
    )


def card_notes(card: Card, where: str, *, adapter: bool) -> Iterator[str]:
    """What the card says of the base that an adapter was trained on."""
    for base in card.bases if _is_trained_on(card, adapter) else ():
        key = by_repository(base)
        title = known()[key].terms.title if key else base
        yield (
            f"It was trained on {title} ({where}); that alone puts none of that model's weights into it."
        )


def _is_trained_on(card: Card, adapter: bool) -> bool:
    return adapter and card.relation not in ("merge", "finetune", "quantized")


def _ancestor(base: str, relation: str, where: str) -> Dossier:
    key = by_repository(base)
    if key is not None:
        return model_dossier(key, relation)
    terms = Terms(
        base, ShareMerges.UNKNOWN, f"The terms of {base} are not known here.", where, None
    )
    return Dossier(base, "base", None, None, (Claim("ancestor", terms, found=where),), (), relation)


def _front(text: str) -> str | None:
    """The YAML between the first two lines of three dashes."""
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    ends = (number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    end = next(ends, None)
    front = None if end is None else "\n".join(lines[1:end])
    return front if front is not None and len(front) <= _MAX_FRONT else None


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 (YAML is anything)
    """A text or a list of texts, cleaned for terminals and databases; anything else is nothing."""
    values = value if isinstance(value, list) else [value]
    texts = (v.encode("utf-8", "replace").decode()[:500] for v in values if isinstance(v, str))
    cleaned = (" ".join(text.split()) for text in texts)
    return tuple(dict.fromkeys(text for text in cleaned if text))
