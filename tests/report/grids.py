"""A grid with pictures of one colour each, made without a model."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lorakit.bases import ChosenBase
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.metadata import TrainingInfo
from lorakit.preview.grid.axes import Axis
from lorakit.preview.grid.cells import Asked, lay_out
from lorakit.preview.grid.folder import WorkFolder
from lorakit.preview.grid.grid import GridPlan, GridRequest, file_name, open_grid_folder
from lorakit.preview.grid.jobs import Job, complete
from lorakit.preview.recipes import recipe_named
from lorakit.stack import Entry, ResolvedEntry, Stack

SIZE = 64


def plan_of(stack: str, *axes: str, prompt: str = "a sea", base: str = "rdbt") -> GridPlan:
    """A plan whose files exist nowhere."""
    asked = Asked(Stack.parse(stack), base, prompt=prompt, size=(SIZE, SIZE))
    request = GridRequest(asked, tuple(Axis.parse(text) for text in axes))
    layout = lay_out(asked, request.axes)
    jobs = tuple(_job(cell.asked, number) for number, cell in enumerate(layout.cells))
    files = tuple(file_name(cell, layout) for cell in layout.cells)
    return GridPlan(request, layout, jobs, files, "cpu")


def _job(asked: Asked, number: int) -> Job:
    recipe = recipe_named("rdbt")
    base = ChosenBase(asked.base or "rdbt", Path("base.safetensors"), ("rdbt",), None, "0" * 64)
    entries = tuple(map(_entry, asked.applied))
    return Job(base, entries, complete(asked, recipe), recipe, None, f"{number:064}")


def _entry(entry: Entry) -> ResolvedEntry:
    path = Path(f"{entry.name}.safetensors")
    report = AdapterReport(path, 0, ("kohya",), (), {}, TrainingInfo(), {}, (), (), (), None)
    return ResolvedEntry(entry.name, entry.strength, path, report, "1" * 64, "2" * 64)


def grey(number: int) -> tuple[int, int, int]:
    """The colour of a cell's picture: its left half is this, its right half one level brighter."""
    return (10 * number, 10 * number, 10 * number)


def folder_of(plan: GridPlan, path: Path, *, without: tuple[int, ...] = ()) -> WorkFolder:
    """The folder of `plan`, with a picture for every cell but those in `without`."""
    folder = open_grid_folder(path, plan.request)
    for number, (file, job) in enumerate(plan.by_file().items()):
        if number in without:
            continue
        image = Image.new("RGB", (SIZE, SIZE), grey(number))
        brighter = grey(number)[0] + 1
        image.paste((brighter, brighter, brighter), (SIZE // 2, 0, SIZE, SIZE))
        folder.save(file, job.key, 0.5, image.save)
    return folder
