"""A picture of NaN is put down to what made it."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.preview import diagnosis
from lorakit.preview.demo_model import write_demo_adapters
from lorakit.preview.diagnosis import find_cause, render_or_explain
from lorakit.preview.session import Session, open_session
from lorakit.preview.settings import RenderSettings
from lorakit.preview.unsound import UnsoundPicture
from lorakit.strengths import Strength
from tests.preview.test_pipeline import difference

SMALL = RenderSettings("ink portrait", width=64, height=64, steps=3)


@dataclass(frozen=True)
class Entry:
    path: Path
    strength: Strength

    @property
    def name(self) -> str:
        return self.path.stem


@pytest.fixture(scope="module")
def adapters(demo, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    write_demo_adapters(folder)
    return sorted(folder.glob("*.safetensors"))[:3]


def loud(demo, path: Path, value: float, *layers: str) -> Path:
    """An adapter whose finite deltas on the MLP of one block are as large as `value`."""
    base = load_file(demo.checkpoint)
    draw = torch.Generator().manual_seed(0)
    modules = {}
    for layer in layers:
        name = f"blocks.1.mlp.{layer}"
        rows, columns = base[f"{name}.weight"].shape
        up, down = torch.randn(rows, 1, generator=draw), torch.randn(1, columns, generator=draw)
        modules[name] = LoraModule(up * value, down, 1.0)
    save_lora(path, modules, layout="kohya", metadata={})
    return path


def opened(demo, entries: list[Entry], components: Path | None = None) -> Session:
    pairs = [(entry.path, entry.strength) for entry in entries]
    where = str(components or demo.components)
    return open_session(demo.checkpoint, pairs, components=where, device="cpu")


def blamed(demo, entries: list[Entry], settings: RenderSettings = SMALL) -> diagnosis.Cause:
    session = opened(demo, entries)
    with pytest.raises(UnsoundPicture) as caught:
        session.renderer.render(settings)
    found = find_cause(session, demo.checkpoint, entries, settings, caught.value)
    # The stack is in place again: it fails where it failed before.
    with pytest.raises(UnsoundPicture) as again:
        session.renderer.render(settings)
    assert (again.value.place, again.value.step) == (caught.value.place, caught.value.step)
    return found


def test_a_damaged_file_is_named_with_its_tensor(demo, adapters, tmp_path):
    bad = loud(demo, tmp_path / "broken.safetensors", float("nan"), "layer2")
    found = blamed(demo, [Entry(adapters[0], Strength(0.8)), Entry(bad, Strength(0.1))])
    assert (found.kind, found.names) == ("adapter", ("broken",))
    assert str(bad) in found.sentence
    assert any(key in found.sentence for key in load_file(bad))


def test_an_entry_that_overflows_is_named_with_its_strength(demo, adapters, tmp_path):
    bad = loud(demo, tmp_path / "loud.safetensors", 1e25, "layer1", "layer2")
    found = blamed(demo, [Entry(adapters[0], Strength(0.8)), Entry(bad, Strength(0.75))])
    assert (found.kind, found.names) == ("strength", ("loud",))
    assert "loud at strength 0.75" in found.sentence
    assert "lorakit inspect" in found.hint


def test_a_strength_beyond_1_is_told_from_an_adapter_that_never_works(demo, adapters, tmp_path):
    path = loud(demo, tmp_path / "loud.safetensors", 3e8, "layer1", "layer2")
    found = blamed(demo, [Entry(adapters[0], Strength(0.8)), Entry(path, Strength(-90.0))])
    assert (found.kind, found.names) == ("strength", ("loud",))
    assert "at 1 the picture is sound" in found.hint


def test_entries_that_overflow_together_only_are_named_together(demo, adapters, tmp_path):
    entries = [
        Entry(loud(demo, tmp_path / "left.safetensors", 1e12, "layer1"), Strength(1.0)),
        Entry(adapters[0], Strength(0.8)),
        Entry(loud(demo, tmp_path / "right.safetensors", 1e12, "layer2"), Strength(0.5)),
    ]
    found = blamed(demo, entries)
    assert (found.kind, found.names) == ("together", ("left", "right"))
    assert "left at strength 1 and right at strength 0.5" in found.sentence


def test_a_base_that_fails_without_the_stack_is_told_apart(demo, adapters, tmp_path):
    tensors = load_file(demo.checkpoint)
    key = "blocks.1.mlp.layer2.weight"
    tensors[key] = torch.full_like(tensors[key], float("inf"))
    base = tmp_path / "base.safetensors"
    save_file(tensors, base)
    entries = [Entry(adapters[0], Strength(0.5))]
    session = open_session(
        base,
        [(entry.path, entry.strength) for entry in entries],
        components=str(demo.components),
        device="cpu",
    )
    with pytest.raises(UnsoundPicture) as caught:
        render_or_explain(session, base, entries, SMALL)
    assert caught.value.cause is not None
    assert str(base) in caught.value.message
    assert key in caught.value.message


def test_a_damaged_part_is_told_apart(demo, adapters):
    session = opened(demo, [])
    with torch.no_grad():
        session.renderer._stages.decode.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.raises(UnsoundPicture, match="VAE is damaged") as caught:
        render_or_explain(session, demo.checkpoint, [], SMALL)
    assert caught.value.place == "decoder"


def test_a_sound_picture_is_given_as_it_is(demo, adapters, monkeypatch):
    entries = [Entry(adapters[0], Strength(0.5))]
    session = opened(demo, entries)
    monkeypatch.setattr(diagnosis, "find_cause", None)
    plain = session.renderer.render(SMALL)
    assert difference(plain, render_or_explain(session, demo.checkpoint, entries, SMALL)) == 0


def test_trials_go_no_further_than_the_step_that_failed(demo, adapters, tmp_path):
    bad = loud(demo, tmp_path / "loud.safetensors", 1e25, "layer1", "layer2")
    entries = [Entry(bad, Strength(1.0)), Entry(adapters[0], Strength(0.8))]
    session = opened(demo, entries)
    passes: list[int] = []
    session.renderer._transformer.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(UnsoundPicture, match="loud"):
        render_or_explain(session, demo.checkpoint, entries, replace(SMALL, steps=20))
    # The picture, none, and each alone: one step each.
    assert len(passes) == 4
