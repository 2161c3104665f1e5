"""Which base is meant, where its parts are, and under which terms it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage
from lorakit.licenses.policy import Ingredient
from lorakit.licenses.terms import Terms, model_terms

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

# The entry of the table of known models for a base that nobody has named: unknown, so denied.
UNNAMED_MODEL = "other"


@dataclass(frozen=True)
class ChosenBase:
    """A base to stack on: a registered one, or a file that was named directly."""

    name: str
    path: Path
    model: str
    components: str | None
    sha256: str | None

    @property
    def terms(self) -> Terms:
        """The terms of the model it was registered as."""
        return model_terms(self.model)

    def ingredient(self) -> Ingredient:
        """The base as the policy sees it."""
        return Ingredient(self.name, "base", self.terms, self.sha256)


def choose_base(catalog: Catalog, name: str | None) -> ChosenBase:
    """The registered base called `name`, the file at that path, or the only one registered.

    Raises `NotFound` for a name or file that is not there, `BadUsage` when `name` is None and there is
    not exactly one, `BadFile` when a registered file has been replaced by another.
    """
    if name is not None and Path(name).expanduser().is_file():
        path = Path(name).expanduser()
        return ChosenBase(path.stem, path, UNNAMED_MODEL, None, None)
    if name is None:
        bases = catalog.bases()
        if not bases:
            raise BadUsage(
                "No base is registered yet.",
                hint="`lorakit base add FILE --as rdbt` registers one.",
            )
        if len(bases) > 1:
            known = ", ".join(base.name for base in bases)
            raise BadUsage("Say which base with --base NAME.", hint=f"Registered are: {known}.")
        name = bases[0].name
    record = catalog.base(name)
    path = record.unchanged_path()
    return ChosenBase(record.name, path, record.model, record.components, record.file_sha256)
