"""ComfyUI workflows: sound as graphs, with the nodes as ComfyUI knows them, and open to changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorakit.formats.comfyui import comfy_generation
from lorakit.formats.generation import Generation
from lorakit.sharing.comfyui import comfyui_text, name_below
from lorakit.sharing.shared import Settings, SharedStack
from lorakit.stack import stated_strength
from lorakit.strengths import Strength
from tests.sharing.machines import in_memory

# As ComfyUI itself declares them (INPUT_TYPES, RETURN_TYPES): links in, number of widgets with the
# editor's own, links out.
DECLARED: dict[str, tuple[list[str], int, list[str]]] = {
    "UNETLoader": ([], 2, ["MODEL"]),
    "CLIPLoader": ([], 3, ["CLIP"]),
    "VAELoader": ([], 1, ["VAE"]),
    "LoraLoader": (["MODEL", "CLIP"], 3, ["MODEL", "CLIP"]),
    "LoraLoaderModelOnly": (["MODEL"], 2, ["MODEL"]),
    "ModelSamplingAuraFlow": (["MODEL"], 1, ["MODEL"]),
    "CLIPTextEncode": (["CLIP"], 1, ["CONDITIONING"]),
    "EmptyLatentImage": ([], 3, ["LATENT"]),
    "KSampler": (["MODEL", "CONDITIONING", "CONDITIONING", "LATENT"], 7, ["LATENT"]),
    "VAEDecode": (["LATENT", "VAE"], 0, ["IMAGE"]),
    "SaveImage": (["IMAGE"], 1, []),
    "MarkdownNote": ([], 1, []),
}


def stack_of(*kinds: bool, shift: float = 3.0) -> SharedStack:
    """A stack of adapters that touch the text encoder, or do not."""
    parts = [in_memory(Strength(0.5), text=text, name=f"a{at}") for at, text in enumerate(kinds)]
    entries = tuple(part.entries[0] for part in parts)
    base = in_memory(Strength()).base
    return SharedStack(base, entries, Settings("a sea", "red", shift=shift))


STACKS = [stack_of(), stack_of(False), stack_of(True, False, True), stack_of(False, shift=4.5)]


@pytest.mark.parametrize("shared", STACKS)
def test_the_graph_is_sound(shared: SharedStack) -> None:
    graph = json.loads(comfyui_text(shared)[0])
    nodes = {node["id"]: node for node in graph["nodes"]}
    links = {link[0]: link for link in graph["links"]}
    assert len(nodes) == len(graph["nodes"])
    assert len(links) == len(graph["links"])
    assert graph["last_node_id"] == max(nodes)
    assert graph["last_link_id"] == max(links)
    for number, origin, slot, target, to_slot, kind in links.values():
        out, into = nodes[origin]["outputs"][slot], nodes[target]["inputs"][to_slot]
        assert number in out["links"]
        assert into["link"] == number
        assert out["type"] == into["type"] == kind
        assert nodes[origin]["order"] < nodes[target]["order"]
    ends = [n for node in nodes.values() for out in node["outputs"] for n in out["links"]]
    starts = [into["link"] for node in nodes.values() for into in node["inputs"]]
    assert sorted(ends) == sorted(starts) == sorted(links)
    places = [tuple(node["pos"]) for node in nodes.values()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("shared", STACKS)
def test_every_node_is_one_that_comfyui_knows(shared: SharedStack) -> None:
    for node in json.loads(comfyui_text(shared)[0])["nodes"]:
        found = (
            [slot["type"] for slot in node["inputs"]],
            len(node["widgets_values"]),
            [slot["type"] for slot in node["outputs"]],
        )
        assert found == DECLARED[node["type"]], node["type"]


@pytest.mark.parametrize("shared", STACKS)
def test_both_forms_of_the_graph_say_the_same(shared: SharedStack) -> None:
    editor, api = comfyui_text(shared)[0], comfyui_text(shared, api=True)[0]
    graph = json.loads(api)
    for node in graph.values():
        for value in node["inputs"].values():
            if isinstance(value, list):
                assert DECLARED[graph[value[0]]["class_type"]][2][value[1]]
    assert comfy_generation(api, None) == comfy_generation(None, editor)


def kinds_in(shared: SharedStack) -> list[str]:
    return [node["type"] for node in json.loads(comfyui_text(shared)[0])["nodes"]]


def test_the_text_encoder_is_patched_where_an_adapter_touches_it() -> None:
    graph = json.loads(comfyui_text(stack_of(True, False, True), api=True)[0])
    loaders = {key: node for key, node in graph.items() if "lora" in node["class_type"].lower()}
    first, second, third = loaders
    assert [node["class_type"] for node in loaders.values()] == [
        "LoraLoader",
        "LoraLoaderModelOnly",
        "LoraLoader",
    ]
    # The text encoder goes round the adapter that leaves it alone.
    assert loaders[third]["inputs"]["clip"] == [first, 1]
    assert loaders[third]["inputs"]["model"] == [second, 0]
    prompts = [n for n in graph.values() if n["class_type"] == "CLIPTextEncode"]
    assert [node["inputs"]["clip"] for node in prompts] == [[third, 1], [third, 1]]


def test_a_shift_that_is_comfyuis_own_takes_no_node() -> None:
    assert "ModelSamplingAuraFlow" not in kinds_in(stack_of(False))
    assert "ModelSamplingAuraFlow" in kinds_in(stack_of(False, shift=4.5))


def test_what_comfyui_cannot_say_is_told_and_kept() -> None:
    _, lost = comfyui_text(in_memory(Strength.parse("0.8@blocks=0-9:0"), text=False))
    assert len(lost) == 1
    assert "0.8 throughout" in lost[0]
    # Both of its modules have one strength, so that one number says it all.
    shared = in_memory(Strength.parse("0.8@blocks=0-19:0.5,20-:0.5"), text=False)
    entry = replace(shared.entries[0], modules=shared.entries[0].modules[:2])
    text, lost = comfyui_text(replace(shared, entries=(entry,)))
    assert lost == []
    assert '"strength_model": 0.4' in text


def edited(
    change: Callable[[dict[str, Any]], None], strength: str = "0.5@kinds=mlp:0"
) -> Generation:
    """The workflow of one adapter, read after somebody has changed its loader in ComfyUI."""
    graph = json.loads(comfyui_text(in_memory(Strength.parse(strength), text=False))[0])
    (loader,) = (node for node in graph["nodes"] if "Lora" in node["type"])
    change(loader)
    made = comfy_generation(None, json.dumps(graph))
    assert made is not None
    return made


def test_a_strength_that_was_changed_in_comfyui_counts() -> None:
    def louder(loader: dict[str, Any]) -> None:
        loader["widgets_values"][1] = 0.9

    (used,) = edited(louder).adapters
    assert stated_strength(used) == Strength(0.9)
    assert len(used.hashes) == 2


def test_a_strength_that_the_editor_rounded_is_still_the_one_that_was_written() -> None:
    def rounded(loader: dict[str, Any]) -> None:
        loader["widgets_values"][1] = 0.33

    (used,) = edited(rounded, "0.333333@kinds=mlp:0").adapters
    assert str(stated_strength(used)) == "0.333333@kinds=mlp:0"


def test_another_file_in_the_loader_has_none_of_the_old_ones_hashes() -> None:
    def other(loader: dict[str, Any]) -> None:
        loader["widgets_values"][0] = "styles/wash.safetensors"

    (used,) = edited(other).adapters
    assert (used.name, used.hashes, stated_strength(used)) == ("wash", (), Strength(0.5))


def test_another_loader_in_its_place_keeps_the_hashes_of_the_file() -> None:
    def power(loader: dict[str, Any]) -> None:
        loader["type"] = "Power Lora Loader (rgthree)"
        loader["properties"] = {}
        loader["widgets_values"] = [{"on": True, "lora": "x/ink.safetensors", "strength": 0.7}]

    (used,) = edited(power).adapters
    assert stated_strength(used) == Strength(0.7)
    assert used.hashes == ("0123456789abcdef" * 4, "fedcba9876543210" * 4)


def test_a_picture_that_comfyui_made_of_it_leads_back_to_the_whole_strength() -> None:
    shared = in_memory(Strength.parse("0.5@kinds=mlp:0"))
    # ComfyUI saves both graphs, and the executed one without properties.
    executed = json.loads(comfyui_text(shared, api=True)[0])
    for node in executed.values():
        del node["_meta"]
    made = comfy_generation(json.dumps(executed), comfyui_text(shared)[0])
    assert made is not None
    assert [str(stated_strength(used)) for used in made.adapters] == ["0.5@kinds=mlp:0"]
    assert (made.base_hash, made.base_tensors) == ("ab" * 32, "cd" * 32)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/models/loras/styles/ink.safetensors", "styles/ink.safetensors"),
        ("/x/models/loras/ink.safetensors", "ink.safetensors"),
        ("/x/downloads/ink.safetensors", "ink.safetensors"),
        ("/loras/x/loras/a/b.safetensors", "a/b.safetensors"),
    ],
)
def test_files_are_named_as_comfyui_lists_them(path: str, name: str) -> None:
    assert name_below(Path(path), ("loras",)) == name
