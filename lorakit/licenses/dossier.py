"""Dossiers: everything that is known of one subject's terms, from every source at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorakit.licenses.claims import Claim, conflicts, joined
from lorakit.licenses.policy import Ingredient, Role, Verdict, judge
from lorakit.licenses.terms import Terms


@dataclass(frozen=True)
class Dossier:
    """Everything known of one subject's terms.

    `content` is its `tensor_sha256`; `claims` are about itself; `ancestors` are what its weights were
    made from or what its licence derives from: models of the table, recorded ingredients, recognised
    models, each with a `relation` as in `Ingredient`. `notes` are things to know that decide nothing,
    `problems` are files that should have said something and could not be read.
    """

    name: str
    role: Role
    content: str | None
    sha256: str | None
    claims: tuple[Claim, ...]
    ancestors: tuple[Dossier, ...] = ()
    relation: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def own_terms(self) -> Terms:
        """What its own claims come to, ancestors aside."""
        return joined(self.claims)

    @property
    def verdict(self) -> Verdict:
        """The verdict for sharing what holds this subject alone."""
        return judge([self.ingredient()])

    @property
    def terms(self) -> Terms:
        """The strictest of claims and ancestors, with the obligations of all."""
        verdict = self.verdict
        decisive = verdict.deciding[0].terms
        return replace(decisive, share_merges=verdict.share_merges, obligations=verdict.obligations)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """A sentence for each two claims that differ."""
        return conflicts(self.claims)

    def everyone(self) -> Iterator[Dossier]:
        """The subject and its ancestors at every depth."""
        yield self
        for ancestor in self.ancestors:
            yield from ancestor.everyone()

    def ingredient(self) -> Ingredient:
        """The subject as the policy sees it."""
        return Ingredient(
            self.name,
            self.role,
            self.own_terms,
            self.sha256,
            tuple(ancestor.ingredient() for ancestor in self.ancestors),
            self.claims,
            self.content,
            self.relation,
        )
