"""What an answer of Civitai comes to in the catalog: facts and tags of the version, terms of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from lorakit.formats.sidecars.civitai import model_facts
from lorakit.formats.sidecars.said import SidecarFacts
from lorakit.licenses.beside import model_evidence
from lorakit.licenses.civitai import read_permissions
from lorakit.licenses.claims import Claim
from lorakit.network.matching import Candidate

SOURCE = "civitai"


def said_of(candidate: Candidate, host: str) -> SidecarFacts:
    """The facts and tags of a version, and of its model."""
    versions = [] if candidate.version is None else [candidate.version]
    place = f"{host}: model {candidate.found.model}, version {candidate.found.version}"
    said = model_facts({**candidate.model, "modelVersions": versions}, place, SOURCE)
    return replace(said, tags=said.tags or ())


def claims_about(candidates: Sequence[Candidate], host: str) -> Iterator[Claim]:
    """What the models of all candidates say of the terms: whoever else published the file has a say.

    Of one that lists other files, a refusal is taken over and a permission is not.
    """
    sound = {one.found.model for one in candidates if not one.strange}
    models = {one.found.model: one.model for one in candidates}
    for number, model in models.items():
        for said in read_permissions(model):
            evidence = model_evidence(said, host, date.today(), strange=number not in sound)
            yield from evidence.claims
