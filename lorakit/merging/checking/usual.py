"""The strengths that are said of an adapter, beside those of a stack."""

from __future__ import annotations

from dataclasses import dataclass

from lorakit.strengths.text import number


@dataclass(frozen=True)
class Usual:
    """The strength that suggests itself for an adapter, and from where to where, as `lorakit strength`
    tells it.

    `by` is what decides: "yours", "kept stack", "votes", "program" or "size"; `because` is everything
    that speaks for a strength, in sentences, what decides first.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    by: str = "program"
    because: tuple[str, ...] = ()

    @property
    def is_range(self) -> bool:
        """Whether strengths outside are worth a word. By size half of all adapters are outside."""
        return self.by != "size" and (None in (self.low, self.high) or self.low != self.high)

    def excludes(self, strength: float) -> bool:
        """Whether a strength lies outside the range."""
        low, high = self.low, self.high
        outside = (low is not None and strength < low) or (high is not None and strength > high)
        return self.is_range and outside

    @property
    def words(self) -> str:
        """The strength and the range in words."""
        low, high = self.low, self.high
        if low is not None and high is not None:
            span = f"{number(low)} to {number(high)}" if low < high else ""
        elif low is not None:
            span = f"from {number(low)} on"
        else:
            span = "" if high is None else f"up to {number(high)}"
        if self.value is None:
            return span
        return f"{number(self.value)} ({span})" if span else number(self.value)
