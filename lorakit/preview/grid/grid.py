"""A grid: the request as it is kept, the plan made of it, and the pictures of the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadFile, LorakitError
from lorakit.preview.grid.axes import Axis
from lorakit.preview.grid.cells import Asked, Cell, Layout, expand_names, lay_out
from lorakit.preview.grid.folder import Made, WorkFolder, open_folder, peek_folder, read_manifest
from lorakit.preview.grid.jobs import Finder, How, Job, complete
from lorakit.preview.grid.rendering import NOBODY, Opener, Rendered, Watch, fill_folder
from lorakit.preview.picture import save_picture
from lorakit.preview.recipes import UNKNOWN_BASE, recipe_named
from lorakit.stack import Stack

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

MANIFEST = "grid.json"
SCHEMA = "lorakit/grid-folder/1"


@dataclass(frozen=True)
class GridRequest:
    """What was asked for. `device` may be "auto"; None means each base's own components and recipe.

    `add_triggers` puts a trigger word of each picture's adapters before its prompt where none is.
    """

    asked: Asked
    axes: tuple[Axis, ...]
    plain: bool = True
    device: str = "auto"
    components: str | None = None
    recipe: str | None = None
    add_triggers: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        asked = {**asdict(self.asked), "stack": str(self.asked.stack)}
        if self.asked.image is not None:
            asked["image"] = str(self.asked.image)
        return {
            **asked,
            "axes": [str(axis) for axis in self.axes],
            "plain": self.plain,
            "device": self.device,
            "components": self.components,
            "recipe": self.recipe,
            "add_triggers": self.add_triggers,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> GridRequest:
        """The request that `to_dict` gave. Raises `BadFile` for a document that is none."""
        rest = dict(document)
        try:
            axes = tuple(map(Axis.parse, rest.pop("axes")))
            own = {
                name: rest.pop(name)
                for name in ("plain", "device", "components", "recipe", "add_triggers")
            }
            rest["stack"] = Stack.parse(rest["stack"])
            rest["size"] = None if rest["size"] is None else tuple(rest["size"])
            rest["image"] = None if rest["image"] is None else Path(rest["image"])
            return cls(Asked(**rest), axes, **own)
        except (KeyError, TypeError, AttributeError, LorakitError) as error:
            raise BadFile(f"The manifest's request cannot be read: {error}.") from error


@dataclass(frozen=True)
class GridPlan:
    """The cells of a grid, and the job and the file name of each, in the same order.

    Cells whose pictures are the same have one job and one file.
    """

    request: GridRequest
    layout: Layout
    jobs: tuple[Job, ...]
    files: tuple[str, ...]
    device: str

    def by_file(self) -> dict[str, Job]:
        """Every picture that the grid needs."""
        return dict(zip(self.files, self.jobs, strict=True))

    def missing(self, made: Mapping[str, Made]) -> list[Job]:
        """The jobs that are still to be done where `made` is there, by file name."""
        named = self.by_file().items()
        return [job for file, job in named if file not in made or made[file].key != job.key]


def check_request(request: GridRequest) -> None:
    """Raise `BadUsage` for what no base and no adapter could make right, before any is looked for."""
    asked = request.asked
    for cell in lay_out(asked, request.axes, plain=request.plain).cells:
        complete(cell.asked, recipe_named(request.recipe or UNKNOWN_BASE))


def with_names(request: GridRequest, catalog: Catalog) -> GridRequest:
    """`request` with the adapters' names in place of patterns: what is kept of it means one thing only.

    Raises `NotFound` for a pattern that no name fits.
    """

    def names(pattern: str) -> list[str]:
        return [record.name for record in catalog.adapters(pattern)]

    return replace(request, axes=tuple(expand_names(axis, names) for axis in request.axes))


def plan_grid(request: GridRequest, catalog: Catalog, device: str) -> GridPlan:
    """Find everything that `request` names. `device` is one that `choose_device` gave.

    Raises what `lay_out` and `Finder.jobs` raise.
    """
    asked = request.asked
    layout = lay_out(asked, request.axes, plain=request.plain)
    how = How(device, request.components, request.recipe, request.add_triggers)
    finder = Finder(catalog, how)
    jobs = finder.jobs([cell.asked for cell in layout.cells], asked.stack)
    first: dict[str, str] = {}
    for cell, job in zip(layout.cells, jobs, strict=True):
        first.setdefault(job.key, file_name(cell, layout))
    return GridPlan(request, layout, tuple(jobs), tuple(first[job.key] for job in jobs), device)


def file_name(cell: Cell, layout: Layout) -> str:
    """Where the cell's picture is: `row1-column2.png`, with the page before it where there are several."""
    parts = [
        (word, place + 1, len(places))
        for word, place, places in (
            ("page", cell.page, layout.pages),
            ("row", cell.row, layout.rows),
            ("column", cell.column, layout.columns),
        )
        if len(places) > 1
    ]
    numbered = [f"{word}{place:0{len(str(count))}}" for word, place, count in parts]
    return f"{'-'.join(numbered) or 'picture'}.png"


def open_grid_folder(path: Path, request: GridRequest) -> WorkFolder:
    """The folder of a grid, new or to be gone on with. Raises as `open_folder`."""
    return open_folder(path, MANIFEST, SCHEMA, request.to_dict())


def peek_grid_folder(path: Path, request: GridRequest) -> dict[str, Made]:
    """What is there of a grid already; nothing is written. Raises as `open_folder`."""
    return peek_folder(path, MANIFEST, SCHEMA, request.to_dict())


def read_request(path: Path) -> GridRequest:
    """The request of the grid in a folder. Raises `BadFile` for a folder without one."""
    return GridRequest.from_dict(read_manifest(path / MANIFEST, SCHEMA)["request"])


def render_grid(
    plan: GridPlan,
    folder: WorkFolder,
    *,
    compiled: bool = False,
    watch: Watch = NOBODY,
    on_picture: Callable[[str, Rendered], None] = lambda file, rendered: None,
    opener: Opener | None = None,
) -> dict[str, str]:
    """Render what `folder` lacks, as `fill_folder` does; pictures are written as `lorakit preview` does."""
    return fill_folder(
        folder,
        plan.by_file(),
        _save,
        device=plan.device,
        compiled=compiled,
        watch=watch,
        on_picture=on_picture,
        opener=opener,
    )


def _save(rendered: Rendered, path: Path) -> None:
    assert rendered.image is not None
    save_picture(rendered.image, path, rendered.job.settings, rendered.origin, overwrite=True)
