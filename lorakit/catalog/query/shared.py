"""Terms on what many adapters share, as conditions of SQL over the small tables of the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.patterns import EDGE
from lorakit.catalog.query.syntax import Span, Text

# The licences that headers name, by whether they allow: allow, deny or unknown.
Shares = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition and the values of its `?`."""

    text: str
    values: tuple[object, ...] = ()

    def within(self, before: str, after: str = ")") -> Sql:
        """The condition inside another."""
        return Sql(before + self.text + after, self.values)


FALSE, TRUE = Sql("0"), Sql("1")


def either(parts: Sequence[Sql], word: str = "OR") -> Sql:
    """Conditions joined by OR, or by another word; none of them is false, or true for AND."""
    if not parts:
        return FALSE if word == "OR" else TRUE
    text = f" {word} ".join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))


def holds(column: str, value: Text) -> Sql:
    """The column holds the text, or is what the pattern describes."""
    wanted = fold(value.text)
    return _fits(column, wanted) if value.is_glob else Sql(f"instr({column}, ?) > 0", (wanted,))


def is_whole(column: str, value: Text) -> Sql:
    """The column is the text, or what the pattern describes."""
    wanted = fold(value.text)
    return _fits(column, wanted) if value.is_glob else Sql(f"{column} = ?", (wanted,))


def has_part(column: str, value: Text) -> Sql:
    """One of the parts of the column is the text, or what the pattern describes."""
    wanted = fold(value.text)
    if value.is_glob:
        return _fits(column, wanted)
    return Sql(f"instr({column}, ?) > 0", (f"{EDGE}{wanted}{EDGE}",))


def of_license(value: Text, shares: Shares) -> Sql:
    """By what merges may be done with, as claims are joined in `lorakit.licenses.claims`.

    The strictest of all decides; the person's own claim settles what others leave unknown.
    """
    wanted = fold(value.text)
    header = {share: _in(licenses) for share, licenses in shares.items()}
    deny = either([Sql("own = 'deny' OR other = 'deny'"), header["deny"]])
    open_ = either([Sql("other = 'unknown'"), header["unknown"]])
    said = either([Sql("other LIKE 'allow%'"), header["allow"]])
    settled = either([Sql("own = ''"), open_.within("NOT ("), said], "AND")
    allow = either([deny.within("NOT ("), either([Sql("own LIKE 'allow%'"), settled])], "AND")
    if wanted == "unknown":
        return either([deny, allow]).within("NOT (")
    return deny if wanted == "deny" else allow


def of_blocks(field: str, span: Span) -> Sql:
    """By the blocks that are touched: some of the span, all of it, or none beside it."""
    low = int(span.low or 0)
    count = None if span.high is None else int(span.high) - low + 1
    length = "length(blocks)" if count is None else str(count)
    part = f"substr(blocks, {low + 1}, {length})"
    if field == "block":
        return Sql(f"instr({part}, '1') > 0")
    if field == "all-blocks":
        whole = "length(blocks) - " + str(low) if count is None else str(count)
        return Sql(f"length({part}) = {whole} AND length({part}) > 0 AND instr({part}, '0') = 0")
    before = f"instr(substr(blocks, 1, {low}), '1') = 0"
    after = "1" if count is None else f"instr(substr(blocks, {low + count + 1}), '1') = 0"
    return Sql(f"instr(blocks, '1') > 0 AND {before} AND {after}")


def of_hash(prefix: str) -> Sql:
    """The adapters whose file or content has a hash that begins so."""
    # "g" follows the last hexadecimal digit, so this is the range of all that begin so.
    ends = (prefix, f"{prefix}g")
    return Sql(
        "SELECT item FROM file WHERE file_sha256 >= ? AND file_sha256 < ? UNION "
        "SELECT item FROM file WHERE content >= ? AND content < ?",
        (*ends, *ends),
    )


def _fits(column: str, pattern: str) -> Sql:
    return Sql(f"fits(?, {column})", (pattern,))


def _in(licenses: Sequence[str]) -> Sql:
    return Sql(f"header IN ({', '.join('?' * len(licenses))})", tuple(licenses))
