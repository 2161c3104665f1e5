"""One term to a condition of SQL over the index, which is true or false and never null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from lorakit.catalog.query.dates import span_of
from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.index import TAG, WORD
from lorakit.catalog.query.syntax import GLOB, Dates, Flag, Span, Term, Text
from lorakit.db.times import to_text


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition and the values of its `?`."""

    text: str
    values: tuple[object, ...] = ()

    def within(self, before: str, after: str = ")") -> Sql:
        """The condition inside another."""
        return Sql(before + self.text + after, self.values)


@dataclass(frozen=True, slots=True)
class Context:
    """What a condition needs beside its term.

    `now` is aware. `shares` gives the licences that headers name, by whether they allow: allow, deny or
    unknown. `smart` gives the condition of a smart collection's query by its folded name.
    """

    now: datetime
    shares: Callable[[], Mapping[str, Sequence[str]]]
    smart: Callable[[Text], Sequence[Sql]]


TRUE, FALSE = Sql("1"), Sql("0")
# What each field of texts is a part of.
_SAID = {"trigger": "triggers", "note": "notes"}
_FACET = ("algo", "layout", "dtype")
_NUMBERS = {"rating": "rating", "size": "size", "modules": "modules", "strength": "strength"}


def condition(term: Term, context: Context) -> Sql:
    """The condition of a term."""
    sql = _plain(term, context)
    return sql.within("NOT (") if term.negated else sql


def _plain(term: Term, context: Context) -> Sql:
    value = term.value
    match value:
        case Text():
            return _text(term.field, value, context)
        case Span():
            return _span(term.field or "", value)
        case Dates():
            return _dates(value, context.now)
        case Flag():
            return _flag(term.field or "", value)
        case _:
            assert_never(value)


def either(parts: Sequence[Sql], word: str = "OR") -> Sql:
    """Conditions joined by OR, or by another word; none of them is false, or true for AND."""
    if not parts:
        return FALSE if word == "OR" else TRUE
    text = f" {word} ".join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))


def _text(field: str | None, value: Text, context: Context) -> Sql:
    if field is None:
        return holds("text", value)
    if field in ("name", "title"):
        return holds(field, value)
    if field == "tag":
        return _tag(value)
    if field in _SAID:
        return holds(_SAID[field], value).within("id IN (SELECT item FROM said WHERE ")
    if field == "base":
        return _of_facet(holds("base", value))
    if field in _FACET:
        return _of_facet(is_whole(field, value))
    if field == "component":
        return _of_facet(has_word("components", value, WORD))
    if field == "kind":
        return has_word("kinds", value, WORD).within("touch IN (SELECT id FROM touch WHERE ")
    if field == "path":
        return holds("path", value).within("id IN (SELECT item FROM place WHERE ")
    if field == "collection":
        static = is_whole("collection", value).within("id IN (SELECT item FROM collected WHERE ")
        return either([static, *context.smart(value)])
    if field == "hash":
        return _hash(value.text)
    assert field == "license", field
    return _license(value, context)


def _tag(value: Text) -> Sql:
    if not value.is_glob:
        return has_word("text", value, TAG)
    # Tags come last in the text, and it ends there.
    has_tags = Sql(f"instr(text, '{TAG}') > 0")
    return either(
        [has_tags, _fits(f"substr(text, instr(text, '{TAG}'))", fold(value.text), "text")], "AND"
    )


def holds(column: str, value: Text) -> Sql:
    """The column holds the text; a pattern is one of its parts."""
    wanted = fold(value.text)
    if not value.is_glob:
        return Sql(f"instr({column}, ?) > 0", (wanted,))
    return _fits(column, wanted)


def is_whole(column: str, value: Text) -> Sql:
    """The column is the text, or what the pattern describes."""
    wanted = fold(value.text)
    if not value.is_glob:
        return Sql(f"{column} = ?", (wanted,))
    return _fits(column, wanted)


def has_word(column: str, value: Text, separator: str) -> Sql:
    """One of the words of the column is the text, or what the pattern describes."""
    wanted = fold(value.text)
    if not value.is_glob:
        return Sql(f"instr({column}, ?) > 0", (f"{separator}{wanted}{separator}",))
    return _fits(column, wanted)


