"""The page of a grid: all pictures in one file, to be zoomed and compared."""

from __future__ import annotations

from collections.abc import Mapping

from lorakit.preview.grid.embedding import MOST_BYTES, Embedded, embed
from lorakit.preview.grid.folder import WorkFolder
from lorakit.preview.grid.grid import GridPlan
from lorakit.preview.grid.words import preview_command, remarks, shown_settings, stack_of, title
from lorakit.report.pages import data_url, fill_page


def grid_page(
    plan: GridPlan,
    folder: WorkFolder,
    problems: Mapping[str, str],
    *,
    most_bytes: int = MOST_BYTES,
) -> str:
    """The page as HTML, complete in itself.

    Args:
        plan: of the grid.
        folder: of the pictures; those that are not there are shown as missing.
        problems: why a picture could not be made, by file name.
        most_bytes: of pictures as they are; see `embed`.
    """
    layout = plan.layout
    there = {
        file: folder.pictures / file
        for file, job in plan.by_file().items()
        if folder.holds(file, job.key)
    }
    shown, note = embed(list(there.values()), most=most_bytes)
    cells = _cells(plan, {file: shown[path] for file, path in there.items()}, problems)
    columns, rows = len(layout.columns), len(layout.rows)
    missing = sum(file not in there for file in plan.by_file())
    return fill_page(
        "grid.html.j2",
        ("page.css", "grid.css"),
        ("zoom.js", "grid.js"),
        title=title(plan),
        remarks=remarks(plan),
        note=note,
        closing=f"Pictures that are not rendered yet: {missing}." if missing else "",
        corner=f"{layout.axes[1].title} ↓\n{layout.axes[0].title} →" if rows > 1 else "",
        columns=[place.label for place in layout.columns],
        rows=[place.label for place in layout.rows],
        sides=any(place.label for place in layout.rows),
        pages=[place.label for place in layout.pages],
        page_axis=layout.axes[2].title if len(layout.axes) > 2 else "",
        tables=[
            [cells[at : at + columns] for at in range(first, first + columns * rows, columns)]
            for first in range(0, len(cells), columns * rows)
        ],
        data={
            "columns": columns,
            "rows": rows,
            "cells": [{name: cell[name] for name in _FOR_SCRIPT} for cell in cells],
        },
    )


_FOR_SCRIPT = ("label", "stack", "command", "settings", "width", "height")


def _cells(
    plan: GridPlan, shown: Mapping[str, Embedded], problems: Mapping[str, str]
) -> list[dict[str, object]]:
    """One mapping for the template a cell; a picture that several show is in the first of them."""
    found: list[dict[str, object]] = []
    first: dict[str, int] = {}
    for number, (cell, job, file) in enumerate(
        zip(plan.layout.cells, plan.jobs, plan.files, strict=True)
    ):
        layout = plan.layout
        places = (layout.columns[cell.column], layout.rows[cell.row], layout.pages[cell.page])
        picture, twin = shown.get(file), first.setdefault(file, number)
        width, height = job.settings.width, job.settings.height
        found.append(
            {
                "number": number,
                "label": ", ".join(p.label.replace("\n", ", ") for p in places if p.label),
                "stack": str(stack_of(job)),
                "command": preview_command(job),
                "settings": shown_settings(job),
                "source": data_url(picture.content, picture.mime)
                if picture and twin == number
                else None,
                "twin": twin if picture and twin != number else None,
                "width": picture.width if picture else width,
                "height": picture.height if picture else height,
                "problem": problems.get(file, "not rendered yet"),
            }
        )
    return found
