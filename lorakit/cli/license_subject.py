"""Which adapter, base or model a NAME on the command line means, and what is known of its terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import Ambiguous, BadFile, NotFound
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog
    from lorakit.cli.output import Output
    from lorakit.licenses.dossier import Dossier

_CONTENT = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class LicenseSubject:
    """What a NAME means: `content` is what claims about it are kept under, `dossier` what is known."""

    content: str
    dossier: Dossier


def find_subject(catalog: Catalog, name: str, out: Output) -> LicenseSubject:
    """A file, an adapter or base of the catalog, a known model's key, or the SHA-256 of some tensors.

    Raises `NotFound` and `Ambiguous` for a name, `BadFile` for a file that is neither.
    """
    if is_file(path := expanded(name)):
        return _of_file(catalog, path, out)
    base = next((base for base in catalog.bases() if base.name == name), None)
    adapter, missed = _adapter(catalog, name)
    if base is not None and adapter is not None and adapter.name == name:
        raise Ambiguous(
            f"Both a base and an adapter are called {name!r}.",
            hint=f"Name the file: {base.path} or {adapter.path}.",
        )
    if base is None and adapter is not None:
        return _of_adapter(catalog, adapter)
    try:
        return _of_base(catalog, base or catalog.base(name))
    except NotFound:
        return _of_words(catalog, name, missed)


def _adapter(catalog: Catalog, name: str) -> tuple[AdapterRecord | None, NotFound]:
    try:
        return catalog.resolve(name), NotFound("")
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
    if "/" in name:
        raise missed
    raise NotFound(f"No adapter, base or known model is called {name!r}.", hint=missed.hint)


def _of_adapter(catalog: Catalog, record: AdapterRecord) -> LicenseSubject:
    from lorakit.licenses.gathering import recorded_dossier
    from lorakit.stack import Entry, resolve_stack

    if record.missing:
        return LicenseSubject(record.tensor_sha256, recorded_dossier(catalog, record))
    (entry,) = resolve_stack([Entry(f"sha256:{record.file_sha256}")], catalog)
    return LicenseSubject(record.tensor_sha256, entry.dossier(catalog))


def _of_base(catalog: Catalog, record: BaseRecord) -> LicenseSubject:
    from lorakit.bases import same_content
    from lorakit.licenses.gathering import base_dossier

    content, path = record.tensor_sha256, record.path
    if content is None:
        raise NotFound(
            f"The base {record.name} was registered before its content was noted.",
            hint=f"Register it again: lorakit base add {path} --name {record.name}",
        )
    if record.changed:
        record.unchanged_path()
    same = same_content(catalog, path, record.file_sha256, content)
    models = tuple(base.model for base in same)
    dossier = base_dossier(catalog, record.name, path, models, content, record.file_sha256)
    return LicenseSubject(content, dossier)


def _of_file(catalog: Catalog, path: Path, out: Output) -> LicenseSubject:
    """A file by its path, in the catalog or not: its content is hashed."""
    from lorakit.bases import same_content
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.formats.hashing import hash_file
    from lorakit.formats.header import read_header
    from lorakit.formats.inspection import inspect
    from lorakit.licenses.gathering import adapter_dossier, base_dossier

    report = inspect(path, hashes=False)
    if not report.modules:
        try:
            read_checkpoint(path)
        except BadFile as error:
            raise BadFile(f"{path} is neither an Anima adapter nor an Anima checkpoint.") from error
    with out.progress("Hashing") as update:
        update(0, 0, path.name)
        hashes = hash_file(path, read_header(path).data_offset)
    content, sha256 = hashes.tensor_sha256, hashes.file_sha256
    if report.modules:
        dossier = adapter_dossier(catalog, path, report, path.stem, content, sha256)
    else:
        models = tuple(b.model for b in same_content(catalog, path, sha256, content))
        dossier = base_dossier(catalog, path.stem, path, models, content, sha256)
    return LicenseSubject(content, dossier)
