"""The sheet of a grid, from the pictures that are there."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from lorakit.errors import BadUsage
from lorakit.preview.grid.folder import WorkFolder, replace_file
from lorakit.preview.grid.grid import GridPlan
from lorakit.preview.grid.sheet import draw_sheet
from lorakit.preview.grid.words import sheet_text

SHEET = "sheet.png"
NOT_YET = "not rendered yet"


def write_sheet(plan: GridPlan, folder: WorkFolder, problems: Mapping[str, str]) -> Path | None:
    """Write the sheet into `folder`; None where the grid has too many places for one picture.

    `problems` say why a picture could not be made, by file name; they stand in its place.
    """
    jobs = plan.by_file()
    by_place = {
        (cell.column, cell.row, cell.page): file
        for cell, file in zip(plan.layout.cells, plan.files, strict=True)
    }

    def shown(column: int, row: int, page: int) -> Path | str:
        file = by_place[column, row, page]
        if folder.holds(file, jobs[file].key):
            return folder.pictures / file
        return problems.get(file, NOT_YET)

    sizes = [(job.settings.width, job.settings.height) for job in plan.jobs]
    largest = max(width for width, _ in sizes), max(height for _, height in sizes)
    try:
        sheet = draw_sheet(sheet_text(plan), shown, largest=largest)
    except BadUsage:
        return None
    stream = io.BytesIO()
    sheet.save(stream, "png")
    replace_file(folder.path / SHEET, stream.getvalue())
    return folder.path / SHEET
