"""A grid rendered by the demo model: what is loaded and fused, what is kept, what is made again."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lorakit.catalog import Catalog
from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.preview.demo_model import DemoModel, write_demo_adapters
from lorakit.preview.grid import grid as grids
from lorakit.preview.grid.axes import Axis
from lorakit.preview.grid.cells import Asked
from lorakit.preview.grid.finishing import write_sheet
from lorakit.preview.grid.folder import WorkFolder
from lorakit.preview.grid.grid import GridPlan, GridRequest
from lorakit.preview.grid.jobs import Load
from lorakit.preview.session import Session, open_session
from lorakit.preview.settings import RenderSettings
from lorakit.stack import Stack

COMPONENTS = "components"


@dataclass
class Spy:
    """Opens sessions, and counts what is done with them."""

    opened: list[str] = field(default_factory=list)
    fused: list[tuple[str, ...]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    rendered: list[RenderSettings] = field(default_factory=list)
    stop_before: int | None = None
    alive: list[weakref.ref[Session]] = field(default_factory=list)

    def __call__(self, base: Path, entries: Any, **options: Any) -> Session:
        assert [session for session in self.alive if session() is not None] == []
        self.opened.append(base.name)
        self._fuse(entries)
        session = open_session(base, entries, **options)
        self._watch(session)
        self.alive.append(weakref.ref(session))
        return session

    def _fuse(self, entries: Any) -> None:
        self.fused.append(tuple(f"{Path(path).stem}:{strength}" for path, strength in entries))

    def _watch(self, session: Session) -> None:
        restack, render = session.restack, session.renderer.render
        prompts = session.renderer._prompts
        encode = prompts.encode

        def restacked(entries: Any) -> None:
            self._fuse(entries)
            restack(entries)

        def rendered(settings: RenderSettings, on_step: Any = None) -> Image.Image:
            if len(self.rendered) == self.stop_before:
                raise KeyboardInterrupt
            self.rendered.append(settings)
            return render(settings, on_step)

        def encoded(prompt: str, weights: Any) -> torch.Tensor:
            if prompts.remembered(prompt, weights) is None:
                self.read.append(prompt)
            return encode(prompt, weights)

        session.restack = restacked  # type: ignore[method-assign]
        session.renderer.render = rendered  # type: ignore[method-assign]
        prompts.encode = encoded  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, demo: DemoModel) -> Path:
    """A folder with two bases and three adapters."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copy(demo.checkpoint, folder / "first.safetensors")
    tensors = load_file(demo.checkpoint)
    save_file(
        {key: tensor * 1.01 for key, tensor in tensors.items()}, folder / "second.safetensors"
    )
    write_demo_adapters(folder)
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.db") as opened:
        yield opened


Make = Callable[..., GridPlan]


@pytest.fixture
def make(shelf: Path, catalog: Catalog, demo: DemoModel) -> Make:
    """Plan a grid of the adapters on the shelf, small and quick."""

    def call(stack: str, *axes: str, plain: bool = True, **asked: Any) -> GridPlan:
        for name in ("ink", "wash", "neon"):
            stack = stack.replace(name, f"{shelf / name}.safetensors")
        picture = {"prompt": "@ink, a sea", "size": (64, 64), "steps": 2, **asked}
        request = GridRequest(
            Asked(
                Stack.parse(stack), picture.pop("base", str(shelf / "first.safetensors")), **picture
            ),
            tuple(Axis.parse(text) for text in axes),
            plain=plain,
            device="cpu",
            components=str(demo.components),
            recipe="rdbt",
        )
        return grids.plan_grid(request, catalog, "cpu")

    return call


def render(plan: GridPlan, path: Path, spy: Spy | None = None) -> WorkFolder:
    folder = grids.open_grid_folder(path, plan.request)
    assert grids.render_grid(plan, folder, opener=spy or Spy()) == {}
    return folder


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_one_base_at_a_time_is_opened_a_stack_fused_and_a_prompt_read_once(
    make: Make, shelf: Path, tmp_path: Path
) -> None:
    # The worst order to work in: everything that costs changes from one cell to the next.
    bases = ",".join(f'"{shelf / name}.safetensors"' for name in ("first", "second"))
    plan = make(
        "ink:0.8 wash:0.5", f"base={bases}", "prompt=a sea | a town, night", "strength:ink=0.5,1"
    )
    assert len(plan.layout.cells) == 12
    spy = Spy()
    render(plan, tmp_path / "grid", spy)
    assert spy.opened == ["first.safetensors", "second.safetensors"]
    assert spy.fused == 2 * [(), ("ink:0.5", "wash:0.5"), ("ink:1", "wash:0.5")]
    assert spy.read == 2 * ["a sea", "a town, night"]
    assert len(spy.rendered) == 12
    load = Load.of(plan.jobs)
    assert load == Load(pictures=12, bases=2, fuses=6, prompts=2, passes=24)


