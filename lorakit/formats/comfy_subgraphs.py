"""An editor's workflow as one flat list of nodes: subgraphs taken apart, wires without a place followed.

A subgraph stands under `definitions.subgraphs`; a node whose type is its id is one use of it. Inside,
the ids -10 and -20 stand for its inputs and outputs. The nodes get the ids that the executed graph gives
them: `60:19` is node 19 of the subgraph that node 60 uses. Reroute, and the pair SetNode and GetNode of
KJNodes, only pass on what they get, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lorakit.formats.own_record import rows, table

Source = tuple[str, int]
_INPUTS, _OUTPUTS = -10, -20
_DEEPEST = 8
_LONGEST = 200


@dataclass(frozen=True)
class FlatNode:
    """A node as it stands in the file, with its id, where its inputs come from, and values of widgets
    that were set from outside its subgraph."""

    id: str
    node: Mapping[str, Any]
    sources: Mapping[str, Source]
    outside: dict[str, Any] = field(default_factory=dict)


def flat_nodes(workflow: Mapping[str, Any], most: int) -> list[FlatNode]:
    """Every node of `workflow`, those of subgraphs among them; none when there are more than `most`."""
    listed = rows(table(workflow.get("definitions")).get("subgraphs"))
    subgraphs = {str(graph.get("id")): graph for graph in map(table, listed) if graph.get("id")}
    flat = _Flat(subgraphs, most)
    flat.add(workflow, "", {})
    if flat.is_full:
        return []
    flat.join()
    return [
        FlatNode(n.id, n.node, dict(_followed(n.sources, flat.exits)), n.outside)
        for n in flat.nodes.values()
    ]


@dataclass
class _Flat:
    """The list while it is made.

    `exits` tells what nodes that are no nodes, such as the use of a subgraph, give out at each slot;
    `named` is what was put under a name, and `asked` under which name a node gives something out.
    """

    subgraphs: Mapping[str, Mapping[str, Any]]
    most: int
    nodes: dict[str, FlatNode] = field(default_factory=dict)
    exits: dict[str, dict[int, Source]] = field(default_factory=dict)
    named: dict[str, Source] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether this is more than anybody draws."""
        return len(self.nodes) + len(self.exits) > self.most

    def add(self, graph: Mapping[str, Any], prefix: str, entries: Mapping[int, Source]) -> None:
        """Add the nodes of `graph`. `entries` are the sources of the inputs of a subgraph, by slot."""
        sources: dict[Any, Source] = {}
        for number, origin, slot in _links(graph.get("links")):
            found = entries.get(slot) if origin == _INPUTS else (f"{prefix}{origin}", slot)
            if found is not None:
                sources[number] = found
        for node in map(table, rows(graph.get("nodes"))):
            if "id" not in node or self.is_full:
                continue
            known = FlatNode(f"{prefix}{node['id']}", node, dict(_sources_of(node, sources)))
            inner = self.subgraphs.get(str(node.get("type")))
            if inner is not None and not node.get("mode") and prefix.count(":") < _DEEPEST:
                self._use(known, inner)
            elif not self._passes_on(known):
                self.nodes[known.id] = known

    def join(self) -> None:
        """Let what is asked for by name come from where it was put."""
        for node, name in self.asked.items():
            self.exits[node] = {0: self.named[name]} if name in self.named else {}

    def _passes_on(self, flat: FlatNode) -> bool:
        kind, came = flat.node.get("type"), next(iter(flat.sources.values()), None)
        name = str(next(iter(rows(flat.node.get("widgets_values"))), ""))
        if kind == "GetNode":
            self.asked[flat.id] = name
        elif kind in ("Reroute", "SetNode"):
            self.exits[flat.id] = {} if came is None else {0: came}
            if kind == "SetNode" and came is not None:
                self.named[name] = came
        return kind in ("Reroute", "SetNode", "GetNode")

    def _use(self, use: FlatNode, graph: Mapping[str, Any]) -> None:
        inside = f"{use.id}:"
        self.exits[use.id] = {}
        names = [str(table(slot).get("name")) for slot in rows(graph.get("inputs"))]
        entries = {at: use.sources[n] for at, n in enumerate(names) if n in use.sources}
        self.add(graph, inside, entries)
        self.exits[use.id] = {
            target: (f"{inside}{origin}", slot)
            for origin, slot, target in _outputs(graph.get("links"))
        }
        proxies = rows(table(use.node.get("properties")).get("proxyWidgets"))
        values = rows(use.node.get("widgets_values"))
        if len(proxies) == len(values):
            for proxy, value in zip(proxies, values, strict=True):
                if (
                    isinstance(proxy, list)
                    and len(proxy) >= 2
                    and f"{inside}{proxy[0]}" in self.nodes
                ):
                    self.nodes[f"{inside}{proxy[0]}"].outside[str(proxy[1])] = value


def _followed(
    sources: Mapping[str, Source], exits: Mapping[str, Mapping[int, Source]]
) -> Iterator[tuple[str, Source]]:
    """The sources with every use of a subgraph replaced by the node inside that it gives out."""
    for name, source in sources.items():
        found: Source | None = source
        # A file may lead in a circle.
        for _ in range(_LONGEST):
            if found is None or found[0] not in exits:
                break
            found = exits[found[0]].get(found[1])
        if found is not None:
            yield name, found


def _sources_of(
    node: Mapping[str, Any], sources: Mapping[Any, Source]
) -> Iterator[tuple[str, Source]]:
    for slot in map(table, rows(node.get("inputs"))):
        link, name = slot.get("link"), slot.get("name")
        if isinstance(link, int) and isinstance(name, str) and link in sources:
            yield name, sources[link]


def _links(links: object) -> Iterator[tuple[int, int | str, int]]:
    """(id, from node, from slot) of links, which are lists in workflows and objects in subgraphs."""
    for link in rows(links):
        found = (
            link[:3] if isinstance(link, list) else _fields(link, "id", "origin_id", "origin_slot")
        )
        if len(found) == 3 and isinstance(found[0], int) and isinstance(found[1], int | str):
            yield found[0], found[1], found[2] if isinstance(found[2], int) else 0


def _outputs(links: object) -> Iterator[tuple[int | str, int, int]]:
    """(from node, from slot, slot of the subgraph) of the links that lead out of a subgraph."""
    for link in map(table, rows(links)):
        origin, slot, to, target = _fields(
            link, "origin_id", "origin_slot", "target_id", "target_slot"
        )
        if to == _OUTPUTS and isinstance(slot, int) and isinstance(target, int):
            yield origin, slot, target


def _fields(link: object, *names: str) -> list[Any]:
    return [table(link).get(name) for name in names]
