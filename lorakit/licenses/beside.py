"""The files that other programs keep beside a model's: what they say of its terms.

Beside `X.safetensors`: `X.civitai.info` and `X.civitai.json` (an answer about a version),
`X.metadata.json` (LoRA Manager), `X.api_info.json` (an answer about a model), `X.md` and, for a folder
that holds one repository, `README.md` (model cards). They are read and never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Literal

from lorakit.formats.sidecars.documents import JsonReader, failure, read_json, read_text
from lorakit.licenses.cards import Card, card_ancestors, card_notes, card_terms, read_card
from lorakit.licenses.civitai import Permissions, permission_terms, read_permissions
from lorakit.licenses.claims import Claim
from lorakit.licenses.evidence import Evidence
from lorakit.licenses.known import by_civitai
from lorakit.licenses.lineage import model_claim
from lorakit.licenses.terms import ALLOWING

ANSWERS = (".civitai.info", ".metadata.json", ".api_info.json", ".civitai.json")
# How far above a file the top of its repository may be, such as `split_files/diffusion_models/`.
_LEVELS = 3

Subject = Literal["base", "adapter"]


def evidence_beside(
    path: Path,
    subject: Subject,
    sha256: str | None,
    content: str | None,
    read: JsonReader = read_json,
) -> Evidence:
    """What the files beside the model at `path` say. One that cannot be read is a problem, no error."""
    found = Evidence()
    for ending in ANSWERS:
        answer = path.with_name(path.stem + ending)
        if answer.is_file():
            found += answer_evidence(answer, sha256, content, read)
    for card in (path.with_name(f"{path.stem}.md"), _readme(path)):
        if card is not None and card.is_file():
            found += card_evidence(card, subject)
    return found


def has_files_beside(path: Path) -> bool:
    """Whether any of the files that `evidence_beside` reads is there."""
    names = (*(path.stem + ending for ending in ANSWERS), f"{path.stem}.md", "README.md")
    return any(path.with_name(name).is_file() for name in names)


def answer_evidence(
    path: Path, sha256: str | None, content: str | None, read: JsonReader = read_json
) -> Evidence:
    """What a saved answer of Civitai, or a tool's record of one, says of the file with these hashes."""
    try:
        document = read(path)
    except (OSError, ValueError, RecursionError) as error:
        return Evidence(problems=(failure(path, error),))
    models = list(read_permissions(document))
    fitting = [model for model in models if model.fits(sha256, content)]
    found = Evidence()
    for model in fitting or (models if len(models) == 1 else ()):
        strange = model.fits(sha256, content) is False
        found += model_evidence(model, path.name, _saved_on(path), strange=strange)
    return found


def model_evidence(
    model: Permissions, place: str, read_on: date | None, *, strange: bool
) -> Evidence:
    """The claims of one model's record that was read in `place`, a file's name or a server's.

    `strange` says that it lists other files than the one it was asked for.
    """
    where = f"Civitai model {model.model_id} ({place})" if model.model_id else place
    key = by_civitai(model.model_id)
    claims = [model_claim(key, where)] if key else []
    problems, notes = [], []
    if model.invented:
        notes.append(
            f"{place} holds what LoRA Manager writes when Civitai's answer names no permissions, so "
            "it permits nothing. A saved answer of https://civitai.com/api/v1/models/ID settles it: "
            "`lorakit license set NAME --from FILE`."
        )
    elif model.says_anything:
        claims.append(Claim("civitai", permission_terms(model, where, read_on)))
    if strange:
        # Left over from another file of that name. A permission is not taken over; a refusal is.
        allowing = [c for c in claims if c.terms.share_merges in ALLOWING]
        claims = [claim for claim in claims if claim not in allowing]
        if allowing:
            problems.append(
                f"{place} is about another file (its hashes differ) and is passed over."
            )
    return Evidence(tuple(claims), notes=tuple(notes), problems=tuple(problems))


def card_evidence(path: Path, subject: Subject) -> Evidence:
    """What a model card says of the file that it is about."""
    try:
        card = read_card(read_text(path))
    except (OSError, ValueError) as error:
        return Evidence(problems=(failure(path, error),))
    return _of_card(card, path, adapter=subject == "adapter")


def _of_card(card: Card, path: Path, *, adapter: bool) -> Evidence:
    where = f"the model card {_repository(path) or path.name}"
    terms = card_terms(card, where, _saved_on(path))
    return Evidence(
        (Claim("card", terms),) if terms else (),
        card_ancestors(card, where, adapter=adapter),
        tuple(card_notes(card, where, adapter=adapter)),
    )


def _readme(path: Path) -> Path | None:
    """The card of the repository that `path` lies in; None where a folder may hold files of many."""
    for folder in _above(path):
        if folder.parent.name == "snapshots" or (folder / ".cache" / "huggingface").is_dir():
            return folder / "README.md"
    card = path.with_name("README.md")
    return card if card.is_file() and _is_alone(path) else None


def _repository(card: Path) -> str | None:
    """The repository that a card in the Hugging Face cache belongs to; None for one elsewhere."""
    kind, _, name = card.absolute().parent.parent.parent.name.partition("--")
    if kind != "models" or card.absolute().parent.parent.name != "snapshots":
        return None
    return f"of {name.replace('--', '/')}"


def _above(path: Path) -> Iterator[Path]:
    folder = path.absolute().parent
    for _ in range(_LEVELS):
        yield folder
        folder = folder.parent


def _is_alone(path: Path) -> bool:
    """Whether a folder holds no other model, or is a clone of one repository."""
    if path.with_name(".git").exists():
        return True
    try:
        return len(list(islice(path.parent.glob("*.safetensors"), 2))) < 2
    except OSError:
        return False


def _saved_on(path: Path) -> date | None:
    """The day a file was written, which is when its answer was had."""
    try:
        return date.fromtimestamp(path.stat().st_mtime)
    except (OSError, OverflowError, ValueError):
        return None
