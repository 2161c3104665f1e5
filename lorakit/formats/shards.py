"""The tensors of a model that may lie in several files, from their headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import BadFile
from lorakit.formats.header import Header, TensorInfo, read_header
from lorakit.formats.model_files import ModelFile, model_files


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor and the file it lies in; `offset` is its first byte, counted from the file's start."""

    path: Path
    info: TensorInfo
    offset: int


@dataclass(frozen=True)
class Shards:
    """All tensors of a checkpoint by key, whatever files they lie in; `metadata` of all headers."""

    path: Path
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]


def read_shards(path: Path) -> Shards:
    """The tensors of the file, shard, index or folder at `path`, from headers alone.

    Raises `BadFile` for what is no safetensors, for shards that are missing, hold a key twice or lack one
    that their index names, and for a folder with several models.
    """
    return _joined(path, ((file, _header(file.path)) for file in model_files(path)))


def shards_of(header: Header) -> Shards:
    """The tensors of one file, whose header has been read."""
    return _joined(header.path, [(ModelFile(header.path), header)])


def _joined(path: Path, files: Iterable[tuple[ModelFile, Header]]) -> Shards:
    tensors: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    for file, header in files:
        metadata.update(header.metadata)
        _require_indexed(path, file, header)
        for key, info in header.tensors.items():
            if (name := file.before + key) in tensors:
                raise BadFile(
                    f"{path} holds {name[:200]!r} twice: in {tensors[name].path.name} and in "
                    f"{file.path.name}.",
                    hint="Name one model: its file, or the index of its shards.",
                )
            tensors[name] = Stored(file.path, info, header.data_offset + info.start)
    return Shards(path, tensors, metadata)


def _require_indexed(path: Path, file: ModelFile, header: Header) -> None:
    """Raise `BadFile` for a file that lacks what an index says it holds."""
    lacking = sorted(file.keys - header.tensors.keys())
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise BadFile(
            f"The index of {path} says that {file.path.name} holds {lacking[0][:200]!r}{more}, and it "
            "does not.",
            hint="Get the shards and their index again, all of the same release.",
        )


def _header(path: Path) -> Header:
    if path.suffix.lower() == ".gguf":
        raise BadFile(
            f"{path} is a GGUF file, whose weights lorakit does not read.",
            hint="Use the bf16, fp16 or fp8 edition of the model.",
        )
    return read_header(path)
