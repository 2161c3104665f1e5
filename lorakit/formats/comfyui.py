"""What ComfyUI's graphs say of how a picture was made, by following links from the sampler.

Nodes that are not known are passed through, by an input of the name that is sought. What lorakit wrote
into its own nodes, hashes and whole strengths, holds while the file and the strength are those it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorakit.formats.comfy_graph import (
    Graph,
    Node,
    inputs_of,
    kind_of,
    noted_in,
    read_graph,
    resolved,
    stated_of,
    target_of,
    upstream,
)
from lorakit.formats.generation import (
    Generation,
    UsedAdapter,
    hex_hashes,
    model_name,
    real,
    text,
    unused_sampler,
    whole,
)
from lorakit.formats.infotext import split_tags
from lorakit.formats.own_record import own_adapter, rows, same_number

_BASES = ("ckpt_name", "unet_name", "model_name", "gguf_name")


def comfy_generation(prompt: str | None, workflow: str | None) -> Generation | None:
    """What the graphs in a picture say; None where they are no graphs, or nothing in them samples."""
    graph = read_graph(prompt, workflow)
    sampler = _first_sampler(graph)
    if sampler is None:
        return None
    made = _generation(graph, sampler)
    return replace(made, adapters=_with_noted(made.adapters, noted_in(workflow)))


def comfy_loaders(prompt: str | None, workflow: str | None) -> Generation | None:
    """The adapters that the graphs load, whatever becomes of them; None where they load none."""
    graph = read_graph(prompt, workflow)
    nodes = list(graph.values())
    adapters = tuple(adapter for node in nodes for adapter in _loaded(node))
    if not adapters:
        return None
    base, stated = _base_of(nodes)
    return Generation(
        program="ComfyUI",
        base_name=base,
        base_hash=next(iter(hex_hashes(stated.get("sha256"))), ""),
        adapters=_with_noted(adapters, noted_in(workflow)),
        left_out=("No sampler in it is understood; every adapter that it loads is taken.",),
    )


def _generation(graph: Graph, sampler: str) -> Generation:
    settings = _Settings.of(graph, sampler)
    chain = list(upstream(graph, settings.link("model"), "model"))
    left_out = [*unused_sampler(settings.text("sampler_name"), settings.text("scheduler"))]
    if sum(1 for node in graph if _is_sampler(graph[node])) > 1:
        left_out.append("Only its first sampler is carried over.")
    prompts = {kind: _prompt(graph, settings.link(kind), kind) for kind in ("positive", "negative")}
    if prompts["positive"] is None:
        left_out.append(
            "Its prompt is put together by nodes that are not understood; give one with -p."
        )
    latent = list(upstream(graph, settings.link("latent_image"), "samples"))
    if any("pixels" in inputs_of(node) for node in latent):
        left_out.append("It began from an image that it does not name; give one with --image.")
    left_out += [
        f"The node {kind_of(node)} may load adapters, and is not understood."
        for loader in chain
        for node in _with_stack(graph, loader)
        if _may_load(node) and not _known_loader(node)
    ]
    base, stated = _base_of(chain)
    size = next((node for node in latent if {"width", "height"} <= inputs_of(node).keys()), {})
    return Generation(
        program="ComfyUI",
        prompt=split_tags(prompts["positive"] or "")[0],
        negative_prompt=split_tags(prompts["negative"] or "")[0],
        steps=whole(settings.value("steps")),
        cfg=real(settings.value("cfg")),
        seed=whole(settings.value("seed", "noise_seed")),
        width=whole(resolved(graph, inputs_of(size).get("width"))),
        height=whole(resolved(graph, inputs_of(size).get("height"))),
        shift=next((s for n in chain if (s := real(inputs_of(n).get("shift"))) is not None), None),
        denoise=_partial(real(settings.value("denoise"))),
        base_name=base,
        base_hash=next(iter(hex_hashes(stated.get("sha256"))), ""),
        base_tensors=next(iter(hex_hashes(stated.get("tensor_sha256"))), ""),
        adapters=tuple(reversed(_adapters(graph, chain))),
        left_out=tuple(left_out),
    )


@dataclass(frozen=True)
class _Settings:
    """A sampler's inputs, wherever its kind keeps them: on itself, or on guider, noise and sigmas."""

    graph: Graph
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, graph: Graph, sampler: str) -> _Settings:
        own = inputs_of(graph[sampler])
        helpers = (target_of(own.get(name)) for name in ("guider", "noise", "sigmas", "sampler"))
        return cls(graph, (graph[sampler], *(graph[node] for node in helpers if node in graph)))

    def value(self, *names: str) -> Any:  # noqa: ANN401 (parsed JSON)
        """The first of these inputs that is there, with links followed to their value."""
        inputs = (inputs_of(node) for node in self.nodes)
        found = (own[name] for own in inputs for name in names if name in own)
        return resolved(self.graph, next(found, None))

    def text(self, name: str) -> str:
        return text(self.value(name))

    def link(self, name: str) -> str:
        """The node that the input leads to. A guider without guidance calls the prompt conditioning."""
        names = (name, "conditioning") if name == "positive" else (name,)
        found = (target_of(inputs_of(node).get(key)) for key in names for node in self.nodes)
        return next(filter(None, found), "")


