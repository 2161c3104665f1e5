"""Adapters on Hugging Face, through its own library: cache, resuming, revisions and login are its.

What is sent is what the library sends: the repository's name, and the login token where there is one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from logging import CRITICAL
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from lorakit import __version__
from lorakit.counting import counted_rows
from lorakit.errors import Ambiguous, BadFile, LorakitError, NotFound, Unreachable
from lorakit.formats.header import PICKLE_SUFFIXES, parse_header
from lorakit.formats.inspection import report_header
from lorakit.network.hub_address import HubAddress
from lorakit.network.offline import check_online

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SUFFIX = ".safetensors"
CARD = "README.md"
# PEFT keeps the scale of an adapter beside it.
_CONFIG = "adapter_config.json"
_SECONDS = 20.0
_MOST_HEADERS = 40
_MOST_LISTED = 20
_MOST_NAMED = 3

# Called with the number of bytes that are there, how many there will be, and the file.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository; `sha256` is None where Hugging Face does not tell."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as it is at one commit; `page` is its address for people."""

    name: str
    commit: str
    page: str
    files: tuple[RemoteFile, ...]


def look_up(address: HubAddress) -> Repository:
    """The repository of an address, at its revision.

    Raises `NotFound` for one that is not there, and `Unreachable` where it cannot be asked.
    """
    check_online(f"Adding {address}")
    api = _api()
    with _faults(address):
        info = api.model_info(
            address.repository, revision=address.revision, files_metadata=True, timeout=_SECONDS
        )
    files = tuple(
        RemoteFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else None)
        for one in info.siblings or ()
    )
    commit = info.sha or address.revision or "main"
    return Repository(address.repository, commit, _page(address.repository), files)


def choose(repository: Repository, address: HubAddress, *, everything: bool) -> list[RemoteFile]:
    """The files that are meant: the one named, the only adapter, or with `everything` all adapters.

    Which files are adapters is read from their headers, a few kilobytes each; without `everything` of the
    first 40. Raises `NotFound` and `Ambiguous` with what there is, and how much was not looked at.
    """
    weights = [one for one in repository.files if one.name.lower().endswith(SUFFIX)]
    if address.file is not None:
        named = [one for one in repository.files if one.name == address.file]
        if not named:
            raise NotFound(
                f"There is no file {address.file!r} in {repository.name} at {repository.commit[:7]}.",
                hint=_listing(weights),
            )
        if address.file.lower().endswith(PICKLE_SUFFIXES):
            raise BadFile(
                f"{address} is a pickle file, which can run code when it is loaded; nothing was downloaded.",
                hint=_listing(weights),
            )
        weights = named
    looked_at = weights if everything else weights[:_MOST_HEADERS]
    rest = weights[len(looked_at) :]
    known = {one: _is_adapter(repository, one) for one in looked_at}
    found = [one for one in looked_at if known[one] is not False]
    if not found and not rest:
        which = f"{address.file} in {repository.name}" if address.file else repository.name
        raise NotFound(
            f"{which} holds no adapter for Anima that lorakit knows; nothing was downloaded.",
            hint=_listing(weights) if weights and not address.file else None,
        )
    if rest or (len(found) > 1 and not everything):
        sure = [one for one in found if known[one]]
        example = HubAddress(repository.name, (sure or found or rest)[0].name, address.revision)
        raise Ambiguous(
            f"{repository.name} holds {_what_there_is(found, sure)}{_not_looked_at(looked_at, rest)}. Name "
            f"one, as in {quote(str(example))}, or take --all.",
            hint=_listing([*found, *rest]),
        )
    return found


def _not_looked_at(looked_at: Sequence[RemoteFile], rest: Sequence[RemoteFile]) -> str:
    if not rest:
        return ""
    were = "was" if len(rest) == 1 else "were"
    return (
        f" among the first {counted_rows(len(looked_at), 'file')}; {counted_rows(len(rest), 'more file')} "
        f"{were} not looked at"
    )


def _what_there_is(found: Sequence[RemoteFile], sure: Sequence[RemoteFile]) -> str:
    """How many adapters there are, and the names of those whose headers cannot be read."""
    count = counted_rows(len(sure), "adapter") if sure else "no adapters"
    unread = [one.name for one in found if one not in sure]
    if not unread:
        return count
    more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
    files = "1 file whose header" if len(unread) == 1 else f"{len(unread)} files whose headers"
    return f"{count}, and {files} cannot be read ({', '.join(unread[:_MOST_NAMED])}{more})"


def download(
    repository: Repository, files: Sequence[RemoteFile], on_progress: Progress
) -> tuple[list[Path], Path | None]:
    """The files in the library's cache, and the model card; what is there already is not fetched again.

    Raises `Unreachable`; what had come until then is kept, and the next time goes on from it. Raises
    `BadFile` for bytes that are not those that Hugging Face states the hash of.
    """
    there = {one.name for one in repository.files}
    card = _fetch(repository, CARD) if CARD in there else None
    done, total = 0, sum(one.size for one in files)
    paths = []
    for file in files:
        config = str(Path(file.name).with_name(_CONFIG).as_posix())
        if config in there:
            _fetch(repository, config)
        on_progress(done, total, file.name)
        path = _fetch(repository, file.name, partial(_tell, on_progress, done, total, file))
        _check_hash(repository, file, path)
        paths.append(path)
        done += file.size
    return paths, card


