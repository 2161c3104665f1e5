"""Recipes and workflows that others made."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import BadFile, NotFound
from lorakit.formats.generation import Generation, UsedAdapter
from lorakit.formats.recipe_files import read_recipe
from lorakit.sharing.lora_manager import fingerprint

SHA = "0123456789abcdef" * 4


def read(folder: Path, document: Any, name: str = "recipe.json") -> Generation:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return read_recipe(path)


# As LoRA Manager saves a picture of Civitai's.
RECIPE = {
    "id": "2f0d6ad2-6a3c-4c5e-9a51-5f3d3c0a7a11",
    "file_path": "/loras/recipes/2f0d6ad2-6a3c-4c5e-9a51-5f3d3c0a7a11.webp",
    "title": "lighthouse",
    "modified": 1770000000.5,
    "created_date": 1770000000.5,
    "base_model": "Anima",
    "loras": [
        {"file_name": "ink", "hash": SHA, "strength": 0.8, "modelVersionId": 11, "modelName": "Ink",
         "modelVersionName": "v1", "isDeleted": False, "exclude": False},
        {"file_name": "", "hash": "", "strength": -1, "modelVersionId": 12, "modelName": "Glow",
         "modelVersionName": "v2", "isDeleted": True, "exclude": False},
    ],
    "gen_params": {"prompt": "a lighthouse <lora:ink:0.8>", "negative_prompt": "boats", "steps": "28",
                   "sampler": "Euler a", "cfg_scale": 4.5, "seed": 42, "size": "832x1216"},
    "fingerprint": f"{SHA}:0.8|12:-1.0",
    "checkpoint": {"type": "checkpoint", "modelVersionId": 13, "name": "RDBT", "version": "v0.24",
                   "hash": "ab" * 32, "file_name": "rdbt_v024"},
}  # fmt: skip


def test_a_recipe_of_lora_manager(tmp_path: Path) -> None:
    made = read(tmp_path, RECIPE)
    assert made == Generation(
        program="LoRA Manager",
        prompt="a lighthouse",
        negative_prompt="boats",
        steps=28,
        cfg=4.5,
        seed=42,
        width=832,
        height=1216,
        base_name="rdbt_v024",
        base_hash="ab" * 32,
        adapters=(UsedAdapter("ink", (SHA,), ("0.8",)), UsedAdapter("Glow", (), ("-1.0",))),
        left_out=("The sampler Euler a is not carried over: lorakit renders with Euler.",),
    )


def test_an_older_recipe_of_lora_manager_names_its_checkpoint_by_text(tmp_path: Path) -> None:
    older = {**RECIPE, "checkpoint": "models\\rdbt.safetensors"}
    older["loras"] = [{"file_name": "ink", "hash": SHA.upper(), "weight": 0.5}]
    made = read(tmp_path, older)
    assert (made.base_name, made.adapters) == ("rdbt", (UsedAdapter("ink", (SHA,), ("0.5",)),))


def test_a_fingerprint_is_lora_managers() -> None:
    loras = [{"hash": "b", "strength": 1}, {"hash": "a", "strength": 0.456}]
    assert fingerprint(loras) == "a:0.46|b:1.0"


def graph_node(number: int, kind: str, widgets: list[Any], **links: int) -> dict[str, Any]:
    slots = [{"name": name, "type": "*", "link": link} for name, link in links.items()]
    return {"id": number, "type": kind, "mode": 0, "inputs": slots, "widgets_values": widgets}


SAMPLER = graph_node(
    19, "KSampler", [7, "fixed", 20, 1.0, "euler", "simple", 1.0],
    model=1, positive=2, negative=3, latent_image=4,
)  # fmt: skip


def test_a_workflow_with_subgraphs_as_comfyuis_own_template_has_them(tmp_path: Path) -> None:
    # A subgraph holds everything but the loaders of adapters; its prompt comes from outside, its size
    # from a widget that the outside shows.
    inner = {
        "id": "a3c0dab6-b250-4585-a0f9-8fb8b074fb2f",
        "inputs": [{"name": "text", "type": "STRING"}, {"name": "model", "type": "MODEL"}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
        "nodes": [
            SAMPLER,
            graph_node(11, "CLIPTextEncode", ["not this"], text=5),
            graph_node(12, "CLIPTextEncode", ["blurry"]),
            graph_node(28, "EmptyLatentImage", [512, 512, 1]),
            graph_node(8, "VAEDecode", [], samples=6),
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 1, "target_id": 19, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": 11, "origin_slot": 0, "target_id": 19, "target_slot": 1, "type": "C"},
            {"id": 3, "origin_id": 12, "origin_slot": 0, "target_id": 19, "target_slot": 2, "type": "C"},
            {"id": 4, "origin_id": 28, "origin_slot": 0, "target_id": 19, "target_slot": 3, "type": "LATENT"},
            {"id": 5, "origin_id": -10, "origin_slot": 0, "target_id": 11, "target_slot": 0, "type": "STRING"},
            {"id": 6, "origin_id": 19, "origin_slot": 0, "target_id": 8, "target_slot": 0, "type": "LATENT"},
            {"id": 7, "origin_id": 8, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        ],
    }  # fmt: skip
    use = graph_node(60, str(inner["id"]), [832, 1216], text=50, model=51)
    use["properties"] = {"proxyWidgets": [["28", "width"], ["28", "height"]]}
    workflow = {
        "nodes": [
            use,
            graph_node(1, "UNETLoader", ["rdbt.safetensors", "default"]),
            graph_node(2, "LoraLoaderModelOnly", ["ink.safetensors", 0.8], model=52),
            graph_node(3, "PrimitiveString", ["a lighthouse"]),
            graph_node(46, "SaveImage", ["Anima"], images=53),
        ],
        "links": [[50, 3, 0, 60, 0, "STRING"], [51, 2, 0, 60, 1, "MODEL"],
                  [52, 1, 0, 2, 0, "MODEL"], [53, 60, 0, 46, 0, "IMAGE"]],
        "definitions": {"subgraphs": [inner]},
    }  # fmt: skip
    made = read(tmp_path, workflow)
    assert made == Generation(
        program="ComfyUI",
        prompt="a lighthouse",
        negative_prompt="blurry",
        steps=20,
        cfg=1.0,
        seed=7,
        width=832,
        height=1216,
        base_name="rdbt",
        adapters=(UsedAdapter("ink", arguments=("0.8",)),),
    )


def test_wires_without_a_place_and_lists_of_adapters_are_followed(tmp_path: Path) -> None:
    first = [{"name": "ink", "strength": 0.5, "clipStrength": 0.5, "active": True}]
    second = [{"name": "wash", "strength": 0.25, "active": True}]
    workflow = {
        "nodes": [
            SAMPLER,
            graph_node(1, "UNETLoader", ["rdbt.safetensors", "default"]),
            graph_node(28, "EmptyLatentImage", [512, 512, 1]),
            graph_node(2, "SetNode", ["the model"], MODEL=10),
            graph_node(3, "GetNode", ["the model"]),
            graph_node(4, "Reroute", [], **{"": 11}),
            graph_node(5, "Lora Stacker (LoraManager)", ["<lora:ink:0.5>", first]),
            graph_node(6, "Lora Loader (LoraManager)", ["<lora:wash:0.25>", second],
                       model=12, lora_stack=13),
        ],
        "links": [[10, 1, 0, 2, 0, "MODEL"], [11, 3, 0, 4, 0, "MODEL"], [12, 4, 0, 6, 0, "MODEL"],
                  [13, 5, 0, 6, 1, "LORA_STACK"], [1, 6, 0, 19, 0, "MODEL"], [4, 28, 0, 19, 3, "LATENT"]],
    }  # fmt: skip
    made = read(tmp_path, workflow)
    assert made.base_name == "rdbt"
    assert made.adapters == (
        UsedAdapter("ink", arguments=("0.5",)),
        UsedAdapter("wash", arguments=("0.25",)),
    )


def test_without_a_sampler_that_is_known_all_loaders_count(tmp_path: Path) -> None:
    workflow = {
        "nodes": [
            graph_node(1, "UNETLoader", ["rdbt.safetensors", "default"]),
            graph_node(2, "LoraLoaderModelOnly", ["ink.safetensors", 0.8], model=1),
            graph_node(3, "SomebodysSampling", [7], model=2),
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]],
    }
    made = read(tmp_path, workflow)
    assert (made.base_name, made.adapters) == ("rdbt", (UsedAdapter("ink", arguments=("0.8",)),))
    assert "No sampler" in made.left_out[0]


def test_a_graph_as_it_is_sent_to_comfyui(tmp_path: Path) -> None:
    api = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "rdbt.safetensors"}},
        "2": {"class_type": "LoraLoaderModelOnly",
              "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.4, "model": ["1", 0]}},
        "3": {"class_type": "KSampler",
              "inputs": {"steps": 20, "latent_image": ["4", 0], "model": ["2", 0]}},
    }  # fmt: skip
    for document in (api, {"prompt": api, "client_id": "x"}):
        assert read(tmp_path, document).adapters == (UsedAdapter("ink", arguments=("0.4",)),)


def test_a_subgraph_that_uses_itself_ends(tmp_path: Path) -> None:
    uses = [graph_node(number, "loop", []) for number in range(50)]
    loop = {"id": "loop", "nodes": uses, "links": []}
    workflow = {"nodes": uses, "links": [], "definitions": {"subgraphs": [loop]}}
    with pytest.raises(BadFile, match="no recipe"):
        read(tmp_path, workflow)


@pytest.mark.parametrize(
    "document",
    ["", "{", "[1, 2]", "null", "3", '{"a": 1}', '{"loras": 3, "title": 1}', '{"nodes": [], "links": []}',
     "[" * 50_000, '{"schema": "other/1"}'],
)  # fmt: skip
def test_what_is_no_recipe_is_one_sentence(tmp_path: Path, document: str) -> None:
    with pytest.raises(BadFile, match=r"recipe\.json"):
        read(tmp_path, document)


def test_a_text_without_adapters_and_settings_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"a\.txt"):
        read(tmp_path, "only words", "a.txt")
    assert read(tmp_path, "a sea <lora:ink:0.5>", "a.txt").adapters[0].name == "ink"


def test_a_newer_lorakits_record_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="lorakit/recipe/9"):
        read(tmp_path, {"schema": "lorakit/recipe/9"})


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.json"):
        read_recipe(tmp_path / "none.json")
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xe4")
    with pytest.raises(BadFile, match="UTF-8"):
        read_recipe(tmp_path / "latin.txt")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(BadFile, match=r"folder\.json"):
        read_recipe(tmp_path / "folder.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["nodes", "links", "id", "type", "inputs", "link", "name", "loras", "title", "hash",
             "strength", "lorakit", "properties", "widgets_values", "definitions", "subgraphs",
             "checkpoint", "gen_params", "prompt", "class_type", "extra", "entries", "widget"]
        ),
        children,
        max_size=6,
    ),
    max_leaves=40,
)  # fmt: skip


@given(JSON)
def test_no_json_is_too_odd_to_read(tmp_path_factory: Any, document: Any) -> None:
    with suppress(BadFile):
        read(tmp_path_factory.getbasetemp(), document)
