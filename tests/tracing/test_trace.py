"""A whole trace: several models at once, what is explained by others, and where it lies."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lorakit.tracing.known import Known
from lorakit.tracing.report import Trace, TraceReport
from lorakit.tracing.telling_apart import Kind
from lorakit.tracing.trace import trace_sketch
from tests.gate.relatives import ancestor, in_blocks, rdbt, style, with_rdbt, without
from tests.tracing import family as f
from tests.tracing.sketched import ANCESTORS, known, known_adapter, sampled


@pytest.fixture(scope="module")
def family() -> list[Known]:
    return [
        known("anima", sampled(ancestor()), "anima"),
        known("rdbt", sampled(rdbt()), "rdbt"),
        known_adapter("ink", style(1)),
        known_adapter("wash", style(2)),
        known_adapter("neon", style(3)),
    ]


def traced(
    weights: f.Weights, everyone: list[Known], kind: Kind = "checkpoint"
) -> dict[str, Trace]:
    suspect = sampled(f.rounded(weights) if kind == "checkpoint" else weights)
    traces = trace_sketch(suspect, kind, everyone, ancestors=ANCESTORS)
    return {trace.finding.known.name: trace for trace in traces}


def report(traces: dict[str, Trace], kind: Kind = "checkpoint") -> TraceReport:
    path = Path("suspect.safetensors")
    return TraceReport(path, kind, "BF16", 28, 1000, tuple(traces.values()))


def test_several_at_once(family: list[Known]) -> None:
    traces = traced(with_rdbt(0.5, (0.8, style(1)), (0.3, style(2))), family)
    strengths = {"rdbt": 0.5, "ink": 0.8, "wash": 0.3}
    for name, strength in strengths.items():
        assert traces[name].finding.outcome == "contains"
        assert traces[name].finding.strength == pytest.approx(strength, abs=0.01)
    assert not traces["neon"].found
    said = report(traces).sentence
    for part in ("ink at strength 0.80", "wash at strength 0.30", "rdbt at strength 0.50"):
        assert part in said
    assert "neon" not in said


def test_the_surest_come_first(family: list[Known]) -> None:
    names = list(traced(without((0.1, style(1)), (0.9, style(2))), family))
    assert names[:2] == ["wash", "ink"]


def test_where_it_lies(family: list[Known]) -> None:
    traces = traced(in_blocks(range(10, 21), 0.6), family)
    blocks = {part.name: part.strength for part in traces["rdbt"].blocks}
    assert list(blocks) == ["3-9", "10-20", "21-27"]
    assert blocks["10-20"] == pytest.approx(0.6, abs=0.01)
    assert abs(blocks["3-9"]) < 0.01
    assert [part.name for part in traces["rdbt"].components] == ["dit"]
    assert "rdbt at strengths from 0.00 to 0.60 by block" in report(traces).sentence


def test_one_block_is_named(family: list[Known]) -> None:
    traces = traced(in_blocks([14], 1), family)
    assert traces["rdbt"].finding.where == "block 14"
    assert "rdbt in block 14 at strength 1.00" in report(traces).sentence


def test_models_that_are_alike_are_named_together(family: list[Known]) -> None:
    # The same style, trained a little longer.
    again = known_adapter("ink-2", f.summed(style(1), (0.2, style(9))))
    traces = traced(without((0.8, style(1))), [*family, again])
    assert traces["ink"].finding.like is None
    assert traces["ink-2"].finding.like == "ink"
    assert "ink (or ink-2, which is alike) at strength 0.80" in report(traces).sentence


def test_what_another_explains_is_withdrawn(family: list[Known]) -> None:
    # Half of it is ink, so where ink is there, half of it seems to be there.
    both = known_adapter("both", f.summed({n: 0.5 * x for n, x in style(1).items()}, (1, style(9))))
    traces = traced(without((0.8, style(1))), [*family, both])
    assert traces["ink"].finding.outcome == "contains"
    assert traces["both"].finding.outcome == "absent"
    assert "explained by ink" in traces["both"].finding.how


def test_adapters_hold_several_too(family: list[Known]) -> None:
    mixed = f.summed(style(1), (0.5, style(2)))
    traces = traced(mixed, family, "adapter")
    assert traces["ink"].finding.strength == pytest.approx(1, abs=0.02)
    assert traces["wash"].finding.strength == pytest.approx(0.5, abs=0.02)
    assert not traces["rdbt"].found


def test_nulls_lie_below_what_is_there(family: list[Known]) -> None:
    trace = traced(with_rdbt(0.3, (0.8, style(1))), family)["rdbt"]
    (flipped,) = trace.nulls
    assert (flipped.kind, flipped.count) == ("sign-flipped", 1000)
    assert 0 < flipped.largest < 0.3 / 3


def test_nulls_of_other_kinds_are_asked_of_what_was_found(family: list[Known]) -> None:
    asked: list[str] = []

    def nulls_of(known: Known) -> dict[str, list[object]]:
        asked.append(known.name)
        return {"rank-permuted": [sampled(style(90 + n)) for n in range(3)]}

    traces = trace_sketch(
        sampled(f.rounded(without((0.8, style(1))))),
        "checkpoint",
        family,
        ancestors=ANCESTORS,
        nulls_of=nulls_of,  # type: ignore[arg-type]
    )
    assert asked == ["ink"]
    (trace,) = [trace for trace in traces if trace.finding.known.name == "ink"]
    kinds = {nulls.kind: nulls for nulls in trace.nulls}
    assert kinds["rank-permuted"].count == 3
    assert kinds["rank-permuted"].largest < 0.1


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (rdbt, "suspect.safetensors is rdbt."),
        (ancestor, "suspect.safetensors is anima."),
        (
            lambda: without((1, f.dense(1, 0.02))),
            "suspect.safetensors was made from anima or from another version of it.",
        ),
        (
            lambda: f.weights(99),
            "suspect.safetensors does not hold any of the 2 models that it was compared with.",
        ),
    ],
)
def test_the_sentence(weights: object, said: str, family: list[Known]) -> None:
    assert callable(weights)
    bases = [one for one in family if one.holds == "weights"]
    assert report(traced(weights(), bases)).sentence == said


def test_the_sentence_when_nothing_is_certain(family: list[Known]) -> None:
    lonely = [one for one in family if one.name == "rdbt"]
    traces = traced(without((1, f.dense(1, 0.02))), lonely)
    assert report(traces).sentence == (
        "suspect.safetensors shows none of the known models for certain; open is rdbt."
    )
    assert report({}).sentence.endswith("compared with nothing: no model is registered.")


def test_the_document_is_json(family: list[Known]) -> None:
    document = report(traced(with_rdbt(0.5), family)).to_dict()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    found = {trace["name"]: trace for trace in again["traces"]}
    assert found["rdbt"]["outcome"] == "contains"
    assert math.isclose(found["rdbt"]["strength"], 0.5, abs_tol=0.01)
    assert found["rdbt"]["nulls"][0]["kind"] == "sign-flipped"
    assert found["rdbt"]["blocks"][0]["name"] == "3-27"