def _check_hash(repository: Repository, file: RemoteFile, path: Path) -> None:
    """Raise `BadFile` where a file has another SHA-256 than the one that was stated. It is left in the cache."""
    if file.sha256 is None:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        place = HubAddress(repository.name, file.name, repository.commit[:7])
        raise BadFile(
            f"What came as {place} is not what the server states: its SHA-256 is {found[:12]}..., and not "
            f"{file.sha256[:12]}.... Nothing was added.",
            # The library would link to the same bytes again.
            hint=f"Delete {quote(str(path.resolve()))} and try again. To add it as it is: lorakit add {quote(str(path))}",
        )


def _tell(on_progress: Progress, before: int, total: int, file: RemoteFile, count: int) -> None:
    on_progress(before + count, total, file.name)


def _api() -> HfApi:
    # Read when the library is imported: without it, it asks for a list of programs to recognise, and
    # says what else is installed. A person's own setting is respected.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    from huggingface_hub.utils import logging

    # Its warnings speak to programmers; what matters comes as an exception.
    logging.set_verbosity(CRITICAL)
    return huggingface_hub.HfApi(library_name="lorakit", library_version=__version__)


def _page(repository: str) -> str:
    """The address of a repository for people, on the server that is asked."""
    return f"{str(_api().endpoint).rstrip('/')}/{repository}"


def _fetch(
    repository: Repository, name: str, on_bytes: Callable[[int], None] | None = None
) -> Path:
    with _faults(HubAddress(repository.name, name, repository.commit[:7])):
        return Path(
            _api().hf_hub_download(
                repository.name,
                name,
                revision=repository.commit,
                etag_timeout=_SECONDS,
                tqdm_class=_counting(on_bytes or (lambda count: None)),
            )
        )


def _counting(on_bytes: Callable[[int], None]) -> Any:  # noqa: ANN401 - a class made on the spot
    """A progress bar for the library that shows nothing and tells how many bytes there are."""
    from huggingface_hub.utils.tqdm import tqdm

    class Counting(tqdm):
        def __init__(self, *words: Any, **named: Any) -> None:  # noqa: ANN401
            self._count = int(named.get("initial") or 0)
            super().__init__(*words, **{**named, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self._count += int(n or 0)
            on_bytes(self._count)
            return None

    return Counting


def _is_adapter(repository: Repository, file: RemoteFile) -> bool | None:
    """Whether a file's header is that of an adapter; None where it cannot be read.

    True for a file of another type, which a person has named.
    """
    if not file.name.lower().endswith(SUFFIX):
        return True
    with _faults(HubAddress(repository.name, file.name, repository.commit[:7])):
        from huggingface_hub.errors import SafetensorsParsingError

        try:
            found = _api().parse_safetensors_file_metadata(
                repository.name, file.name, revision=repository.commit, timeout=_SECONDS
            )
        except SafetensorsParsingError:
            return None
    tensors: dict[str, Any] = {
        name: {"dtype": one.dtype, "shape": one.shape, "data_offsets": one.data_offsets}
        for name, one in found.tensors.items()
    }
    raw = json.dumps(tensors).encode()
    end = max((one["data_offsets"][1] for one in tensors.values()), default=0)
    try:
        header = parse_header(Path(file.name), raw, 8 + len(raw) + end)
        # The file is not here: what lies among its tensors cannot be looked at.
        return bool(report_header(header, scalars=False).modules)
    except BadFile:
        return None


def _listing(files: Sequence[RemoteFile]) -> str:
    names = [one.name for one in files]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (
        f"It holds: {', '.join(names[:_MOST_LISTED])}{more}." if names else "It holds no weights."
    )


@contextmanager
def _faults(address: HubAddress) -> Iterator[None]:
    """Turn whatever the library raises into one sentence."""
    from huggingface_hub import errors

    try:
        yield
    except LorakitError:
        raise
    except errors.GatedRepoError:
        raise NotFound(
            f"{address.repository} is open only to those who have accepted its terms.",
            hint=f"Accept them at {_page(address.repository)}, log in with `hf auth login`, and try again.",
        ) from None
    except errors.RepositoryNotFoundError:
        raise NotFound(
            f"There is no repository {address.repository} on Hugging Face, or it is private.",
            hint="Check the spelling; for a private one log in with `hf auth login`.",
        ) from None
    except errors.RevisionNotFoundError:
        raise NotFound(
            f"{address.repository} has no revision {address.revision!r}.",
            hint=f"Its branches and tags: {_page(address.repository)}/tree/main",
        ) from None
    except errors.EntryNotFoundError:
        raise NotFound(f"There is no {address}.") from None
    # The library raises errors of its own, of its HTTP client and of the file system; whichever it is,
    # nothing could be fetched.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = re.sub(r"^\[Errno -?\d+\] ", "", reason)
        raise Unreachable(
            f"{address} cannot be fetched: {reason.rstrip('.')}.",
            hint="The same command goes on from what has come already.",
        ) from error
