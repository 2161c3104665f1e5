"""ComfyUI's graphs, as its pictures hold them: nodes, links, and what a link leads to.

A picture holds the executed graph under `prompt` (`{id: {class_type, inputs}}`, a link being
`[id, slot]`) and the editor's under `workflow`, which names no inputs of widgets: those of common nodes
are in `_WIDGETS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorakit.formats.comfy_subgraphs import FlatNode, flat_nodes
from lorakit.formats.generation import text
from lorakit.formats.own_record import rows, table

Node = Mapping[str, Any]
Graph = Mapping[str, Node]

# A node's widgets in the order in which the editor stores them; "" is one that is no input.
_WIDGETS: Mapping[str, Sequence[str]] = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "KSamplerSelect": ("sampler_name",),
    "RandomNoise": ("noise_seed",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "CLIPTextEncode": ("text",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "UnetLoaderGGUF": ("unet_name",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingSD3": ("shift",),
    "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "Prompt (LoraManager)": ("text",),
}
# What the editor's own widget behind a seed holds, which is no input.
_AFTER_SEED = ("fixed", "increment", "decrement", "randomize")
_VALUES = ("value", "int", "float", "number", "seed", "noise_seed", "text", "string", "Value")
_MUTED, _BYPASSED = 2, 4
_MOST_NODES = 5000
_DEEPEST = 200


def read_graph(prompt: str | None, workflow: str | None) -> Graph:
    """The nodes by id, from either text; none where they are no graphs.

    The executed graph counts where there is one; only the editor's has properties.
    """
    executed, edited = _executed(_json(prompt)), _edited(_json(workflow))
    return {
        key: {**node, "properties": edited[key].get("properties")} if key in edited else node
        for key, node in executed.items()
    } or edited


def stated_of(node: Node) -> Mapping[str, Any]:
    """What lorakit wrote into the node beside its inputs."""
    return table(
        table(node.get("properties")).get("lorakit") or table(node.get("_meta")).get("lorakit")
    )


def noted_in(workflow: str | None) -> object:
    """The adapters that lorakit noted in a workflow that it wrote, whatever became of its nodes."""
    return table(table(table(_json(workflow)).get("extra")).get("lorakit")).get("entries")


def upstream(graph: Graph, start: str, name: str) -> Iterator[Node]:
    """The nodes from `start` on towards the loaders, along inputs called `name`."""
    along = {
        "samples": ("samples", "latent_image", "latent", "pixels"),
        "model": ("model", "lora_model"),
    }.get(name, (name,))
    seen: set[str] = set()
    while start and start in graph and start not in seen and len(seen) < _DEEPEST:
        seen.add(start)
        node = graph[start]
        yield node
        start = next((to for key in along if (to := target_of(inputs_of(node).get(key)))), "")


def resolved(graph: Graph, value: Any, depth: int = 0) -> Any:  # noqa: ANN401 (parsed JSON)
    """A value, or what a link leads to."""
    node = graph.get(target_of(value))
    if node is None or depth > _DEEPEST:
        return None if isinstance(value, list) else value
    inputs = inputs_of(node)
    name = next((name for name in _VALUES if name in inputs), None)
    return None if name is None else resolved(graph, inputs[name], depth + 1)


def target_of(link: object) -> str:
    """The node that a link `[id, slot]` leads to; "" for anything else."""
    if isinstance(link, list) and len(link) == 2 and isinstance(link[0], str | int):
        return str(link[0])
    return ""


def inputs_of(node: Node) -> Mapping[str, Any]:
    """The node's inputs: values, and links to other nodes."""
    found = node.get("inputs")
    return found if isinstance(found, dict) else {}


def kind_of(node: Node) -> str:
    """The node's class, "" for a bypassed one."""
    return text(node.get("class_type"))


def _executed(document: Any) -> Graph:  # noqa: ANN401 (parsed JSON)
    if not isinstance(document, dict) or len(document) > _MOST_NODES:
        return {}
    return {
        str(key): node
        for key, node in document.items()
        if isinstance(node, dict) and "class_type" in node
    }


def _edited(document: Any) -> Graph:  # noqa: ANN401 (parsed JSON)
    """The editor's graph in the form of the executed one, without muted nodes."""
    if not isinstance(document, dict):
        return {}
    nodes, links = document.get("nodes"), document.get("links")
    if not isinstance(nodes, list) or not isinstance(links, list):
        return {}
    flat = flat_nodes(document, _MOST_NODES)
    return {node.id: _edited_node(node) for node in flat if node.node.get("mode") != _MUTED}


def _edited_node(flat: FlatNode) -> Node:
    node = flat.node
    kind = text(node.get("type"))
    bypassed = node.get("mode") == _BYPASSED
    inputs: dict[str, Any] = {}
    values = node.get("widgets_values")
    if isinstance(values, dict):
        inputs.update(values)
    elif isinstance(values, list):
        inputs.update(_named_widgets(kind, values, node))
        # Loaders of several adapters keep a list, or one object for each.
        inputs.update((f"_{at}", v) for at, v in enumerate(values) if isinstance(v, dict))
        inputs.update(
            ("loras", v) for v in values if isinstance(v, list) and "lora" in kind.lower()
        )
    inputs.update(flat.outside)
    if bypassed:
        inputs = {}
    inputs.update((name, list(source)) for name, source in flat.sources.items())
    return {
        "class_type": "" if bypassed else kind,
        "inputs": inputs,
        "properties": {} if bypassed else node.get("properties"),
    }


def _named_widgets(kind: str, values: list[Any], node: Node) -> Iterator[tuple[str, Any]]:
    """(input, value) of the widgets, as the table names them, or the inputs that newer editors list."""
    if values and isinstance(values[0], dict) and "textWidgetName" in values[0]:
        # LoRA Manager's own note on the widgets that follow.
        values = values[1:]
    names: Sequence[str] = _WIDGETS.get(kind, ())
    if not names:
        slots = (table(slot.get("widget")) for slot in map(table, rows(node.get("inputs"))))
        names = [text(widget.get("name")) for widget in slots if widget]
        if len(values) > len(names):
            values = [value for value in values if value not in _AFTER_SEED]
        if len(values) != len(names):
            return
    yield from ((name, value) for name, value in zip(names, values, strict=False) if name)


def _json(document: str | None) -> Any:  # noqa: ANN401 (parsed JSON)
    try:
        # ComfyUI writes NaN for a value that changes at every run, which is no JSON.
        return json.loads(document or "null", parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
