"""Which adapter, base or model a NAME on the command line means, and what is known of its terms."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase, same_content
from lorakit.catalog.naming import looks_like_path, normal, refuse_beginning
from lorakit.errors import Ambiguous, BadFile, LorakitError, NotFound
from lorakit.formats.model_files import is_folder
from lorakit.formats.peft_folder import adapter_file
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog
    from lorakit.cli.output import Output
    from lorakit.gate.subjects import Subject
    from lorakit.licenses.dossier import Dossier

_CONTENT = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class LicenseSubject:
    """What a NAME means: `content` is what claims about it are kept under, `dossier` what is known."""

    content: str
    dossier: Dossier


def find_subject(
    catalog: Catalog, name: str, out: Output, *, weights: bool = False, whole: bool = False
) -> LicenseSubject:
    """A file, an adapter or base of the catalog, a known model's key, or the SHA-256 of some tensors.

    `weights` compares its weights with those of known models too, as an export does; with `whole` the
    beginning of a name is none, as whatever puts terms on record asks it. Raises `NotFound`
    and `Ambiguous` for a name, `BadFile` for a file that is neither.
    """
    path = adapter_file(expanded(name))
    if is_file(path) or (is_folder(path) and looks_like_path(name)):
        return _judged(catalog, _of_file(catalog, path, out), weights)
    base = next((base for base in catalog.bases() if base.name == name), None)
    adapter, missed = _adapter(catalog, name, whole)
    if base is not None and adapter is not None and adapter.name == name:
        raise Ambiguous(
            f"Both a base and an adapter are called {name!r}.",
            hint=f"Name the file: {base.path} or {adapter.path}.",
        )
    if base is None and adapter is not None:
        return _of_adapter(catalog, adapter, weights)
    base = base or _base_called(catalog, name, whole)
    if base is None:
        return _of_words(catalog, name, missed)
    return _judged(catalog, _of_base(catalog, base), weights and not base.missing)


def _base_called(catalog: Catalog, name: str, whole: bool) -> BaseRecord | None:
    from lorakit.licenses.known import known

    try:
        found = catalog.base(name)
    except NotFound:
        return None
    if whole and found.name.casefold() != normal(name).casefold():
        if name in known():
            return None
        refuse_beginning(name, [found.name], "adapter, base or known model")
    return found


def _judged(catalog: Catalog, subject: Subject, weights: bool) -> LicenseSubject:
    """What is known of a subject, with the known models that are recognised in its weights."""
    content = subject.content if isinstance(subject, ChosenBase) else subject.tensor_sha256
    assert content is not None
    if not weights:
        return LicenseSubject(content, subject.dossier(catalog))
    from lorakit.gate.judging import dossiers_of

    try:
        (dossier,) = dossiers_of(catalog, [subject])
    except LorakitError as error:
        dossier = subject.dossier(catalog)
        problem = f"Its weights cannot be compared with those of known models. {error.message}"
        dossier = replace(dossier, problems=(*dossier.problems, problem))
    return LicenseSubject(content, dossier)


def _adapter(catalog: Catalog, name: str, whole: bool) -> tuple[AdapterRecord | None, NotFound]:
    try:
        return catalog.resolve(name, whole=whole), NotFound("")
    except NotFound as error:
        return None, error


def _of_words(catalog: Catalog, name: str, missed: NotFound) -> LicenseSubject:
    from lorakit.licenses.dossier import Dossier
    from lorakit.licenses.gathering import MODEL_CONTENT, model_subject, stored_dossier
    from lorakit.licenses.known import known

    if name in known():
        return LicenseSubject(f"{MODEL_CONTENT}{name}", model_subject(catalog, name))
    if found := _CONTENT.fullmatch(name.lower()):
        subject = Dossier(name, "adapter", found[1], None, ())
        return LicenseSubject(found[1], stored_dossier(catalog, subject))
    if looks_like_path(name):
        raise missed
    raise NotFound(f"No adapter, base or known model is called {name!r}.", hint=missed.hint)


def _of_adapter(catalog: Catalog, record: AdapterRecord, weights: bool) -> LicenseSubject:
    from lorakit.licenses.gathering import recorded_dossier
    from lorakit.stack import Entry, resolve_stack

    if record.missing:
        return LicenseSubject(record.tensor_sha256, recorded_dossier(catalog, record))
    (entry,) = resolve_stack([Entry(f"sha256:{record.file_sha256}")], catalog)
    return _judged(catalog, entry, weights)


def _of_base(catalog: Catalog, record: BaseRecord) -> ChosenBase:
    content, path = record.tensor_sha256, record.path
    if content is None:
        raise NotFound(
            f"The base {record.name} was registered before its content was noted.",
            hint="Register it again: lorakit base add "
            + shlex.join((str(path), "--name", record.name)),
        )
    if record.changed:
        record.unchanged_path()
    return _base(catalog, record.name, path, record.file_sha256, content)


def _base(catalog: Catalog, name: str, path: Path, sha256: str | None, content: str) -> ChosenBase:
    models = tuple(base.model for base in same_content(catalog, path, sha256, content))
    return ChosenBase(name, path, models, None, sha256, content)


def _of_file(catalog: Catalog, path: Path, out: Output) -> Subject:
    """A file or a checkpoint's folder by its path, in the catalog or not: its content is hashed."""
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.formats.hashing import hash_model
    from lorakit.formats.inspection import inspect
    from lorakit.stack import ResolvedEntry
    from lorakit.strengths import as_strength

    several = is_folder(path) or path.suffix == ".json"
    report = None if several else inspect(path, hashes=False)
    if report is None or not report.modules:
        try:
            read_checkpoint(path)
        except BadFile as error:
            raise BadFile(f"{path} is neither an Anima adapter nor an Anima checkpoint.") from error
    with out.progress("Hashing") as update:
        update(0, 0, path.name)
        hashes = hash_model(path).whole
    content, sha256 = hashes.tensor_sha256, hashes.file_sha256
    if report is None or not report.modules:
        return _base(catalog, path.stem, path, sha256, content)
    return ResolvedEntry(path.stem, as_strength(1.0), path, report, sha256, content)
