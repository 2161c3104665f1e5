"""The policy: from the terms of every ingredient to one verdict. The strictest wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorakit.errors import Refused
from lorakit.licenses.claims import Claim
from lorakit.licenses.terms import ALLOWING, ShareMerges, Terms, strictest

Role = Literal["base", "adapter"]

# How the relation of an ancestor begins whose only trace in a file is its own work in another form.
SAME_WORK = "is another form of"


@dataclass(frozen=True)
class Ingredient:
    """One thing whose weights a merged file would hold.

    `terms` are its own; those of its `ancestors`, which it was made from, count beside them. `claims`
    are what the terms come from. `relation` says of an ancestor how it is known to be in the ingredient
    above: a phrase such as "was merged from RDBT [Anima] (modelspec.merged_from in its header)".
    """

    name: str
    role: Role
    terms: Terms
    sha256: str | None = None
    ancestors: tuple[Ingredient, ...] = ()
    claims: tuple[Claim, ...] = ()
    content: str | None = None
    relation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The ingredient with its claims and ancestors, as JSON takes it."""
        return {
            "name": self.name,
            "role": self.role,
            "title": self.terms.title,
            "share_merges": str(self.terms.share_merges),
            "statement": self.terms.statement,
            "text_sha256": self.terms.text_sha256,
            "source": self.terms.source,
            "license": self.terms.license,
            "sha256": self.sha256,
            "content": self.content,
            "relation": self.relation,
            "claims": [
                {"origin": c.origin, "found": c.where, "model": c.model, **c.terms.to_dict()}
                for c in self.claims
            ],
            "ancestors": [ancestor.to_dict() for ancestor in self.ancestors],
        }


@dataclass(frozen=True)
class Verdict:
    """The outcome for a file that would hold merged weights.

    The terms of every ingredient and of everything that it was made from count. `obligations` is what
    must accompany the file when it is allowed. With `same_work` the file would hold its one ingredient
    in another form, and nothing is merged.
    """

    share_merges: ShareMerges
    ingredients: tuple[Ingredient, ...]
    same_work: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the file may be written. Unknown denies, but for the same work in another form."""
        if self.same_work:
            return not any(_stops_another_form(above, part) for above, part in self._walk())
        return self.share_merges in ALLOWING

    @property
    def parts(self) -> tuple[Ingredient, ...]:
        """The ingredients, each followed by its ancestors at every depth."""
        return tuple(part for _, part in self._walk())

    @property
    def deciding(self) -> tuple[Ingredient, ...]:
        """The ingredients and ancestors whose own terms are the strictest, in the order given."""
        return tuple(p for p in self.parts if p.terms.share_merges == self.share_merges)

    @property
    def obligations(self) -> tuple[str, ...]:
        """What must accompany the file, each once."""
        return tuple(dict.fromkeys(o for part in self.parts for o in part.terms.obligations))

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each deciding ingredient or ancestor, naming its term and where it stands."""
        return tuple(
            dict.fromkeys(
                reason(part, above)
                for above, part in self._walk()
                if part.terms.share_merges == self.share_merges
            )
        )

    def _walk(self) -> Iterator[tuple[tuple[Ingredient, ...], Ingredient]]:
        for ingredient in self.ingredients:
            yield from _walk((), ingredient)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON takes it."""
        return {
            "share_merges": str(self.share_merges),
            "allowed": self.allowed,
            "reasons": list(self.reasons),
            "obligations": list(self.obligations),
            "ingredients": [ingredient.to_dict() for ingredient in self.ingredients],
        }


def reason(part: Ingredient, above: Sequence[Ingredient] = ()) -> str:
    """The term of an ingredient, or of an ancestor that lies in those `above`, with its source."""
    terms = part.terms
    says = f"{terms.statement} [{terms.cited}]"
    if not above:
        return f"{part.name} ({part.role}, {terms.title}): {says}"
    links = [f"{above[0].name} ({above[0].role}) {_relation((*above, part)[1])}"]
    links += [f"which {_relation(one)}" for one in (*above, part)[2:]]
    return f"{', '.join(links)}: {says}"


def _stops_another_form(above: Sequence[Ingredient], part: Ingredient) -> bool:
    """Whether a part forbids another form of the work: it denies, or is merged into it and unknown."""
    share = part.terms.share_merges
    itself = all(one.relation.startswith(SAME_WORK) for one in (*above, part)[1:])
    return share is ShareMerges.DENY or (share is ShareMerges.UNKNOWN and not itself)


def _relation(part: Ingredient) -> str:
    return part.relation or f"was made from {part.terms.title}"


def _walk(
    above: tuple[Ingredient, ...], part: Ingredient
) -> Iterator[tuple[tuple[Ingredient, ...], Ingredient]]:
    yield above, part
    for ancestor in part.ancestors:
        yield from _walk((*above, part), ancestor)


def judge(ingredients: Sequence[Ingredient], *, same_work: bool = False) -> Verdict:
    """The verdict for a file that would hold the merged weights of all `ingredients`.

    `same_work` says that it would hold one adapter, in another form and with nothing added; of several
    ingredients, and of a base, it is not believed.
    """
    parts = (part for one in ingredients for _, part in _walk((), one))
    share = strictest(part.terms.share_merges for part in parts)
    alone = len(ingredients) == 1 and ingredients[0].role == "adapter"
    return Verdict(share, tuple(ingredients), same_work and alone)


def require_allowed(verdict: Verdict, what: str, hint: str | None = None) -> None:
    """Raise `Refused` unless `verdict` allows `what` (a phrase such as "writing this checkpoint").

    `hint` says what can be done instead.
    """
    if verdict.allowed:
        return
    reasons = verdict.reasons or ("Nothing is known of its ingredients.",)
    why = "\n- ".join(("", *reasons)) if len(reasons) > 1 else f" {reasons[0]}"
    unknown = verdict.share_merges == ShareMerges.UNKNOWN
    intro = "the terms are unknown, and unknown denies" if unknown else "its licence forbids it"
    raise Refused(
        f"{what} is refused: {intro}.{why}",
        hint=hint
        or "Nothing was written. Share the recipe instead: `lorakit stack ... --save FILE.toml` "
        "lists the adapters and strengths, and anyone with the files can rebuild the stack.",
    )
