"""What the header of a written adapter says of its making, and what it keeps of what its source said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lorakit.adapters.respelling import carried
from lorakit.formats.ancestry import AUDIT_KEY, INGREDIENTS_KEY, MADE_KEY
from lorakit.formats.inspection import AdapterReport
from lorakit.fusion.devices import kind_of
from lorakit.merging.ranks import Energy, Frobenius, Rank, RankRule, SvRatio

FORMAT = "lorakit/made/1"

# Hashes of the source's bytes, and entries that the gate writes anew.
_UNTRUE = frozenset(
    {
        "sshs_model_hash",
        "sshs_legacy_hash",
        "modelspec.hash_sha256",
        INGREDIENTS_KEY,
        AUDIT_KEY,
        MADE_KEY,
    }
)
# Which network was trained, with which rank: untrue of one that was resized.
_NETWORK = ("ss_network_dim", "ss_network_alpha", "ss_network_module", "ss_network_args")


def made(
    verb: str,
    *,
    layout: str,
    dtype: str | None,
    options: Mapping[str, Any],
    method: str | None = None,
    seed: int | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """The record of how a file was made, with all that a replay of it needs beside the ingredients.

    `dtype` is None where every tensor kept its own; of `device` its kind is kept.
    """
    found: dict[str, Any] = {"format": FORMAT, "verb": verb}
    if method is not None:
        found["method"] = method
    found["options"] = dict(options)
    if seed is not None:
        found["seed"] = seed
    return {**found, "device": kind_of(device), "dtype": dtype, "layout": layout}


def encode_made(document: Mapping[str, Any]) -> dict[str, str]:
    """The entry of the header that holds such a record."""
    return {MADE_KEY: json.dumps(document, separators=(",", ":"), allow_nan=False)}


def read_made(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """The record of a header; None where there is none, or none that can be read."""
    text = metadata.get(MADE_KEY)
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def still_true(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a header says of its adapter that another form of the same adapter may say, too."""
    return {key: text for key, text in carried(metadata).items() if key not in _UNTRUE}


def resized(
    metadata: Mapping[str, str], ranks: Iterable[int], *, other_algo: bool
) -> dict[str, str]:
    """As `still_true`, with the rank of a network that was given another one, at scale 1."""
    dropped = _NETWORK if other_algo else _NETWORK[:2]
    kept = {key: text for key, text in still_true(metadata).items() if key not in dropped}
    found = set(ranks)
    if len(found) == 1 and "ss_network_dim" in metadata:
        rank = str(found.pop())
        kept |= {"ss_network_dim": rank, "ss_network_alpha": rank}
    return kept


def of_merge(reports: Sequence[AdapterReport]) -> dict[str, str]:
    """What can be said of a merge: the trigger words of all that went into it."""
    words = dict.fromkeys(word for report in reports for word in report.info.trigger_words)
    return {"modelspec.trigger_phrase": ", ".join(words)} if words else {}


def rule_options(rule: RankRule | None) -> dict[str, float]:
    """A rule for ranks as the record keeps it: by the name of its option."""
    match rule:
        case Rank(count):
            return {"rank": count}
        case Energy(share):
            return {"energy": share}
        case SvRatio(ratio):
            return {"sv_ratio": ratio}
        case Frobenius(share):
            return {"frobenius": share}
        case _:
            return {}
