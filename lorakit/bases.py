"""Which base is meant, where its parts are, and under which terms it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile, BadUsage, Refused
from lorakit.formats.model_files import INDEX_SUFFIX, is_folder, is_pipeline, model_files
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
    """The registered base called `name`, the model at that path, or the only one registered.

    A path is that of a file, of an index of shards, or of a folder; where it leads to a registered base it
    means that. A name that a base has means the base, though a folder be called so, too. Raises `NotFound`
    for a name or file that is not there, `BadUsage` when `name` is None and there is not exactly one,
    `BadFile` when registered files have been replaced by others.
    """
    if name is not None and (path := _path_of(catalog, name)) is not None:
        there = registered_at(catalog, path)
        if there is None:
            called = path.name.removesuffix(INDEX_SUFFIX).removesuffix(".safetensors") or str(path)
            return ChosenBase(called, path, (UNNAMED_MODEL,), own_components(path), None)
        name = there.name
    if name is None:
        bases = catalog.bases()
        if not bases:
            raise BadUsage(
                "No base is registered yet.",
                hint="`lorakit base add FILE --as rdbt` registers one.",
            )
        if len(bases) > 1:
            known = ", ".join(base.name for base in bases)
            raise BadUsage(
                f"Several bases are registered, so say which: {known}.",
                hint=f"Add it to the command, such as: --base {shlex.quote(bases[0].name)}\n"
                "A stack that is kept with its base needs none: lorakit stack STACK --base NAME --keep NEW",
            )
        name = bases[0].name
    record = catalog.base(name)
    path = record.unchanged_path()
    sha256, content = record.file_sha256, record.tensor_sha256
    models = tuple(base.model for base in same_content(catalog, path, sha256, content))
    return ChosenBase(record.name, path, models, record.components, sha256, content)


def _path_of(catalog: Catalog, name: str) -> Path | None:
    """The path that `name` is; None where it is none, or a folder's that is a base's name as well."""
    path = expanded(name)
    if is_file(path):
        return path
    known = any(base.name == name for base in catalog.bases())
    return path if is_folder(path) and not known else None


def own_components(path: Path) -> str | None:
    """The folder at `path` where it is a whole pipeline of diffusers', which has the other parts, too."""
    whole = is_pipeline(path) and all(is_folder(path / part) for part in ("text_encoder", "vae"))
    return str(path.absolute()) if whole else None


def registered_at(catalog: Catalog, path: Path) -> BaseRecord | None:
    """The registered base that lies at `path`, as it was registered; None where there is none.

    The same files may be named in several ways: by their folder, by their index, by one of them.
    """
    wanted = _files_at(path)
    unchanged = (base for base in catalog.bases() if not (base.missing or base.changed))
    return next((base for base in unchanged if _files_at(base.path) == wanted), None)


def _files_at(path: Path) -> frozenset[Path]:
    try:
        return frozenset(file.path.resolve() for file in model_files(path))
    except BadFile:
        return frozenset([path.resolve()])


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