def _first_sampler(graph: Graph) -> str | None:
    """The sampler that starts from no other's result; of several the one that was made first."""
    samplers = [node for node in graph if _is_sampler(graph[node])]
    for node in samplers:
        latent = target_of(inputs_of(graph[node]).get("latent_image"))
        before = upstream(graph, latent, "samples")
        if not any(map(_is_sampler, before)):
            return node
    return samplers[0] if samplers else None


def _is_sampler(node: Node) -> bool:
    return "latent_image" in inputs_of(node) and (
        "Sampler" in kind_of(node) or "steps" in inputs_of(node)
    )


def _prompt(graph: Graph, start: str, kind: str) -> str | None:
    """The text that a conditioning comes from; None where it cannot be told."""
    seen: set[str] = set()
    while start in graph and start not in seen:
        seen.add(start)
        inputs = inputs_of(graph[start])
        if "text" in inputs:
            found = resolved(graph, inputs["text"])
            return text(found) if isinstance(found, str) else None
        if "ZeroOut" in kind_of(graph[start]):
            return ""
        names = (kind, "conditioning", "conditioning_1", "conditioning_to")
        start = next((to for name in names if (to := target_of(inputs.get(name)))), "")
    return None


def _adapters(graph: Graph, chain: Sequence[Node]) -> list[UsedAdapter]:
    """The adapters that the nodes load, the last of a node first.

    A node may also load those of a list that another node hands it.
    """
    return [
        adapter
        for node in chain
        for loader in _with_stack(graph, node)
        for adapter in reversed(list(_loaded(loader)))
    ]


def _with_stack(graph: Graph, node: Node) -> Iterator[Node]:
    """The node, and those that hand it lists of adapters."""
    yield node
    yield from upstream(graph, target_of(inputs_of(node).get("lora_stack")), "lora_stack")


def _loaded(node: Node) -> Iterator[UsedAdapter]:
    """The adapters of a LoraLoader, of LoRA Manager's loader, and of rgthree's Power Lora Loader."""
    inputs = inputs_of(node)
    if text(inputs.get("lora_name")) and inputs["lora_name"] != "None":
        clip = inputs.get("strength_clip", inputs.get("strength_model"))
        model = inputs.get("strength_model", inputs.get("strength"))
        yield _as_stated(
            node, _adapter(inputs["lora_name"], model, clip if clip is not None else model)
        )
    for entry in _listed(inputs.get("loras")):
        if entry.get("active", True) and text(entry.get("name")):
            model = entry.get("strength")
            yield _adapter(entry["name"], model, entry.get("clipStrength", model))
    for entry in inputs.values():
        if isinstance(entry, dict) and text(entry.get("lora")) and entry.get("on", True):
            model, clip = entry.get("strength"), entry.get("strengthTwo")
            yield _adapter(entry["lora"], model, model if clip is None else clip)


def _as_stated(node: Node, adapter: UsedAdapter) -> UsedAdapter:
    """`adapter` with what lorakit wrote into the node, as far as nobody has changed it since."""
    stated, inputs = stated_of(node), inputs_of(node)
    if not stated or model_name(stated.get("lora_name")) != adapter.name:
        return adapter
    same = all(
        same_number(inputs.get(name), stated.get(name))
        for name in ("strength_model", "strength_clip")
        if name in inputs
    )
    own = own_adapter(stated)
    return replace(adapter, hashes=own.hashes, strength=own.strength if same else None)


def _with_noted(adapters: Sequence[UsedAdapter], noted: object) -> tuple[UsedAdapter, ...]:
    """The adapters with the hashes that lorakit noted in the workflow, where their nodes have none."""
    known = {
        model_name(entry.get("file")): own_adapter(entry).hashes
        for entry in rows(noted)
        if isinstance(entry, dict)
    }
    return tuple(replace(a, hashes=a.hashes or known.get(a.name, ())) for a in adapters)


def _may_load(node: Node) -> bool:
    """Whether the node is named like one that loads adapters."""
    kind = kind_of(node).lower().replace("(loramanager)", "")
    return "lora" in kind


def _known_loader(node: Node) -> bool:
    inputs = inputs_of(node)
    of_rgthree = any(isinstance(entry, dict) and "lora" in entry for entry in inputs.values())
    return of_rgthree or bool({"lora_name", "loras", "lora_stack"} & inputs.keys())


def _adapter(name: object, model: object, clip: object) -> UsedAdapter:
    unet, te = real(model), real(clip)
    if unet is None:
        return UsedAdapter(model_name(name))
    same = te is None or te == unet
    arguments = (f"{unet!r}",) if same else (f"te={te!r}", f"unet={unet!r}")
    return UsedAdapter(model_name(name), arguments=arguments)


def _listed(value: object) -> list[Mapping[str, Any]]:
    """LoRA Manager's list of adapters, which may be wrapped in `{"__value__": [[...]]}`."""
    if isinstance(value, dict):
        value = value.get("__value__")
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _base_of(chain: Sequence[Node]) -> tuple[str, Mapping[str, Any]]:
    """The name of the model that the first loader in `chain` loads, and what lorakit stated of it."""
    for node in chain:
        name = next((n for key in _BASES if (n := model_name(inputs_of(node).get(key)))), "")
        if name:
            stated = stated_of(node)
            return name, stated if model_name(stated.get("unet_name")) == name else {}
    return "", {}


def _partial(denoise: float | None) -> float | None:
    return denoise if denoise is not None and 0.0 < denoise < 1.0 else None