def _fits(column: str, pattern: str, sieve: str | None = None) -> Sql:
    """A part of the column is as the pattern says.

    What lacks the pattern's longest fixed text is not asked; `sieve` is a column that holds all that
    this one does, and can be looked through more quickly.
    """
    if not pattern.strip("*"):
        return Sql(f"{column} <> ''")
    fixed = max(GLOB.split(pattern), key=len)
    found = Sql(f"fits(?, {column})", (pattern,))
    if not fixed:
        return either([Sql(f"{column} <> ''"), found], "AND")
    return either([Sql(f"instr({sieve or column}, ?) > 0", (fixed,)), found], "AND")


def _of_facet(sql: Sql) -> Sql:
    return sql.within("facet IN (SELECT id FROM facet WHERE ")


def _hash(prefix: str) -> Sql:
    # "g" follows the last hexadecimal digit, so this is the range of all that begin so.
    ends = (prefix, f"{prefix}g")
    return Sql(
        "id IN (SELECT item FROM file WHERE file_sha256 >= ? AND file_sha256 < ? UNION "
        "SELECT item FROM file WHERE content >= ? AND content < ?)",
        (*ends, *ends),
    )


def _license(value: Text, context: Context) -> Sql:
    """By what merges may be done with, as claims are joined in `lorakit.licenses.claims`.

    The strictest of all decides; the person's own claim settles what others leave unknown.
    """
    wanted = fold(value.text)
    if value.is_glob or value.literal or wanted not in ("allow", "deny", "unknown"):
        return _of_facet(has_word("licenses", value, WORD))
    header = {share: _in(licenses) for share, licenses in context.shares().items()}
    deny = either([Sql("own = 'deny' OR other = 'deny'"), header["deny"]])
    open_ = either([Sql("other = 'unknown'"), header["unknown"]])
    said = either([Sql("other LIKE 'allow%'"), header["allow"]])
    settled = either([Sql("own = ''"), open_.within("NOT ("), said], "AND")
    allow = either(
        [deny.within("NOT ("), either([Sql("own LIKE 'allow%'"), settled])],
        "AND",
    )
    if wanted == "unknown":
        return _of_facet(either([deny, allow]).within("NOT ("))
    return _of_facet(deny if wanted == "deny" else allow)


def _in(licenses: Sequence[str]) -> Sql:
    return Sql(f"header IN ({', '.join('?' * len(licenses))})", tuple(licenses))


def _span(field: str, span: Span) -> Sql:
    if field in ("block", "all-blocks", "only-blocks"):
        return _blocks(field, span)
    if field == "rank":
        parts = [Sql("rank_max IS NOT NULL")]
        if span.low is not None:
            parts.append(Sql("rank_max >= ?", (span.low,)))
        if span.high is not None:
            parts.append(Sql("rank_min <= ?", (span.high,)))
        return either(parts, "AND")
    return _between(_NUMBERS[field], span.low, span.high)


def _between(column: str, low: object, high: object, below: str = "<=") -> Sql:
    parts = [Sql(f"{column} IS NOT NULL")]
    if low is not None:
        parts.append(Sql(f"{column} >= ?", (low,)))
    if high is not None:
        parts.append(Sql(f"{column} {below} ?", (high,)))
    return either(parts, "AND")


def _blocks(field: str, span: Span) -> Sql:
    low = int(span.low or 0)
    count = None if span.high is None else int(span.high) - low + 1
    length = "length(blocks)" if count is None else str(count)
    part = f"substr(blocks, {low + 1}, {length})"
    if field == "block":
        sql = Sql(f"instr({part}, '1') > 0")
    elif field == "all-blocks":
        whole = "length(blocks) - " + str(low) if count is None else str(count)
        sql = Sql(f"length({part}) = {whole} AND length({part}) > 0 AND instr({part}, '0') = 0")
    else:
        before = f"instr(substr(blocks, 1, {low}), '1') = 0"
        after = "1" if count is None else f"instr(substr(blocks, {low + count + 1}), '1') = 0"
        sql = Sql(f"instr(blocks, '1') > 0 AND {before} AND {after}")
    return sql.within("touch IN (SELECT id FROM touch WHERE ")


def _dates(value: Dates, now: datetime) -> Sql:
    low = to_text(span_of(value.low, now)[0]) if value.low else None
    high = to_text(span_of(value.high, now)[1]) if value.high else None
    return _between("added", low, high, "<")


def _flag(field: str, value: Flag) -> Sql:
    if field != "duplicate":
        return Sql(f"{field} = {int(value.wanted)}")
    found = Sql(
        "(places > 1 OR id IN (SELECT item FROM file WHERE content IN "
        "(SELECT content FROM file GROUP BY content HAVING count(*) > 1)))"
    )
    return found if value.wanted else found.within("NOT (")
