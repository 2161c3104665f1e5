"""Sort the keys of an adapter file by module, and name every key that fits nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lorakit.formats.fused_names import split_fused
from lorakit.formats.header import Header, TensorInfo
from lorakit.formats.layouts import ParsedKey, parse_key
from lorakit.formats.parts import Algo, algo_of, algos_of, missing_parts
from lorakit.formats.shapes import module_rank, weight_shape


@dataclass(frozen=True)
class ModuleKeys:
    """The tensors of one module, by part; `path` is the module's name as the file spells it.

    `rows` is (index, count) where the file joins `count` modules into one and this is the index-th of
    them, by equal shares of the rows.
    """

    name: str
    layout: str
    path: str
    algo: Algo
    parts: Mapping[str, TensorInfo]
    rows: tuple[int, int] = (0, 1)

    @property
    def rank(self) -> int | None:
        """The rank, from shapes alone: metadata may be of another file. None where there is none."""
        return module_rank(self.algo.name, self._shapes())

    @property
    def uses_alpha(self) -> bool:
        """Whether an alpha scales anything: one of the module's families has a rank."""
        shapes = self._shapes()
        return any(module_rank(algo.name, shapes) for algo in algos_of(self.parts))

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of the weight, where the tensors tell it; see shapes.py."""
        told = weight_shape(self.algo.name, self._shapes())
        if not told or told[0] is None:
            return told
        return (told[0] // self.rows[1], *told[1:])

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {part: info.shape for part, info in self.parts.items()}


@dataclass(frozen=True)
class KeyGroups:
    """All keys of a file: in a module, left over, or claimed twice."""

    modules: tuple[ModuleKeys, ...]
    layouts: tuple[str, ...]
    unused_keys: tuple[str, ...]
    problems: tuple[str, ...]


def group_keys(header: Header) -> KeyGroups:
    """Parse every key of `header`; modules come in the order of the file, layouts by frequency."""
    found: dict[str, dict[str, TensorInfo]] = {}
    spelt: dict[str, ParsedKey] = {}
    layouts: Counter[str] = Counter()
    unused: list[str] = []
    problems: list[str] = []
    for key, info in header.tensors.items():
        parsed = parse_key(key)
        if parsed is None:
            unused.append(key)
            continue
        parts = found.setdefault(parsed.module, {})
        if parsed.part in parts:
            problems.append(f"{key} and {parts[parsed.part].name} name the same part of a module")
            unused.append(key)
            continue
        parts[parsed.part] = info
        spelt.setdefault(parsed.module, parsed)
        layouts[parsed.layout] += 1
    modules = []
    for name, parts in found.items():
        module, lacking = _module(spelt[name], parts)
        if module is None:
            unused.extend(info.name for info in parts.values())
        else:
            modules += _split(module)
            problems += _split_problems(module, found)
        if lacking:
            problems.append(
                f"{name} ({next(iter(parts.values())).name}) lacks {', '.join(lacking)}"
            )
    return KeyGroups(
        tuple(modules),
        tuple(layout for layout, _ in layouts.most_common()) if modules else (),
        tuple(unused),
        tuple(problems),
    )


def _module(
    first: ParsedKey, parts: Mapping[str, TensorInfo]
) -> tuple[ModuleKeys | None, tuple[str, ...]]:
    """The module, unless nothing marks it as an adapter's; and the parts it lacks."""
    algo = algo_of(parts)
    if algo is None:
        # An alpha or a magnitude alone is the orphan of something; a bare weight is a checkpoint's.
        orphaned = not parts.keys() <= {"weight"}
        return None, ("the factors it scales",) if orphaned else ()
    module = ModuleKeys(first.module, first.layout, first.path, algo, parts)
    return module, tuple(part for one in algos_of(parts) for part in missing_parts(one, parts))


def _split(module: ModuleKeys) -> list[ModuleKeys]:
    """The module itself, or those that it joins."""
    names = split_fused(module.name)
    if not names:
        return [module]
    return [replace(module, name=n, rows=(i, len(names))) for i, n in enumerate(names)]


def _split_problems(module: ModuleKeys, found: Mapping[str, object]) -> list[str]:
    names = split_fused(module.name)
    if not names:
        return []
    problems = [
        f"{module.name} and {name} patch the same weight" for name in names if name in found
    ]
    if len(names) > 1 and module.algo.name != "lora":
        problems.append(
            f"{module.name} joins {len(names)} layers, and {module.algo.name} cannot be split"
        )
    magnitude = module.parts.get("dora_scale")
    if len(names) > 1 and magnitude is not None and magnitude.shape[:1] == (1,):
        problems.append(
            f"{module.name} joins {len(names)} layers, whose column norms cannot be split"
        )
    told = weight_shape(module.algo.name, {part: info.shape for part, info in module.parts.items()})
    if told and told[0] is not None and told[0] % len(names):
        problems.append(f"{module.name} joins {len(names)} layers but has {told[0]} rows")
    return problems
