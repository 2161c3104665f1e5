"""A table of disguises, each refused, and of innocents, each allowed: real files through the real gate.

Every checkpoint is registered as Anima, which is what somebody says who does not know better. Beside it
the catalog has Anima, a fine-tune of it, and RDBT's likeness, which was made from Anima.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.cli.main import run
from lorakit.errors import Refused
from lorakit.gate import export_checkpoint, judge_stack
from lorakit.licenses.policy import Verdict
from lorakit.licenses.terms import ShareMerges
from lorakit.stack import Stack, resolve_stack
from tests.gate import disguises, innocents
from tests.gate.relatives import (
    Adapter,
    Checkpoint,
    ancestor,
    rdbt,
    style,
    tuned,
    with_rdbt,
    without,
    yume,
)
from tests.tracing import family as f
from tests.tracing.files import Form, write_adapter, write_checkpoint

pytestmark = pytest.mark.slow

RULE = "Sharing merges using this model is not allowed"


def each(rows: Iterable[Checkpoint | Adapter]) -> pytest.MarkDecorator:
    """Every row of a table, under its name."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows])


def lorakit(*words: str | Path) -> int:
    return run([*map(str, words), "-q"])


def prepared(folder: Path, **models: f.Weights) -> Path:
    """A home whose catalog has these models, each registered as what it is called."""
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAKIT_HOME", str(home))
        for name, weights in models.items():
            path = write_checkpoint(folder / f"{name}.safetensors", weights)
            assert lorakit("base", "add", path, "--as", name) == 0
        if "animayume" in models:
            words = ("--share-merges", "allow", "--source", "its author's letter")
            assert lorakit("license", "set", "animayume", *words) == 0
    return home


@pytest.fixture(scope="module")
def family_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = {"anima": ancestor(), "animayume": yume(), "rdbt": rdbt()}
    return prepared(tmp_path_factory.mktemp("family"), **models)


@pytest.fixture(scope="module")
def lonely_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RDBT's likeness without the model that it was made from."""
    return prepared(tmp_path_factory.mktemp("lonely"), rdbt=rdbt())


@pytest.fixture
def home(family_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return entered(family_home, tmp_path, monkeypatch)


def entered(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own = tmp_path / "home"
    shutil.copytree(home, own)
    monkeypatch.setenv("LORAKIT_HOME", str(own))
    return own


def registered(row: Checkpoint, folder: Path) -> int:
    """Write the checkpoint and register it as Anima; the exit code."""
    path = write_checkpoint(folder / f"{row.stem}.safetensors", row.make(), row.form)
    return lorakit("base", "add", path, "--name", "suspect", "--as", "anima")


def verdict_on(base: str, stack: str = "") -> Verdict:
    with Catalog.open() as catalog:
        entries = resolve_stack(Stack.parse(stack), catalog)
        return judge_stack(catalog, choose_base(catalog, base), entries)


def refusal(base: str, stack: str, folder: Path) -> str:
    """What an export says that is refused and leaves nothing behind."""
    out = folder / "out"
    out.mkdir()
    with Catalog.open() as catalog, pytest.raises(Refused) as caught:
        export_checkpoint(catalog, base, Stack.parse(stack), out / "merged.safetensors")
    assert list(out.iterdir()) == []
    return caught.value.message


def test_the_tables_are_long_enough() -> None:
    assert len([*disguises.checkpoints(), *disguises.adapters()]) >= 40
    assert len([*innocents.checkpoints(), *innocents.adapters()]) >= 40


@each(disguises.checkpoints())
def test_a_disguised_checkpoint_is_refused(
    row: Checkpoint, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if registered(row, tmp_path) == 3:
        # The same bytes after the header: registering them under looser terms is refused already.
        said = capsys.readouterr().err
        assert "RDBT [Anima]" in said
    else:
        said = refusal("suspect", "", tmp_path)
        assert "rdbt (RDBT [Anima]), recognised by its weights (" in said
    assert RULE in said


@each(disguises.adapters())
def test_a_disguised_adapter_is_refused(row: Adapter, home: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "my style.safetensors", row.make(), row.layout)
    said = refusal("anima", f'"{path}":0.5', tmp_path)
    assert "contains rdbt (RDBT [Anima]), recognised by its weights (" in said
    assert RULE in said


@each(innocents.checkpoints())
def test_an_innocent_checkpoint_is_allowed(row: Checkpoint, home: Path, tmp_path: Path) -> None:
    assert registered(row, tmp_path) == 0
    verdict = verdict_on("suspect")
    assert verdict.allowed, verdict.reasons


@each(innocents.adapters())
def test_an_innocent_adapter_is_allowed(row: Adapter, home: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "my style.safetensors", row.make(), row.layout)
    verdict = verdict_on("anima", f'"{path}":0.5')
    assert verdict.allowed, verdict.reasons


def test_merges_that_are_registered_as_the_ancestor_do_not_hide_or_accuse_one_another(
    home: Path, tmp_path: Path
) -> None:
    made = {
        "innocent": without((1, style(1))),
        "another": without((0.8, style(2))),
        "tenth": with_rdbt(0.1),
        "half": with_rdbt(0.5, (0.5, style(1))),
    }
    for name, weights in made.items():
        path = write_checkpoint(tmp_path / f"{name}.safetensors", weights)
        assert lorakit("base", "add", path, "--as", "anima") == 0
    allowed = {name: verdict_on(name).allowed for name in ("anima", *made)}
    assert allowed == {
        "anima": True,
        "innocent": True,
        "another": True,
        "tenth": False,
        "half": False,
    }


@pytest.mark.parametrize("model", ["anima", "animayume", "other"])
def test_without_the_ancestor_a_relative_is_unknown_and_refused(
    model: str, lonely_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(lonely_home, tmp_path, monkeypatch)
    sibling = tuned(ancestor(), 8, 0.02)
    path = write_checkpoint(tmp_path / "sibling.safetensors", sibling, Form("fp16"))
    assert lorakit("base", "add", path, "--name", "suspect", "--as", model) == 0
    verdict = verdict_on("suspect")
    assert verdict.share_merges is ShareMerges.UNKNOWN
    reasons = " ".join(verdict.reasons)
    assert "may be or contain rdbt" in reasons
    assert "the very model that rdbt was made from (anima or animayume)" in reasons
    assert "lorakit base add" in reasons


def test_without_the_ancestor_a_copy_and_a_stranger_are_told_all_the_same(
    lonely_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(lonely_home, tmp_path, monkeypatch)
    copy = Checkpoint("copy", rdbt, Form("fp8", "net."))
    assert registered(copy, tmp_path) == 0
    assert verdict_on("suspect").share_merges is ShareMerges.DENY
    stranger = write_checkpoint(tmp_path / "stranger.safetensors", f.weights(99))
    assert lorakit("base", "add", stranger, "--as", "anima") == 0
    assert verdict_on("stranger").allowed
