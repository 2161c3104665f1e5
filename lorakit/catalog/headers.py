"""Headers of many files, as the catalog keeps them: what files have in common is worked out once.

Files of one trainer at one rank differ in their metadata alone: the tensors are described in the same
words, nine tenths of the header. So what was worked out of such words is kept, and a header that ends in
them costs no more than its metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any

from lorakit.catalog.paths import stat_of
from lorakit.catalog.records import RejectedFile
from lorakit.catalog.reports import Columns, columns_of, of_the_file
from lorakit.catalog.scanning import FoundFile, fingerprint_of
from lorakit.errors import BadFile
from lorakit.formats.header import LENGTH_BYTES, Header, TensorInfo, parse_header, read_raw
from lorakit.formats.inspection import AdapterReport, report_header
from lorakit.formats.metadata import read_training_info
from lorakit.formats.peft_config import read_peft_config
from lorakit.formats.scalars import read_scalars

_METADATA = re.compile(r'\{\s*"__metadata__"\s*:\s*')
# Words of 70 KB each; a collection has fewer kinds of files than that, nearly always.
_MOST = 256
_MOST_ALPHAS = 8
_DECODER = JSONDecoder()


@dataclass(frozen=True, slots=True)
class RawHeader:
    """The header of a file as it was read, and the file's size then."""

    path: Path
    raw: bytes
    size: int

    @property
    def data_offset(self) -> int:
        """Where the tensors begin."""
        return LENGTH_BYTES + len(self.raw)


@dataclass
class _Kind:
    """What headers that end in the same `words` have in common.

    `bare` is the report without what the metadata says. `alphas` are the tensors of one number;
    `columns` the columns by their values, under None where they were not read.
    """

    words: bytes
    data_bytes: int
    bare: AdapterReport
    alphas: Mapping[str, TensorInfo]
    columns: dict[tuple[float, ...] | None, Columns] = field(default_factory=dict)


class Headers:
    """Reads headers, and remembers what those it has read have in common."""

    def __init__(self) -> None:
        """Nothing is known at first."""
        self._kinds: list[_Kind] = []

    def open(self, file: FoundFile) -> RawHeader:
        """The header of a file, which has to be as it was found. Raises `BadFile`."""
        path = Path(file.path)
        raw, size = read_raw(path)
        require_unchanged(file)
        return RawHeader(path, raw, size)

    def read(self, raw: RawHeader, *, scalars: bool) -> Columns | RejectedFile:
        """What `columns_of` and `report_header` give; a refusal of what is valid but no Anima adapter.

        Without `scalars` the file is not opened, and its alphas are left out. Raises `BadFile`.
        """
        found = self._like_another(raw, scalars)
        if found is not None:
            return found
        header = parse_header(raw.path, raw.raw, raw.size)
        report = report_header(header, scalars=scalars)
        if not read_peft_config(header):
            self._remember(raw, header, report, scalars)
        return columns_of(report) if report.modules else RejectedFile(raw.path, report.notes[0])

    def refusal(self, raw: RawHeader) -> RejectedFile | None:
        """Why a valid header is no Anima adapter's, None for one of an adapter. Raises `BadFile`.

        A header that ends like an adapter's costs a comparison; what else is wrong with it, `read` tells.
        """
        text, data_bytes = _without_spaces(raw), raw.size - raw.data_offset
        for kind in self._kinds:
            same_end = kind.data_bytes == data_bytes and text.endswith(kind.words)
            if same_end and kind.bare.modules:
                return None
        found = self.read(raw, scalars=False)
        return found if isinstance(found, RejectedFile) else None

    def _like_another(self, raw: RawHeader, scalars: bool) -> Columns | RejectedFile | None:
        text = _without_spaces(raw)
        data_bytes = raw.size - raw.data_offset
        for place, kind in enumerate(self._kinds):
            if kind.data_bytes == data_bytes and text.endswith(kind.words):
                header = _header(raw, text[: len(text) - len(kind.words)])
                # A config beside the file, or in its metadata, says more of its alphas.
                if header is None or read_peft_config(header):
                    return None
                # Files lie among their like: what was of use last is looked at first.
                self._kinds.insert(0, self._kinds.pop(place))
                if not kind.bare.modules:
                    return RejectedFile(raw.path, kind.bare.notes[0])
                return _columns(kind, header, scalars)
        return None

    def _remember(
        self, raw: RawHeader, header: Header, report: AdapterReport, scalars: bool
    ) -> None:
        words = _words(_without_spaces(raw).decode())
        if words is None:
            return
        known = [one for one in self._kinds if one.words == words]
        alphas = {n: info for n, info in header.tensors.items() if n.endswith(".alpha")}
        values = tuple(read_scalars(header, alphas).values()) if scalars else None
        kind = known[0] if known else _Kind(words, raw.size - raw.data_offset, report, alphas)
        if report.modules and len(kind.columns) < _MOST_ALPHAS:
            kind.columns[values] = columns_of(report)
        if not known:
            self._kinds.insert(0, kind)
            del self._kinds[_MOST:]


def require_unchanged(file: FoundFile) -> None:
    """Raise `BadFile` where a file is no longer as it was found."""
    stat = stat_of(file.path)
    if stat is None or not fingerprint_of(stat).fits(file.fingerprint):
        raise BadFile(
            f"{file.path} changed while it was read.", hint="Add it again when it is written."
        )


def _without_spaces(raw: RawHeader) -> bytes:
    # Writers fill it up, to a multiple of 8 bytes.
    return raw.raw.rstrip(b" ")


def _words(text: str) -> bytes | None:
    """The header behind its metadata, which stands first or nowhere; None for one that is not so."""
    found = _METADATA.match(text)
    if found is None:
        return None if '"__metadata__"' in text else text.encode()
    try:
        _, end = _DECODER.raw_decode(text, found.end())
    except (JSONDecodeError, RecursionError):
        return None
    return text[end:].encode()


def _header(raw: RawHeader, start: bytes) -> Header | None:
    """The header that begins with `start`, without its tensors; None where that is not metadata alone."""
    if not start:
        return Header(raw.path, {}, {}, raw.data_offset, raw.size)
    alone = start + b"}"
    try:
        header = parse_header(raw.path, alone, LENGTH_BYTES + len(alone))
    except BadFile:
        # Reading it whole will tell what is wrong.
        return None
    if header.tensors or not _METADATA.match(start.decode()):
        return None
    return replace(header, data_offset=raw.data_offset, file_size=raw.size)


def _columns(kind: _Kind, header: Header, scalars: bool) -> Columns | None:
    values = None
    if scalars:
        values = tuple(read_scalars(header, kind.alphas).values())
    known = kind.columns.get(values)
    if known is None:
        return None
    report = replace(
        kind.bare,
        path=header.path,
        file_size=header.file_size,
        info=read_training_info(header.metadata),
        metadata=header.metadata,
    )
    # Worked out from the modules, which are the same.
    report.__dict__["blocks"] = kind.bare.blocks
    document: dict[str, Any] = {
        **known.report["document"],
        "path": str(report.path),
        "file_size": report.file_size,
        "model_blocks": report.model_blocks,
        "info": dict(vars(report.info)),
    }
    columns = {**known.report, "document": document, "header": dict(header.metadata)}
    return Columns({**known.adapter, **of_the_file(report)}, columns)
