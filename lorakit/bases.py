"""Which base is meant, where its parts are, and under which terms it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage, Refused
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.gathering import base_dossier
from lorakit.licenses.terms import Terms, model_terms, strictest
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from lorakit.catalog import BaseRecord, Catalog

# The entry of the table of known models for a base that nobody has named: unknown, so denied.
UNNAMED_MODEL = "other"


@dataclass(frozen=True)
class ChosenBase:
    """A base to stack on: a registered one, or a file that was named directly.

    `models` are all the models that this content has been registered as, under whatever name;
    `content` is its `tensor_sha256`, where it is known.
    """

    name: str
    path: Path
    models: tuple[str, ...]
    components: str | None
    sha256: str | None
    content: str | None = None

    def dossier(self, catalog: Catalog | None = None) -> Dossier:
        """Everything known of the base's terms; what its file says is kept in `catalog`."""
        return base_dossier(catalog, self.name, self.path, self.models, self.content, self.sha256)


def choose_base(catalog: Catalog, name: str | None) -> ChosenBase:
    """The registered base called `name`, the file at that path, or the only one registered.

    Raises `NotFound` for a name or file that is not there, `BadUsage` when `name` is None and there is
    not exactly one, `BadFile` when a registered file has been replaced by another.
    """
    if name is not None and is_file(path := expanded(name)):
        return ChosenBase(path.stem, path, (UNNAMED_MODEL,), None, None)
    if name is None:
        bases = catalog.bases()
        if not bases:
            raise BadUsage(
                "No base is registered yet.",
                hint="`lorakit base add FILE --as rdbt` registers one.",
            )
        if len(bases) > 1:
            known = ", ".join(base.name for base in bases)
            raise BadUsage("Say which base with --base NAME.", hint=f"Registered are: {known}.")
        name = bases[0].name
    record = catalog.base(name)
    path = record.unchanged_path()
    sha256, content = record.file_sha256, record.tensor_sha256
    models = tuple(base.model for base in same_content(catalog, path, sha256, content))
    return ChosenBase(record.name, path, models, record.components, sha256, content)


def same_content(
    catalog: Catalog, path: Path, sha256: str | None, content: str | None = None
) -> list[BaseRecord]:
    """Every registration of the weights at `path`: by a hash, or by the file they lead to.

    `content` is their `tensor_sha256`, which an edit of the header leaves as it is.
    """
    real = path.resolve()
    return [
        base
        for base in catalog.bases()
        if (sha256 is not None and base.file_sha256 == sha256)
        or (content is not None and base.tensor_sha256 == content)
        or base.path.resolve() == real
    ]


def strictest_terms(models: Iterable[str]) -> Terms:
    """The terms of the model that allows the least. No model at all is an unnamed one."""
    found = [model_terms(model) for model in models] or [model_terms(UNNAMED_MODEL)]
    least = strictest(terms.share_merges for terms in found)
    return next(terms for terms in found if terms.share_merges == least)


def require_not_looser(
    catalog: Catalog, path: Path, sha256: str, model: str, content: str | None = None
) -> None:
    """Raise `Refused` when the same content is registered under stricter terms than `model`'s.

    A base that nobody has named claims nothing, so it may be named at any time.
    """
    known = [b for b in same_content(catalog, path, sha256, content) if b.model != UNNAMED_MODEL]
    terms, wanted = strictest_terms(b.model for b in known), model_terms(model)
    looser = strictest([terms.share_merges, wanted.share_merges]) != wanted.share_merges
    if known and looser:
        raise Refused(
            f"{path.name} is registered as {terms.title} already (base {known[0].name}): "
            f"{terms.statement} It cannot be registered under the looser terms of {wanted.title}.",
            hint="The strictest terms hold for the same content, whatever it is called.",
        )
