"""Civitai's two bulk questions: which versions have these hashes, and what are these models.

`POST /api/v1/model-versions/by-hash/ids` takes up to 10,000 SHA-256 hashes and answers with a list of
`{modelVersionId, modelId, hash}`; `GET /api/v1/models?ids=...` takes up to 100 models and answers with
`{items: [...]}`, which alone has the permissions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lorakit.errors import Unreachable
from lorakit.network.http import Server, ask

CIVITAI = "https://civitai.com"
MOST_HASHES = 10_000
MOST_MODELS = 100
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The hash of nothing, which files whose hashing failed are listed under.
_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_BIGGEST = 1 << 53


@dataclass(frozen=True, slots=True)
class Found:
    """A version on Civitai that is listed under a hash (SHA-256, lower case)."""

    hash: str
    model: int
    version: int


def is_hash(text: object) -> bool:
    """Whether a text is a SHA-256, in lower case, of something."""
    return isinstance(text, str) and bool(_SHA256.fullmatch(text)) and text != _OF_NOTHING


def batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """The values, `size` at a time."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def find_versions(server: Server, hashes: Sequence[str]) -> list[Found]:
    """The versions that are listed under any of at most 10,000 hashes; raises `Unreachable`.

    What the answer holds beside those is passed over.
    """
    body = [one.upper() for one in hashes]
    answer = ask(server, "/api/v1/model-versions/by-hash/ids", body)
    if not isinstance(answer, list):
        raise _nonsense(server, "hashes")
    wanted = set(hashes)
    found = (_found(item) for item in answer if isinstance(item, Mapping))
    return list(dict.fromkeys(one for one in found if one is not None and one.hash in wanted))


def fetch_models(server: Server, numbers: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """What Civitai says of at most 100 models, by number; raises `Unreachable`.

    One that is not there is deleted, or not shown on this host.
    """
    ids = ",".join(map(str, numbers))
    answer = ask(server, f"/api/v1/models?ids={ids}&limit={MOST_MODELS}&nsfw=true")
    items = answer.get("items") if isinstance(answer, Mapping) else None
    if not isinstance(items, list):
        raise _nonsense(server, "models")
    wanted = set(numbers)
    models = (item for item in items if isinstance(item, Mapping))
    return {model["id"]: model for model in models if number(model.get("id")) in wanted}


def number(value: object) -> int | None:
    """`value` where it is the number of a model or a version."""
    return value if type(value) is int and 0 < value < _BIGGEST else None


def _found(item: Mapping[str, Any]) -> Found | None:
    sha256 = item.get("hash")
    text = sha256.strip().lower() if isinstance(sha256, str) else None
    model, version = number(item.get("modelId")), number(item.get("modelVersionId"))
    if text is None or not is_hash(text) or model is None or version is None:
        return None
    return Found(text, model, version)


def _nonsense(server: Server, asked: str) -> Unreachable:
    return Unreachable(
        f"{server.host} answers the question for {asked} with something else.",
        hint="Is it Civitai? --server and LORAKIT_CIVITAI name another server.",
    )
