"""Memory that runs out: the renderer lowers its own settings once, says so, and else gives up clearly."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lorakit.errors import LorakitError
from lorakit.preview.components import load_components
from lorakit.preview.memory import MemorySaver, is_out_of_memory
from lorakit.preview.pipeline import Renderer
from lorakit.preview.settings import RenderSettings
from tests.preview.test_pipeline import difference

SMALL = RenderSettings("ink portrait", width=64, height=64, steps=2)


class Part:
    """A model that notes where it is moved."""

    def __init__(self, device: str) -> None:
        self.moves = [device]
        self.use_tiling = False

    def parameters(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(device=torch.device(self.moves[-1]))]

    def to(self, device: str) -> None:
        self.moves.append(device)

    def enable_tiling(self) -> None:
        self.use_tiling = True


class Failing:
    """Work that runs out of memory for its first `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.done = 0

    def __call__(self) -> str:
        self.done += 1
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError("tried to allocate 2 GiB.\nmore words")
        return "made"


def saver(device: str, at: str) -> tuple[MemorySaver, Part, Part, list[str]]:
    encoder, vae, notices = Part(at), Part(at), list[str]()
    made = MemorySaver(device, text_encoder=encoder, vae=vae, on_notice=notices.append)  # type: ignore[arg-type]
    return made, encoder, vae, notices


def test_a_vae_that_does_not_fit_works_in_tiles_and_then_others_leave_the_device():
    memory, encoder, vae, notices = saver("cuda", "cuda")
    assert memory.run("decode", Failing(1)) == "made"
    assert (vae.use_tiling, len(notices), memory.saving) == (True, 1, ("tiled VAE",))
    assert "tiles" in notices[0]
    assert memory.run("decode", Failing(1)) == "made"
    assert (len(notices), memory.saving) == (2, ("tiled VAE", "offload"))
    assert "main memory" in notices[1]
    assert encoder.moves[-1] == vae.moves[-1] == "cpu"


def test_parts_that_wait_in_main_memory_from_the_beginning_are_told_of():
    *_, notices = saver("cuda", "cpu")
    assert len(notices) == 1
    assert "main memory" in notices[0]
    *_, notices = saver("cpu", "cpu")
    assert notices == []


def test_a_step_that_does_not_fit_sends_the_others_away_at_once():
    memory, encoder, vae, notices = saver("cuda", "cuda")
    assert memory.run("denoise", Failing(1)) == "made"
    assert (vae.use_tiling, memory.saving) == (False, ("offload",))
    assert encoder.moves == vae.moves == ["cuda", "cpu"]
    memory.run("text", Failing(0))
    assert encoder.moves == ["cuda", "cpu", "cuda", "cpu"]
    memory.run("decode", Failing(0))
    assert vae.moves == ["cuda", "cpu", "cuda", "cpu"]
    assert len(notices) == 1


def test_a_part_comes_back_from_the_device_when_its_stage_fails():
    memory, encoder, _, _ = saver("cuda", "cpu")

    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        memory.run("text", fail)
    assert encoder.moves[-1] == "cpu"


def test_parts_that_were_loaded_into_main_memory_stay_there():
    memory, _, _, notices = saver("cuda", "cpu")
    assert memory.saving == ("offload",)
    work = Failing(1)
    with pytest.raises(LorakitError, match=r"denoising: tried to allocate 2 GiB\.$") as caught:
        memory.run("denoise", work)
    assert (work.done, len(notices)) == (1, 1)
    assert "--device cpu" in (caught.value.hint or "")


def test_nothing_is_tried_without_end():
    memory, _, _, notices = saver("cuda", "cuda")
    work = Failing(99)
    with pytest.raises(LorakitError):
        memory.run("decode", work)
    assert (work.done, len(notices)) == (3, 2)


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_every_allocators_words_are_known(error, out):
    assert is_out_of_memory(error) is out


def test_what_the_cpus_allocator_says_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def own(weights, demo):
    """A renderer with a VAE of its own, since a lowered setting stays."""
    return Renderer.open(weights, load_components(demo.components, device="cpu"), device="cpu")


def run_out(monkeypatch, module: torch.nn.Module, times: int) -> None:
    forward, work = module.forward, Failing(times)

    def failing(*args: object, **kwargs: object) -> object:
        work()
        return forward(*args, **kwargs)

    monkeypatch.setattr(module, "forward", failing)


def test_a_picture_is_finished_with_a_notice(own, monkeypatch, capfd):
    notices: list[str] = []
    own.on_notice = notices.append
    settings = replace(SMALL, width=272, height=272)
    before = own.render(settings)
    steps: list[int] = []
    run_out(monkeypatch, own._stages.decode.vae.decoder, 1)
    image = own.render(settings, on_step=lambda done, total: steps.append(done))
    assert image.size == (272, 272)
    assert own.saving == ("tiled VAE",)
    assert len(notices) == 1
    # Only decoding was done again.
    assert steps == [1, 2]
    assert capfd.readouterr() == ("", "")
    # The tiles are of the same picture, but for their seams.
    assert 0 < difference(before, image) < 30


def test_on_a_cpu_a_step_that_does_not_fit_is_an_error_with_advice(own, monkeypatch, capfd):
    run_out(monkeypatch, own._transformer, 99)
    with pytest.raises(LorakitError, match="denoising") as caught:
        own.render(SMALL)
    assert "smaller" in (caught.value.hint or "")
    assert "--device" not in (caught.value.hint or "")
    assert capfd.readouterr() == ("", "")


def test_parts_that_find_no_room_are_kept_in_main_memory(demo, monkeypatch):
    move = torch.nn.Module.to

    def full(self: torch.nn.Module, device: str) -> torch.nn.Module:
        if device == "cuda":
            raise torch.OutOfMemoryError("no room")
        return move(self, device)

    monkeypatch.setattr(torch.nn.Module, "to", full)
    parts = load_components(demo.components, device="cuda")
    for part in (parts.text_encoder, parts.vae):
        assert {p.device.type for p in part.parameters()} == {"cpu"}
    memory = MemorySaver("cuda", text_encoder=parts.text_encoder, vae=parts.vae)
    assert memory.saving == ("offload",)
