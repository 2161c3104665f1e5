"""Comparisons: what votes can tell, which side is A, and that blind pictures do not tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lorakit.catalog import Catalog
from lorakit.errors import BadFile, BadUsage
from lorakit.preview.ab.ballots import choices, parse_ballots, read_ballots, second_is_a
from lorakit.preview.ab.comparison import (
    AbPlan,
    AbRequest,
    open_ab_folder,
    plan_ab,
    read_ab_request,
    render_ab,
)
from lorakit.preview.ab.tally import Tally, sign_test, wilson
from lorakit.preview.demo_model import DemoModel, write_demo_adapters
from lorakit.preview.grid.cells import Asked
from lorakit.preview.grid.jobs import How
from lorakit.report.ab_page import ab_page
from lorakit.stack import Stack


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 0.0625),
        (1, 9, 0.021484375),
        (9, 1, 0.021484375),
    ],
)
def test_the_sign_test_is_that_of_the_tables(first: int, second: int, p: float) -> None:
    assert sign_test(first, second) == pytest.approx(p, abs=1e-12)


def test_the_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta (2001), and any textbook's example of 8 in 10.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(count=st.integers(1, 300), chosen=st.integers(0, 300))
def test_the_interval_holds_the_share_and_turns_with_the_sides(count: int, chosen: int) -> None:
    chosen = min(chosen, count)
    low, high = wilson(chosen, count)
    assert 0.0 <= low <= chosen / count <= high <= 1.0
    assert wilson(count - chosen, count) == pytest.approx((1 - high, 1 - low))


def test_few_votes_tell_nothing_and_many_do() -> None:
    few = Tally(first=5, second=9, same=2, pairs=16, as_a=7)
    assert "cannot tell the two apart (p = 0.42)" in few.verdict("old", "new")
    many = Tally(first=50, second=90, same=2, pairs=142, as_a=70)
    assert many.verdict("old", "new").startswith("new is preferred to old")
    assert many.turned().verdict("new", "old") == many.verdict("old", "new")
    assert Tally(0, 0, 3, 3, 0).verdict("old", "new") == "No difference was found."
    assert Tally(0, 0, 0, 3, 0).verdict("old", "new") == "No pair has been decided yet."


@given(seed=st.integers(0, 2**32), pairs=st.integers(1, 60))
def test_each_side_is_a_as_often_as_the_other(seed: int, pairs: int) -> None:
    order = second_is_a(seed, pairs, blind=True)
    assert len(order) == pairs
    assert abs(2 * sum(order) - pairs) <= 1
    assert second_is_a(seed, pairs, blind=True) == order
    assert not any(second_is_a(seed, pairs, blind=False))


def test_the_order_changes_with_the_seed() -> None:
    orders = {second_is_a(seed, 12, blind=True) for seed in range(50)}
    assert len(orders) > 40
    # No place is always the same side's.
    assert all(0 < sum(order[place] for order in orders) < len(orders) for place in range(12))


def test_votes_are_read_and_turned_into_sides() -> None:
    ballots = parse_ballots(["1=a", "2:B", "3==", "4=same"], 4)
    assert ballots == {1: "a", 2: "b", 3: "same", 4: "same"}
    order = (True, True, False, False)
    assert choices(ballots, order) == {1: "second", 2: "first", 3: "same", 4: "same"}
    assert Tally.of(choices(ballots, order), order) == Tally(1, 1, 2, 4, as_a=1)
    for words, said in (
        (["1"], "no vote"),
        (["1=c"], "no vote"),
        (["5=a"], "no pair 5"),
        (["0=a"], "no pair 0"),
    ):
        with pytest.raises(BadUsage, match=said):
            parse_ballots(words, 4)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"schema": "lorakit/ab-votes/2", "comparison": "ab-1", "votes": {}}',
        b'{"schema": "lorakit/ab-votes/1", "comparison": "ab-1", "votes": {"x": "a"}}',
        b'{"schema": "lorakit/ab-votes/1", "comparison": "ab-1", "votes": {"1": "c"}}',
        b'{"schema": "lorakit/ab-votes/1", "comparison": "ab-1", "votes": [1]}',
    ],
)
def test_a_broken_file_of_votes_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes.json"
    path.write_bytes(content)
    with pytest.raises(BadFile, match="votes"):
        read_ballots(path)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, demo: DemoModel) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    write_demo_adapters(folder)
    # Names that no style sheet and no script holds by chance.
    (folder / "ink.safetensors").rename(folder / "quartz.safetensors")
    (folder / "wash.safetensors").rename(folder / "basalt.safetensors")
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.db") as opened:
        yield opened


def request_of(shelf: Path, demo: DemoModel, **changes: Any) -> AbRequest:
    base = str(demo.checkpoint)
    values: dict[str, Any] = {
        "sides": (
            (base, Stack.parse(f"{shelf / 'quartz'}.safetensors:0.8")),
            (base, Stack.parse(f"{shelf / 'basalt'}.safetensors:0.8")),
        ),
        "prompts": ("a sea", "a town, night"),
        "seeds": (1, 2),
        "asked": Asked(Stack(), size=(64, 64), steps=2),
        "how": How("cpu", str(demo.components), "rdbt"),
        "blind": True,
        "order_seed": 5,
    }
    return AbRequest(**{**values, **changes})


def made(request: AbRequest, catalog: Catalog, path: Path) -> tuple[AbPlan, Path]:
    plan = plan_ab(request, catalog, "cpu")
    folder = open_ab_folder(path, request)
    assert render_ab(plan, folder, device="cpu") == {}
    (path / "index.html").write_text(ab_page(plan, folder))
    return plan, folder.pictures


def test_a_blind_comparison_tells_nothing_of_which_is_which(
    shelf: Path, demo: DemoModel, catalog: Catalog, tmp_path: Path
) -> None:
    plan, pictures = made(request_of(shelf, demo), catalog, tmp_path / "ab")
    files = sorted(pictures.iterdir())
    assert [path.name for path in files] == [
        f"pair{n}-{side}.png" for n in range(1, 5) for side in "ab"
    ]
    for path in (*files, tmp_path / "ab" / "index.html"):
        content = path.read_bytes()
        for word in (b"quartz", b"basalt", b"demo-rdbt", plan.pairs[0].jobs[0].key.encode()):
            assert word not in content, (path, word)
    for path in files:
        with Image.open(path) as picture:
            assert picture.info == {}
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    document = json.loads((tmp_path / "ab" / "ab.json").read_text())
    assert {entry["seconds"] for entry in document["pictures"].values()} == {0.0}
    # And yet A is not always the same side.
    assert {pair.second_is_a for pair in plan.pairs} == {True, False}


def test_a_comparison_in_the_open_names_the_sides(
    shelf: Path, demo: DemoModel, catalog: Catalog, tmp_path: Path
) -> None:
    plan, pictures = made(request_of(shelf, demo, blind=False), catalog, tmp_path / "ab")
    assert plan.labels() == ("quartz:0.8", "basalt:0.8")
    assert not any(pair.second_is_a for pair in plan.pairs)
    assert b"quartz" in (pictures / "pair1-a.png").read_bytes()
    assert b"basalt" in (pictures / "pair1-b.png").read_bytes()
    assert "A is quartz:0.8, B is basalt:0.8" in (tmp_path / "ab" / "index.html").read_text()


def test_a_comparison_goes_on_and_keeps_its_order(
    shelf: Path, demo: DemoModel, catalog: Catalog, tmp_path: Path
) -> None:
    request = request_of(shelf, demo, seeds=(1,))
    plan, pictures = made(request, catalog, tmp_path / "ab")
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    (pictures / "pair1-b.png").unlink()
    assert read_ab_request(tmp_path / "ab") == request
    again, _ = made(request, catalog, tmp_path / "ab")
    assert again.name == plan.name
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before
    with pytest.raises(BadUsage, match="order_seed"):
        made(request_of(shelf, demo, seeds=(1,), order_seed=6), catalog, tmp_path / "ab")


def test_two_sides_of_the_same_content_are_refused(
    shelf: Path, demo: DemoModel, catalog: Catalog, tmp_path: Path
) -> None:
    side = (str(demo.checkpoint), Stack())
    with pytest.raises(BadUsage, match="Both sides are the same"):
        request_of(shelf, demo, sides=(side, side)).check()
    link = tmp_path / "copy.safetensors"
    link.symlink_to(demo.checkpoint)
    with pytest.raises(BadUsage, match="the same content"):
        plan_ab(request_of(shelf, demo, sides=(side, (str(link), Stack()))), catalog, "cpu")