def test_a_cell_is_the_picture_that_its_stack_makes_by_itself(
    make: Make, shelf: Path, demo: DemoModel, tmp_path: Path
) -> None:
    plan = make("ink:0.8 wash:0.5", "strength:ink=0.5,1", "seed=3")
    folder = render(plan, tmp_path / "grid")
    alone = open_session(
        shelf / "first.safetensors",
        [(shelf / "ink.safetensors", 1.0), (shelf / "wash.safetensors", 0.5)],
        components=str(demo.components),
        device="cpu",
    ).renderer.render(RenderSettings("@ink, a sea", width=64, height=64, steps=2, seed=3))
    assert pixels(folder.pictures / "column3.png") == alone.tobytes()
    assert len({pixels(folder.pictures / file) for file in plan.files}) == 3


def test_a_picture_carries_what_made_it(make: Make, tmp_path: Path) -> None:
    plan = make("ink:0.8", "strength:ink=0.5,1", "seed=3", plain=False)
    folder = render(plan, tmp_path / "grid")
    with Image.open(folder.pictures / "column2.png") as image:
        record = json.loads(image.info["lorakit"])
        assert "Steps: 2" in image.info["parameters"]
    assert record["entries"][0]["strength"] == 1.0
    assert record["entries"][0]["sha256"] == plan.jobs[1].entries[0].sha256
    assert record["settings"]["seed"] == 3


def test_equal_cells_are_one_picture(make: Make, tmp_path: Path) -> None:
    # The base without adapters is the same whatever strength the entry would have.
    plan = make("ink wash", "strength:ink=0.5,1", "strength:wash=0.5,1")
    assert len(plan.layout.cells) == 6
    assert len(plan.by_file()) == 5
    spy = Spy()
    render(plan, tmp_path / "grid", spy)
    assert len(spy.rendered) == 5


def test_settings_left_open_are_those_of_the_recipe(make: Make) -> None:
    plan = make("", "seed=1", steps=None, size=None)
    settings = plan.jobs[0].settings
    assert (settings.cfg, settings.steps, settings.width, settings.shift) == (1.0, 20, 1024, 3.0)
    guided = make("", "cfg=1,2")
    assert [job.passes for job in guided.jobs] == [2, 4]


def test_the_same_request_goes_on_where_it_stopped(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "grid"
    plan = make("ink:0.8", "strength:ink=0.5,1", "seed=1,2")
    with pytest.raises(KeyboardInterrupt):
        render(plan, path, Spy(stop_before=3))
    assert len(list((path / "pictures").iterdir())) == 3
    spy = Spy()
    folder = render(plan, path, spy)
    assert len(spy.rendered) == 3
    whole = render(plan, tmp_path / "whole")
    for file in plan.files:
        assert pixels(folder.pictures / file) == pixels(whole.pictures / file)
    nothing = Spy()
    render(plan, path, nothing)
    assert nothing.opened == []


def test_only_what_is_damaged_or_lost_is_rendered_again(make: Make, tmp_path: Path) -> None:
    plan = make("", "seed=1-4")
    folder = render(plan, tmp_path / "grid")
    before = {file: (folder.pictures / file).read_bytes() for file in plan.files}
    (folder.pictures / plan.files[0]).unlink()
    (folder.pictures / plan.files[1]).write_bytes(before[plan.files[1]][:-20])
    (folder.pictures / "left.part.png").write_bytes(b"half")
    spy = Spy()
    render(plan, tmp_path / "grid", spy)
    assert [settings.seed for settings in spy.rendered] == [1, 2]
    after = {path.name: path.read_bytes() for path in folder.pictures.iterdir()}
    assert after.keys() == before.keys()
    assert {after[file] for file in plan.files[2:]} == {before[file] for file in plan.files[2:]}


def test_a_retrained_adapter_is_rendered_again_and_the_base_alone_is_not(
    make: Make, shelf: Path, tmp_path: Path
) -> None:
    plan = make("ink:0.8", "strength:ink=0.5,1")
    render(plan, tmp_path / "grid")
    original = (shelf / "ink.safetensors").read_bytes()
    tensors = load_file(shelf / "ink.safetensors")
    try:
        save_file({k: t * 1.5 for k, t in tensors.items()}, shelf / "ink.safetensors")
        spy = Spy()
        render(make("ink:0.8", "strength:ink=0.5,1"), tmp_path / "grid", spy)
    finally:
        (shelf / "ink.safetensors").write_bytes(original)
    assert spy.fused == [("ink:0.5",), ("ink:1",)]


def test_another_version_of_a_library_makes_other_pictures(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make("", "seed=1").jobs[0].key
    assert make("", "seed=1").jobs[0].key == before
    monkeypatch.setattr("lorakit.preview.grid.jobs.versions", lambda: {"torch": "0"})
    assert make("", "seed=1").jobs[0].key != before


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_folder_of_other_things_is_refused_and_left_alone(make: Make, tmp_path: Path) -> None:
    plan = make("", "seed=1,2")
    other = tmp_path / "other"
    render(make("", "seed=1,3"), other)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "holiday.png").write_bytes(b"kept")
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "grid.json").write_text('{"schema": "lorakit/grid-folder/1"}')
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "grid.json").write_text('{"schema": "lorakit/grid-folder/2"}')
    before = contents(tmp_path)
    for name, kind, said in (
        ("other", BadUsage, "another request: its axes is seed=1,3"),
        ("mine", BadUsage, "holiday.png"),
        ("file", BadUsage, "is a file"),
        ("broken", BadFile, "grid.json"),
        ("newer", BadFile, "grid-folder/2"),
    ):
        with pytest.raises(kind, match=said):
            render(plan, tmp_path / name)
    assert contents(tmp_path) == before


