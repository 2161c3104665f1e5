"""A session whose stack changes in place: the weights, and so the pictures, of a fresh one."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.errors import BadUsage, NotFusable
from lorakit.formats.anima import to_diffusers
from lorakit.fusion.base import open_base
from lorakit.preview.session import Entries, Session, encoder_tensors, open_session
from lorakit.preview.settings import RenderSettings
from lorakit.strengths import Strength

SMALL = RenderSettings("ink portrait", width=64, height=64, steps=2)
MLP = "blocks.{}.mlp.layer1"
TEXT = ("llm_adapter.blocks.0.mlp.0", "text_encoder.layers.1.mlp.up_proj")


@pytest.fixture(scope="module")
def files(demo, components, tmp_path_factory) -> SimpleNamespace:
    """Adapters on the demo model: a plain one, one on the parts that read the prompt, and a DoRA."""
    folder = tmp_path_factory.mktemp("loras")
    base = open_base(demo.checkpoint).with_text_encoder(components.text_encoder.state_dict())
    shapes = base.modules.shapes

    def modules(names: list[str], seed: int) -> dict[str, LoraModule]:
        generator = torch.Generator().manual_seed(seed)
        made = {}
        for name in names:
            out, inner = shapes[name]
            up = torch.randn(out, 4, generator=generator) * 0.05
            made[name] = LoraModule(up, torch.randn(4, inner, generator=generator), 0.5)
        return made

    plain, text, dora = (folder / f"{name}.safetensors" for name in ("plain", "text", "dora"))
    kinds = ("self_attn.q_proj", "cross_attn.k_proj", "mlp.layer1")
    names = [f"blocks.{block}.{kind}" for block in range(4) for kind in kinds]
    save_lora(plain, modules(names, 1), layout="comfy")
    save_lora(text, modules([MLP.format(0), *TEXT], 2), layout="kohya")
    save_lora(dora, modules([MLP.format(1), MLP.format(5)], 3), layout="kohya")
    tensors = load_file(dora)
    for block in (1, 5):
        weight = base[f"{base.prefix}{MLP.format(block)}.weight"].float()
        norm = weight.norm(dim=1, keepdim=True)
        tensors[f"lora_unet_blocks_{block}_mlp_layer1.dora_scale"] = norm * 1.1
    save_file(tensors, dora)
    return SimpleNamespace(plain=plain, text=text, dora=dora)


def opened(demo, entries: Entries, **options: object) -> Session:
    return open_session(
        demo.checkpoint,
        entries,
        components=str(demo.components),
        device="cpu",
        **options,  # type: ignore[arg-type]
    )


def held(session: Session) -> dict[str, torch.Tensor]:
    """Every weight that a picture is made with."""
    return {**session.renderer.live_tensors(), **encoder_tensors(session._encoder)}


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def stacks(files: SimpleNamespace) -> list[Entries]:
    """Other files, orders, strengths and refinements, a file twice, and nothing at all."""
    plain, text, dora = files.plain, files.text, files.dora
    return [
        [(dora, 0.7), (plain, 0.4), (text, 1.0)],
        [(plain, Strength.of(0.8, blocks={"0-1": 0.5}, kinds={"mlp": -1})), (text, 0.3)],
        [(text, Strength.of(1.2, components={"text_encoder": 0}, modules={"*.mlp.*": 0.5}))],
        [],
        [(plain, 0.25), (plain, 0.5), (dora, -0.3)],
    ]


def test_a_restack_has_the_bytes_of_a_fresh_session(demo, files) -> None:
    union = list(vars(files).values())
    session = opened(demo, [(files.text, 0.9)], union=union)
    places = {name: tensor.data_ptr() for name, tensor in held(session).items()}
    for entries in stacks(files):
        session.restack(entries)
        fresh = opened(demo, entries)
        assert same(held(session), held(fresh)), entries
        assert session.plan.to_dict() == fresh.plan.to_dict()
    assert places == {name: tensor.data_ptr() for name, tensor in held(session).items()}
    session.restack(stacks(files)[0])
    picture, wanted = (
        np.asarray(s.renderer.render(SMALL)) for s in (session, opened(demo, stacks(files)[0]))
    )
    assert np.array_equal(picture, wanted)


def test_the_live_engine_is_a_rounding_away(demo, files) -> None:
    session = opened(
        demo,
        [(files.text, 0.9)],
        union=[files.plain, files.dora],
        engine="live",
        memory_limit=10**9,
    )
    assert "fit into" in session.mode_reason
    for entries in stacks(files):
        session.restack(entries)
        fresh = held(opened(demo, entries))
        for name, tensor in held(session).items():
            # Two roundings to bfloat16 of nearly the same number are one step apart at most.
            step = 2**-7 if name not in encoder_tensors(session._encoder) else 1e-5
            torch.testing.assert_close(tensor, fresh[name], rtol=step, atol=1e-6, msg=name)
    session.restack([])
    assert same(held(session), held(opened(demo, [])))


def test_a_device_too_small_for_the_live_engine_gets_the_other_one(demo, files) -> None:
    session = opened(demo, [(files.plain, 0.4)], engine="live", memory_limit=1000)
    assert "needs" in session.mode_reason
    assert "one at a time" in session.mode_reason
    session.restack([(files.plain, 0.9)])
    assert same(held(session), held(opened(demo, [(files.plain, 0.9)])))


@pytest.mark.parametrize("engine", ["rewrite", "live"])
def test_the_text_key_tells_when_prompts_read_otherwise(demo, files, engine) -> None:
    session = opened(demo, [(files.plain, 0.5)], union=[files.text], engine=engine)
    plain = session.text_key
    session.restack([(files.plain, 0.9)])
    session.restack(
        [(files.text, Strength.of(1, components={"llm_adapter": 0, "text_encoder": 0}))]
    )
    assert session.text_key == plain
    keys = {plain}
    for strength in (0.5, 0.6, Strength.of(0.6, components={"text_encoder": 0})):
        session.restack([(files.plain, 0.1), (files.text, strength)])
        keys.add(session.text_key)
    assert len(keys) == 4
    session.restack([])
    assert session.text_key == plain


@pytest.mark.parametrize("engine", ["rewrite", "live"])
def test_only_what_differs_is_written(demo, files, engine) -> None:
    session = opened(demo, [(files.plain, 0.5)], union=[files.dora], engine=engine)
    versions = {name: tensor._version for name, tensor in held(session).items()}
    session.restack([(files.plain, 0.5), (files.dora, 0.2)])
    touched = {f"{MLP.format(block)}.weight" for block in (1, 5)}
    written = {name for name, t in held(session).items() if t._version != versions[name]}
    assert written == touched


@pytest.mark.parametrize("engine", ["rewrite", "live"])
def test_steps_change_the_transformer_and_leave_the_reading_alone(demo, files, engine) -> None:
    session = opened(demo, [(files.plain, 0.5)], union=[files.text], engine=engine)
    entries: Entries = [
        (files.plain, Strength.of(0.8, steps="1")),
        (files.text, Strength.of(0.7, steps="0")),
    ]
    session.restack(entries)
    key = session.text_key
    reading = held(opened(demo, [(files.text, 0.7)]))
    plain = held(opened(demo, [(files.plain, 0.8)]))
    nothing = held(opened(demo, []))
    for step, wanted in ((0, reading), (1, plain), (2, nothing), (0, reading)):
        session.renderer.before_step(step)
        for name, tensor in held(session).items():
            text = name.startswith(("llm_adapter.", "text_encoder."))
            torch.testing.assert_close(
                tensor, (reading if text else wanted)[name], rtol=2**-7, atol=1e-6, msg=name
            )
    assert session.text_key == key
    session.restack([])
    session.renderer.before_step(1)
    assert same(held(session), nothing)


def test_a_file_that_was_not_given_changes_nothing(demo, files) -> None:
    session = opened(demo, [(files.plain, 0.5)])
    before = {name: tensor.clone() for name, tensor in held(session).items()}
    with pytest.raises(BadUsage, match=r"text\.safetensors") as caught:
        session.restack([(files.text, 0.5)])
    assert caught.value.hint
    with pytest.raises(BadUsage):
        session.restack([(files.plain, 1000.0)])
    assert same(before, held(session))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e4m3fn])
def test_bases_of_other_dtypes_restack_too(demo, files, tmp_path, dtype) -> None:
    path = tmp_path / "base.safetensors"
    tensors = load_file(demo.checkpoint)
    weights = {k: t.to(dtype if t.ndim == 2 else torch.bfloat16) for k, t in tensors.items()}
    save_file(weights, path)
    demo = SimpleNamespace(checkpoint=path, components=demo.components)
    session = opened(demo, [], union=[files.plain, files.dora])
    for entries in ([(files.plain, 0.8), (files.dora, 0.3)], []):
        session.restack(entries)
        assert same(held(session), held(opened(demo, entries)))
    after = load_file(path)
    assert all(torch.equal(after[k].float(), weights[k].float()) for k in weights)


@pytest.fixture(scope="module")
def float32_demo(demo, tmp_path_factory) -> SimpleNamespace:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file({key: t.float() for key, t in load_file(demo.checkpoint).items()}, path)
    return SimpleNamespace(checkpoint=path, components=demo.components)


def test_a_card_too_small_to_fuse_again_runs_steps_beside_the_weights(float32_demo, files) -> None:
    entries: Entries = [
        (files.plain, Strength.of(0.8, blocks={"0": 0.5}, steps="1")),
        (files.dora, 0.4),
        (files.text, Strength.of(-0.6, steps="0")),
    ]
    fused = opened(float32_demo, entries)
    beside = opened(float32_demo, entries, memory_limit=1000)
    assert "0 MB may be used" in beside.mode_reason
    assert "beside" not in fused.mode_reason
    pristine = held(opened(float32_demo, [(files.dora, 0.4)]))
    nothing = opened(float32_demo, [])
    name = f"{MLP.format(0)}.weight"
    for step in (0, 1, 2, 1, 0):
        for session in (fused, beside):
            session.renderer.before_step(step)
        assert torch.equal(held(beside)[name], pristine[name])
        x = torch.randn(
            2, 5, held(fused)[name].shape[1], generator=torch.Generator().manual_seed(step)
        )
        ours, theirs, plain = (
            s.renderer.transformer.get_submodule(to_diffusers(MLP.format(0)))(x)
            for s in (beside, fused, nothing)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert torch.equal(theirs, plain) == (step == 2)
    picture, wanted = (np.asarray(s.renderer.render(SMALL)).astype(int) for s in (beside, fused))
    assert abs(picture - wanted).max() <= 1
    # With the next stack the hooks are gone.
    beside.restack([(files.plain, 0.3)])
    assert same(held(beside), held(opened(float32_demo, [(files.plain, 0.3)])))
    assert not any(m._forward_hooks for m in beside.renderer.transformer.modules())


def test_a_change_that_needs_the_weight_cannot_run_beside_it(demo, files) -> None:
    session = opened(demo, [(files.plain, 0.3)], union=[files.dora], memory_limit=1000)
    before = {name: tensor.clone() for name, tensor in held(session).items()}
    with pytest.raises(NotFusable, match=r"dora\.safetensors cannot go by step") as caught:
        session.restack(
            [(files.plain, Strength.of(1, steps="1")), (files.dora, Strength.of(1, steps="1"))]
        )
    assert caught.value.hint
    assert same(before, held(session))
    assert not any(m._forward_hooks for m in session.renderer.transformer.modules())
