"""ComfyUI's nodes that a recipe needs, and a graph of them in ComfyUI's two forms.

Names, links and the order of widgets after nodes.py and comfy_extras/nodes_model_advanced.py of
Comfy-Org/ComfyUI; places and properties as in image_anima_preview.json of Comfy-Org/workflow_templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Pair = tuple[str, str]
Output = tuple[int, int]
# The editor's own widget behind a seed; no input of the node.
_AFTER = "control_after_generate"
_NOTE = "MarkdownNote"


@dataclass(frozen=True)
class NodeKind:
    """A kind of node: its links in and out as (name, type), its widgets in order, and its size."""

    inputs: tuple[Pair, ...] = ()
    widgets: tuple[str, ...] = ()
    outputs: tuple[Pair, ...] = ()
    size: tuple[int, int] = (320, 130)


KINDS: Mapping[str, NodeKind] = MappingProxyType(
    {
        "UNETLoader": NodeKind((), ("unet_name", "weight_dtype"), (("MODEL", "MODEL"),)),
        "CLIPLoader": NodeKind(
            (), ("clip_name", "type", "device"), (("CLIP", "CLIP"),), (320, 160)
        ),
        "VAELoader": NodeKind((), ("vae_name",), (("VAE", "VAE"),), (320, 90)),
        "LoraLoaderModelOnly": NodeKind(
            (("model", "MODEL"),), ("lora_name", "strength_model"), (("MODEL", "MODEL"),)
        ),
        "LoraLoader": NodeKind(
            (("model", "MODEL"), ("clip", "CLIP")),
            ("lora_name", "strength_model", "strength_clip"),
            (("MODEL", "MODEL"), ("CLIP", "CLIP")),
            (320, 170),
        ),
        "ModelSamplingAuraFlow": NodeKind(
            (("model", "MODEL"),), ("shift",), (("MODEL", "MODEL"),), (320, 90)
        ),
        "CLIPTextEncode": NodeKind(
            (("clip", "CLIP"),), ("text",), (("CONDITIONING", "CONDITIONING"),), (440, 240)
        ),
        "EmptyLatentImage": NodeKind(
            (), ("width", "height", "batch_size"), (("LATENT", "LATENT"),), (320, 150)
        ),
        "KSampler": NodeKind(
            (
                ("model", "MODEL"),
                ("positive", "CONDITIONING"),
                ("negative", "CONDITIONING"),
                ("latent_image", "LATENT"),
            ),
            ("seed", _AFTER, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
            (("LATENT", "LATENT"),),
            (320, 480),
        ),
        "VAEDecode": NodeKind(
            (("samples", "LATENT"), ("vae", "VAE")), (), (("IMAGE", "IMAGE"),), (240, 80)
        ),
        "SaveImage": NodeKind((("images", "IMAGE"),), ("filename_prefix",), (), (600, 640)),
        _NOTE: NodeKind((), ("text",), (), (480, 480)),
    }
)


@dataclass(frozen=True)
class Node:
    """One node. `values` are its widgets' by name, `links` the outputs that its inputs come from."""

    id: int
    kind: str
    position: tuple[int, int]
    values: Mapping[str, Any]
    links: Mapping[str, Output]
    title: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Nodes:
    """A graph while it is made: `add` gives a new node's id, by which others link to its outputs."""

    all: list[Node] = field(default_factory=list)

    def add(
        self,
        kind: str,
        position: tuple[int, int],
        values: Mapping[str, Any],
        links: Mapping[str, Output] | None = None,
        *,
        title: str = "",
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a node that links to none that comes later. The values are of all its widgets."""
        known = KINDS[kind]
        assert set(values) == set(known.widgets) - {_AFTER}, kind
        assert set(links or {}) == {name for name, _ in known.inputs}, kind
        number = len(self.all) + 1
        self.all.append(Node(number, kind, position, values, links or {}, title, properties or {}))
        return number


def editors_graph(nodes: Nodes, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The graph as the editor opens it, by drag and drop too (workflow version 0.4)."""
    links = [[number, *link] for number, link in enumerate(_links(nodes), start=1)]
    return {
        "revision": 0,
        "last_node_id": len(nodes.all),
        "last_link_id": len(links),
        "nodes": [_editors_node(node, links) for node in nodes.all],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {**extra, "ds": {"scale": 0.6, "offset": [600, 120]}},
        "version": 0.4,
    }


def executed_graph(nodes: Nodes) -> dict[str, Any]:
    """The graph as ComfyUI's API executes it."""
    return {
        str(node.id): {
            "class_type": node.kind,
            "inputs": {**node.values, **{n: [str(f), slot] for n, (f, slot) in node.links.items()}},
            "_meta": {
                "title": node.title or node.kind,
                **{key: value for key, value in node.properties.items() if key == "lorakit"},
            },
        }
        for node in nodes.all
        if node.kind != _NOTE
    }


def _links(nodes: Nodes) -> Iterator[list[Any]]:
    """[from node, from slot, to node, to slot, type] of every link."""
    for node in nodes.all:
        for slot, (name, kind) in enumerate(KINDS[node.kind].inputs):
            yield [*node.links[name], node.id, slot, kind]


def _editors_node(node: Node, links: list[list[Any]]) -> dict[str, Any]:
    kind = KINDS[node.kind]
    into = {link[4]: link[0] for link in links if link[3] == node.id}
    names = {} if node.kind == _NOTE else {"cnr_id": "comfy-core", "Node name for S&R": node.kind}
    return {
        "id": node.id,
        "type": node.kind,
        "pos": list(node.position),
        "size": list(kind.size),
        "flags": {},
        # Nodes stand in an order in which they can be executed.
        "order": node.id - 1,
        "mode": 0,
        "inputs": [
            {"name": name, "type": type_, "link": into[slot]}
            for slot, (name, type_) in enumerate(kind.inputs)
        ],
        "outputs": [
            {
                "name": name,
                "type": type_,
                "links": [link[0] for link in links if link[1] == node.id and link[2] == slot],
            }
            for slot, (name, type_) in enumerate(kind.outputs)
        ],
        **({"title": node.title} if node.title else {}),
        "properties": {**names, **node.properties},
        # A seed that changed with every run would make another picture.
        "widgets_values": ["fixed" if n == _AFTER else node.values[n] for n in kind.widgets],
    }