def test_what_a_process_killed_at_its_start_leaves_is_no_hindrance(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "grid" / "pictures").mkdir(parents=True)
    (tmp_path / "grid" / "grid.json.part").write_bytes(b'{"sch')
    render(make("", "seed=1"), tmp_path / "grid")
    assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == ["grid.json", "pictures"]


def test_a_manifest_that_names_other_places_touches_nothing_there(
    make: Make, tmp_path: Path
) -> None:
    plan = make("", "seed=1")
    folder = render(plan, tmp_path / "grid")
    (tmp_path / "outside.png").write_bytes(b"kept")
    manifest = folder.path / "grid.json"
    document = json.loads(manifest.read_text())
    document["pictures"]["../../outside.png"] = document["pictures"]["picture.png"]
    manifest.write_text(json.dumps(document))
    reopened = render(plan, tmp_path / "grid")
    assert set(reopened.made) == {"picture.png"}
    assert (tmp_path / "outside.png").read_bytes() == b"kept"


def test_the_request_survives_being_kept(make: Make, tmp_path: Path) -> None:
    plan = make("ink:0.8@blocks=0-3:0", "strength:ink=0,1", 'prompt="a, b",c', seed=7, negative="x")
    grids.open_grid_folder(tmp_path / "grid", plan.request)
    assert grids.read_request(tmp_path / "grid") == plan.request
    with pytest.raises(BadFile, match="manifest"):
        grids.read_request(tmp_path)


def test_a_picture_out_of_range_stops_no_other(make: Make, shelf: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    tensors = load_file(shelf / "ink.safetensors")
    save_file(
        {k: torch.full_like(t, float("nan")) if t.ndim > 1 else t for k, t in tensors.items()},
        broken,
    )
    plan = make("ink:0.8", f'adapter="{broken}","{shelf / "ink.safetensors"}"')
    folder = grids.open_grid_folder(tmp_path / "grid", plan.request)
    problems = grids.render_grid(plan, folder)
    assert list(problems) == ["column2.png"]
    # The entry and the tensor are named, not only that something went wrong.
    assert "broken" in problems["column2.png"]
    assert "lora_down" in problems["column2.png"] or "lora_up" in problems["column2.png"]
    assert set(folder.made) == {"column1.png", "column3.png"}
    assert write_sheet(plan, folder, problems) == folder.path / "sheet.png"


def test_a_starting_image_is_known_by_its_content(make: Make, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "red").save(start)
    red = make("", "denoise=0.25,0.5", image=start).jobs
    assert [job.settings.denoise for job in red] == [0.25, 0.5]
    Image.new("RGB", (64, 64), "blue").save(start)
    assert red[0].key != make("", "denoise=0.25,0.5", image=start).jobs[0].key
    with pytest.raises(LorakitError, match="needs an image"):
        make("", "denoise=0.25,0.5")
