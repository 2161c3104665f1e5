"""The page of a comparison, on which votes are given."""

from __future__ import annotations

from lorakit.preview.ab.ballots import FILE_SCHEMA
from lorakit.preview.ab.comparison import AbPlan, Pair
from lorakit.preview.grid.embedding import MOST_BYTES, Embedded, embed
from lorakit.preview.grid.folder import WorkFolder
from lorakit.report.pages import data_url, fill_page


def ab_page(plan: AbPlan, folder: WorkFolder, *, most_bytes: int = MOST_BYTES) -> str:
    """The page as HTML, complete in itself. A blind one holds nothing that tells the sides apart."""
    blind = plan.request.blind
    files = {
        file: folder.pictures / file
        for file, job in plan.by_file().items()
        if folder.holds(file, job.key)
    }
    shown, note = embed(list(files.values()), most=most_bytes, with_texts=not blind)
    pictures = {file: shown[path] for file, path in files.items()}
    first, second = plan.labels()
    intro = (
        "Which picture is better? Which is which stays hidden until the votes are read."
        if blind
        else f"A is {first}, B is {second}. Which picture is better?"
    )
    return fill_page(
        "ab.html.j2",
        ("page.css", "ab.css"),
        ("zoom.js", "ab.js"),
        title="Blind comparison" if blind else f"{first} or {second}",
        intro=intro,
        note=note,
        name=plan.name,
        pairs=[
            _pair(pair, pictures, ("", "") if blind else (first, second)) for pair in plan.pairs
        ],
        data={
            "name": plan.name,
            "schema": FILE_SCHEMA,
            "pairs": [_facts(pair) for pair in plan.pairs],
        },
    )


def _pair(pair: Pair, pictures: dict[str, Embedded], names: tuple[str, str]) -> dict[str, object]:
    sides = []
    for letter, file, name in zip("AB", pair.files, names, strict=True):
        picture = pictures.get(file)
        sides.append(
            {
                "letter": letter,
                "name": name,
                "source": data_url(picture.content, picture.mime) if picture else None,
                "width": picture.width if picture else 0,
                "height": picture.height if picture else 0,
            }
        )
    return {"number": pair.number, "sides": sides}


def _facts(pair: Pair) -> dict[str, object]:
    settings = pair.shown[0].settings
    return {
        "prompt": settings.prompt,
        "seed": settings.seed,
        "width": settings.width,
        "height": settings.height,
    }
