"""The methods of merging, with the papers they come from and the options they take; no torch needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from lorakit.errors import BadUsage

Value = float | str


@dataclass(frozen=True)
class Option:
    """One setting of a method: its default, from the paper where it has one, and what it may be.

    A number lies between `low` and `high` and is not `never`; a word is one of `choices`.
    """

    default: Value
    meaning: str
    low: float = 0.0
    high: float = 100.0
    choices: tuple[str, ...] = ()
    never: float | None = None

    @property
    def bounds(self) -> str:
        """What a number may be, as a phrase."""
        never = "" if self.never is None else f" and is not {self.never:g}"
        return f"lies between {self.low:g} and {self.high:g}{never}"


@dataclass(frozen=True)
class Method:
    """A way of making several changes one. `entrywise`: it works on every entry of the whole matrix.

    The result of an entrywise method is of full rank, so it is brought to a rank with an error that is
    told; the others stay in the span of what came in.
    """

    name: str
    paper: str
    does: str
    options: Mapping[str, Option]
    entrywise: bool = False
    seeded: bool = False


# A scale or density of 0 would leave nothing of what is merged.
_SCALE = Option(1.0, "factor of the result", -100.0, never=0.0)
_DENSITY = Option(0.2, "share of each change's largest entries that is kept", 0.0, 1.0, never=0.0)
_IN_CORE = ("sum", "ties", "dare", "della", "tsv", "iso")
_DROP = Option(0.5, "share of entries that is dropped", 0.0, 0.99)
_DELLA = {
    "drop": Option(0.3, "mean share of entries that is dropped", 0.0, 0.99),
    "window": Option(
        0.14, "width of the shares, from the largest entry to the smallest", 0.0, 1.0, never=1.0
    ),
}


def _inside(default: str) -> dict[str, Option]:
    return {
        "in_core": Option(default, "what merges the small matrices", choices=_IN_CORE),
        "density": _DENSITY,
        "drop": Option(0.3, "for dare and della: share of entries that is dropped", 0.0, 0.99),
        "window": _DELLA["window"],
        "scale": _SCALE,
    }


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("sum", "", "the weighted sum, exactly", {}),
            Method(
                "ties",
                "TIES-Merging, arXiv:2306.01708",
                "keeps large entries, elects a sign for each, averages those that agree",
                {"density": _DENSITY, "scale": _SCALE},
                entrywise=True,
            ),
            Method(
                "dare",
                "DARE, arXiv:2311.03099",
                "drops entries by chance, makes up for them in the rest, adds up",
                {"drop": _DROP, "scale": _SCALE},
                entrywise=True,
                seeded=True,
            ),
            Method(
                "della",
                "DELLA-Merging, arXiv:2406.11617",
                "drops small entries more often than large ones, then elects signs and averages",
                {**_DELLA, "scale": _SCALE},
                entrywise=True,
                seeded=True,
            ),
            Method(
                "tsv",
                "Task Singular Vectors (TSV-M), arXiv:2412.00081",
                "makes the singular vectors of all changes orthogonal before adding up",
                {"scale": _SCALE},
            ),
            Method(
                "iso",
                "No Task Left Behind (Iso-C), arXiv:2502.04959",
                "gives every direction of the sum the same size",
                {"scale": _SCALE},
            ),
            Method(
                "knots",
                "KnOTS, arXiv:2410.19735",
                "brings all changes to common left singular vectors and merges there",
                _inside("ties"),
                seeded=True,
            ),
            Method(
                "core",
                "Core Space, arXiv:2509.17786",
                "brings all changes to common bases on both sides and merges the small matrices",
                _inside("ties"),
                seeded=True,
            ),
            Method(
                "ctm",
                "Compress then Merge, arXiv:2606.03723",
                "finds bases of the wanted rank that suit all changes, then merges the small matrices",
                {
                    **_inside("ties"),
                    "beta": Option(
                        0.25, "how much a large change counts more than a small one", 0, 1
                    ),
                },
                seeded=True,
            ),
        )
    }
)


def method_named(name: str) -> Method:
    """The method `name`. Raises `BadUsage` for one that does not exist."""
    if name not in METHODS:
        raise BadUsage(f"There is no method {name!r}.", hint=f"There are: {', '.join(METHODS)}.")
    return METHODS[name]


def settled(method: Method, given: Mapping[str, Value]) -> dict[str, Value]:
    """Every option of `method`, as `given` or by default.

    Raises `BadUsage` for an option that the method does not have, or a value that it cannot be.
    """
    unknown = next((name for name in given if name not in method.options), None)
    if unknown is not None:
        known = ", ".join(method.options) or "none"
        raise BadUsage(
            f"The method {method.name} has no option {unknown!r}.", hint=f"It has: {known}."
        )
    found = {
        name: _checked(method, name, option, given[name]) if name in given else option.default
        for name, option in method.options.items()
    }
    if "della" in (method.name, found.get("in_core")):
        _require_window(float(found["drop"]), float(found["window"]))
    return found


def _require_window(drop: float, window: float) -> None:
    """Raise `BadUsage` for shares `drop` ± `window` / 2 below 0 or up to 1, where nothing would stay."""
    if drop - window / 2 < 0 or drop + window / 2 >= 1:
        raise BadUsage(
            f"With a drop of {drop:g} a window of {window:g} reaches beyond 0 or up to 1.",
            hint="Give a window of less than twice the distance from drop to 0 and to 1.",
        )


def _checked(method: Method, name: str, option: Option, value: Value) -> Value:
    if option.choices:
        if value in option.choices:
            return value
        raise BadUsage(
            f"{name} of {method.name} cannot be {value!r}.",
            hint=f"Give {', '.join(option.choices)}.",
        )
    try:
        number = float(value)
    except ValueError:
        raise BadUsage(f"{name} of {method.name} is a number, not {value!r}.") from None
    if not isfinite(number) or not option.low <= number <= option.high or number == option.never:
        raise BadUsage(
            f"{name} of {method.name} cannot be {number:g}.",
            hint=f"It {option.bounds}: {option.meaning}.",
        )
    return number
