"""A compiled transformer: the same pictures, compiled once, whatever stack comes after."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from lorakit.preview.demo_model import write_demo_adapters
from lorakit.preview.pipeline import Renderer
from lorakit.preview.session import open_session
from lorakit.preview.settings import RenderSettings
from tests.preview.test_pipeline import difference

SMALL = RenderSettings("ink portrait", width=64, height=64, steps=2)


@pytest.fixture(scope="module")
def adapters(demo, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    write_demo_adapters(folder)
    return sorted(folder.glob("*.safetensors"))[:2]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# Of torch's own, when it imports its compiler.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_another_stack_is_compiled_no_second_time(demo, adapters, backend):
    one, two = adapters
    session = open_session(
        demo.checkpoint, [(one, 0.8)], components=str(demo.components), device="cpu", union=[two]
    )
    session.renderer.compile(backend=backend)
    first = session.renderer.render(SMALL)
    with torch.compiler.set_stance("fail_on_recompile"):
        session.restack([(one, 0.4), (two, -1.5)])
        second = session.renderer.render(replace(SMALL, cfg=3.0, seed=4))
        session.restack([(one, 0.8)])
        again = session.renderer.render(SMALL)
    assert difference(first, again) == 0
    assert difference(first, second) > 0
    plain = open_session(
        demo.checkpoint, [(one, 0.8)], components=str(demo.components), device="cpu"
    )
    assert difference(first, plain.renderer.render(SMALL)) < 1


def test_a_machine_that_cannot_compile_renders_without(weights, components, capfd):
    notices: list[str] = []
    renderer = Renderer.open(weights, components, device="cpu", on_notice=notices.append)
    plain = renderer.render(SMALL)

    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> NoReturn:
        raise RuntimeError("no C++ compiler")

    torch._dynamo.register_backend(broken, name="broken")
    renderer.compile(backend="broken")
    assert difference(plain, renderer.render(SMALL)) == 0
    assert len(notices) == 1
    assert "no C++ compiler" in notices[0]
    assert difference(plain, renderer.render(SMALL)) == 0
    assert capfd.readouterr() == ("", "")


def test_an_unsound_picture_is_told_as_such_when_compiled(weights, components):
    from lorakit.preview.unsound import UnsoundPicture

    key = "blocks.1.mlp.layer2.weight"
    broken = {**weights, key: torch.full_like(weights[key], float("nan"))}
    renderer = Renderer.open(broken, components, device="cpu")
    renderer.compile(backend="eager")
    with pytest.raises(UnsoundPicture):
        renderer.render(SMALL)
