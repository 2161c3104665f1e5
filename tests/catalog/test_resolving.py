import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lorakit.catalog import Catalog
from lorakit.catalog.naming import Named, matches, normal, pick
from lorakit.errors import Ambiguous, NotFound
from tests.catalog.factories import write_adapter


@pytest.fixture
def filled(catalog: Catalog, folder: Path) -> Catalog:
    for seed, name in enumerate(("ink", "ink-dark", "Wash", "wasp", "oil"), start=1):
        write_adapter(folder / f"{name}.safetensors", seed)
    catalog.add([folder])
    return catalog


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ink", "ink"),
        ("ink-", "ink-dark"),
        ("o", "oil"),
        ("OIL", "oil"),
        ("wash", "Wash"),
        ("WASP", "wasp"),
        ("INK-D", "ink-dark"),
    ],
)
def test_names_and_beginnings(filled: Catalog, text: str, name: str) -> None:
    assert filled.resolve(text).name == name


def test_ambiguity_lists_the_matches(filled: Catalog) -> None:
    with pytest.raises(Ambiguous) as caught:
        filled.resolve("in")
    assert caught.value.hint is not None
    assert "ink (sha256:" in caught.value.hint
    assert "ink-dark (sha256:" in caught.value.hint
    with pytest.raises(Ambiguous):
        filled.resolve("WAS")


@pytest.mark.parametrize("text", ["", "pastel", "sha256:", "sha256:xyz", "a\0b", "~nobody/x", "*"])
def test_what_fits_nothing(filled: Catalog, text: str) -> None:
    with pytest.raises(NotFound):
        filled.resolve(text)


def test_close_names_are_offered(filled: Catalog) -> None:
    with pytest.raises(NotFound) as caught:
        filled.resolve("iink")
    assert caught.value.hint == "Did you mean ink?"


def test_the_name_of_a_renamed_file_leads_to_its_adapter(filled: Catalog, folder: Path) -> None:
    (folder / "oil.safetensors").rename(folder / "Tusche.safetensors")
    filled.add([folder])
    assert filled.resolve("oil").path == folder / "Tusche.safetensors"
    with pytest.raises(NotFound) as caught:
        filled.resolve("tusche")
    assert caught.value.hint == "A file of that name is known as oil."


def test_hashes_of_file_and_tensors(filled: Catalog, folder: Path) -> None:
    oil = filled.resolve("oil")
    for digest in (oil.file_sha256, oil.tensor_sha256):
        assert filled.resolve(f"sha256:{digest}").id == oil.id
        assert filled.resolve(f"sha256:{digest[:12].upper()}").id == oil.id
    write_adapter(folder / "oil-edited.safetensors", 5, {"title": "edited"})
    filled.add([folder])
    with pytest.raises(Ambiguous):
        filled.resolve(f"sha256:{oil.tensor_sha256}")
    assert filled.resolve(f"sha256:{oil.file_sha256}").id == oil.id


def test_paths(filled: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled.resolve(str(folder / "x" / ".." / "oil.safetensors")).name == "oil"
    monkeypatch.chdir(folder)
    assert filled.resolve("oil.safetensors").name == "oil"
    new = write_adapter(folder / "new.safetensors", 77)
    with pytest.raises(NotFound) as caught:
        filled.resolve(str(new))
    assert caught.value.hint == f"Add it: lorakit add {new}"
    (folder / "oil.safetensors").unlink()
    assert filled.resolve(str(folder / "oil.safetensors")).missing


def test_patterns(filled: Catalog) -> None:
    assert [record.name for record in filled.adapters("INK")] == ["ink", "ink-dark"]
    assert [record.name for record in filled.adapters("wa*")] == ["Wash", "wasp"]
    assert [record.name for record in filled.adapters("?il")] == ["oil"]
    assert filled.adapters("none") == []
    assert matches("a[1]", "[1]")


def named(names: list[str]) -> list[Named]:
    return [Named(row, name, f"{row:064x}", f"{row + 1000:064x}") for row, name in enumerate(names)]


NAMES = st.lists(st.text(min_size=1, max_size=8).map(normal), min_size=1, max_size=12, unique=True)


@given(NAMES, st.data())
def test_a_unique_beginning_always_finds_its_adapter(names: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(names))
    begin = wanted[: data.draw(st.integers(1, len(wanted)))]
    # A beginning may end inside a character that the composed form writes as one.
    assume(normal(begin) == begin and not begin.startswith("sha256:"))
    fitting = [name for name in names if name.startswith(begin)]
    if begin in names:
        assert pick(begin, named(names)).name == begin
    elif len(fitting) == 1:
        assert pick(begin, named(names)).name == wanted
    else:
        with pytest.raises(Ambiguous):
            pick(begin, named(names))


@given(NAMES, st.text(max_size=10))
def test_any_text_finds_one_or_says_why_not(names: list[str], text: str) -> None:
    with contextlib.suppress(Ambiguous, NotFound):
        assert pick(text, named(names)).name in names
