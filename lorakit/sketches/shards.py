"""The files that a checkpoint consists of, and their headers.

A checkpoint is one file, or shards that lie side by side and perhaps have an index, as transformers and
diffusers write them. A diffusers pipeline keeps the transformer and the text adapter in folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lorakit.errors import BadFile
from lorakit.formats import strict_json
from lorakit.formats.header import Header, TensorInfo, read_header
from lorakit.paths import is_file

# A folder of a diffusers pipeline -> what stands before its keys once they are put together.
_PIPELINE: Mapping[str, str] = MappingProxyType(
    {"transformer": "", "text_conditioner": "llm_adapter."}
)
_USUAL_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]+)-of-(?P<count>[0-9]+)\.safetensors")
_MOST_INDEX_BYTES = 100_000_000
_MOST_SHARDS = 1000
_MOST_NAMED = 3


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

    Raises `BadFile` for what is no safetensors, for shards that are missing or hold a key twice, and for
    a folder with several models.
    """
    if _is_dir(path) and not _files_in(path) and _is_dir(path / "transformer"):
        parts = [(path / name, before) for name, before in _PIPELINE.items()]
        return _joined(
            path,
            ((file, before) for part, before in parts if _is_dir(part) for file in _files_of(part)),
        )
    return _joined(path, ((file, "") for file in _files_of(path)))


def _joined(path: Path, files: Iterable[tuple[Path, str]]) -> Shards:
    tensors: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    for file, before in files:
        header = _header(file)
        metadata.update(header.metadata)
        for key, info in header.tensors.items():
            if (name := before + key) in tensors:
                raise BadFile(
                    f"{path} holds {name[:200]!r} twice: in {tensors[name].path.name} and in {file.name}.",
                    hint="Name one model: its file, or the index of its shards.",
                )
            tensors[name] = Stored(file, info, header.data_offset + info.start)
    return Shards(path, tensors, metadata)


def _header(path: Path) -> Header:
    if path.suffix.lower() == ".gguf":
        raise BadFile(
            f"{path} is a GGUF file, whose weights lorakit does not read.",
            hint="Use the bf16, fp16 or fp8 edition of the model.",
        )
    return read_header(path)


def _files_of(path: Path) -> list[Path]:
    if _is_dir(path):
        return _chosen(path, _files_in(path))
    if path.name.endswith(".json"):
        return _indexed(path)
    return _siblings(path)


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (never raises, not even for a name that is too long)


def _files_in(folder: Path) -> list[Path]:
    """The indices and safetensors files of a folder. Raises `BadFile` when it cannot be read."""
    try:
        return sorted(
            file for file in folder.iterdir() if file.name.endswith((".safetensors", _INDEX_SUFFIX))
        )
    except OSError as error:
        raise BadFile(f"{folder} cannot be read: {error.strerror or error}.") from error


def _chosen(folder: Path, files: list[Path]) -> list[Path]:
    indices = [file for file in files if file.name.endswith(_INDEX_SUFFIX)]
    if len(indices) == 1:
        return _indexed(indices[0])
    weights = [file for file in files if file not in indices]
    usual = [file for file in weights if file.name in _USUAL_NAMES]
    if len(usual) == 1:
        return usual
    if not weights:
        raise BadFile(
            f"The folder {folder} holds no safetensors file.",
            hint="Name the checkpoint itself, or the folder of its shards.",
        )
    stems = {match["stem"] for file in weights if (match := _SHARD.fullmatch(file.name))}
    if len(stems) == 1:
        return _siblings(next(file for file in weights if _SHARD.fullmatch(file.name)))
    return weights


def _indexed(index: Path) -> list[Path]:
    """The files that an index names, all of which lie beside it. Raises `BadFile`."""
    try:
        with index.open("rb") as file:
            raw = file.read(_MOST_INDEX_BYTES)
        document = strict_json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise BadFile(f"{index} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{index} is not valid JSON: {error}.") from error
    names = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(names, dict) or not names:
        raise BadFile(
            f"{index} has no weight_map, so it is no index of shards.",
            hint="Name the checkpoint, its folder, or its .safetensors.index.json.",
        )
    wanted = set(map(str, names.values()))
    strange = next((n for n in wanted if not n or Path(n).name != n or "\0" in n), None)
    if strange is not None:
        raise BadFile(f"{index} names {strange[:200]!r}, which is not a file beside it.")
    return _all_there(index, [index.with_name(name) for name in sorted(wanted)])


def _siblings(path: Path) -> list[Path]:
    """The numbered shards that `path` is one of; `path` alone when it has no such number."""
    match = _SHARD.fullmatch(path.name)
    if match is None or not 1 <= int(match["count"]) <= _MOST_SHARDS:
        return [path]
    digits, count = len(match["number"]), match["count"]
    names = [
        f"{match['stem']}-{number:0{digits}}-of-{count}.safetensors"
        for number in range(1, int(count) + 1)
    ]
    return _all_there(path, [path.with_name(name) for name in names])


def _all_there(path: Path, shards: list[Path]) -> list[Path]:
    missing = [shard.name for shard in shards if not is_file(shard)]
    if missing:
        more = "" if len(missing) <= _MOST_NAMED else f" and {len(missing) - _MOST_NAMED} more"
        raise BadFile(
            f"{path} is one of {len(shards)} shards, of which {', '.join(missing[:_MOST_NAMED])}{more} "
            "cannot be found.",
            hint="Put all shards into one folder.",
        )
    return shards
