"""The policy: from the terms of every ingredient to one verdict. The strictest wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorakit.errors import Refused
from lorakit.licenses.terms import ShareMerges, Terms, strictest


@dataclass(frozen=True)
class Ingredient:
    """One thing whose weights a merged file would hold."""

    name: str
    role: Literal["base", "adapter"]
    terms: Terms
    sha256: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The outcome for a file that would hold merged weights.

    `deciding` are the ingredients whose terms are the strictest; `obligations` is what must
    accompany the file when it is allowed.
    """

    share_merges: ShareMerges
    ingredients: tuple[Ingredient, ...]

    @property
    def allowed(self) -> bool:
        """Whether the file may be written. Unknown denies."""
        return self.share_merges in (ShareMerges.ALLOW, ShareMerges.ALLOW_WITH_OBLIGATIONS)

    @property
    def deciding(self) -> tuple[Ingredient, ...]:
        """The ingredients whose terms decide, in the order given."""
        return tuple(i for i in self.ingredients if i.terms.share_merges == self.share_merges)

    @property
    def obligations(self) -> tuple[str, ...]:
        """What must accompany the file, each once."""
        return tuple(dict.fromkeys(o for i in self.ingredients for o in i.terms.obligations))

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each deciding ingredient, naming its term and where it stands."""
        return tuple(
            f"{i.name} ({i.role}, {i.terms.title}): {i.terms.statement} [{i.terms.source}]"
            for i in self.deciding
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON takes it."""
        return {
            "share_merges": str(self.share_merges),
            "allowed": self.allowed,
            "reasons": list(self.reasons),
            "obligations": list(self.obligations),
            "ingredients": [
                {
                    "name": i.name,
                    "role": i.role,
                    "title": i.terms.title,
                    "share_merges": str(i.terms.share_merges),
                    "statement": i.terms.statement,
                    "text_sha256": i.terms.text_sha256,
                    "source": i.terms.source,
                    "sha256": i.sha256,
                }
                for i in self.ingredients
            ],
        }


def judge(ingredients: Sequence[Ingredient]) -> Verdict:
    """The verdict for a file that would hold the merged weights of all `ingredients`."""
    return Verdict(strictest(i.terms.share_merges for i in ingredients), tuple(ingredients))


def require_allowed(verdict: Verdict, what: str) -> None:
    """Raise `Refused` unless `verdict` allows `what` (a phrase such as "writing this checkpoint")."""
    if verdict.allowed:
        return
    why = " ".join(verdict.reasons) or "Nothing is known of its ingredients."
    unknown = verdict.share_merges == ShareMerges.UNKNOWN
    intro = "the terms are unknown, and unknown denies" if unknown else "its licence forbids it"
    raise Refused(
        f"{what} is refused: {intro}. {why}",
        hint="Nothing was written. Share the recipe instead: `lorakit stack ... --save FILE.toml` "
        "lists the adapters and strengths, and anyone with the files can rebuild the stack.",
    )
