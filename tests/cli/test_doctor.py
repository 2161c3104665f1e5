import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.errors import BadFile
from lorakit.formats.hashing import FileHashes, hash_file
from lorakit.mounts import network_kind
from tests.catalog.factories import write_adapter, write_checkpoint
from tests.cli.conftest import Cli
from tests.cli.running import Ran

NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def found(ran: Ran, kind: str) -> list[dict[str, Any]]:
    """The findings of one kind in a JSON document."""
    return [one for one in ran.document["findings"] if one["kind"] == kind]


def named(ran: Ran, kind: str) -> list[str]:
    return [one["name"] for one in found(ran, kind)]


def change_silently(path: Path) -> None:
    """Flip a bit, and leave size and time as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_sound_catalog_is_said_to_be_so_and_stays_as_it_is(
    cli: Cli, folder: Path, home: Path
) -> None:
    cli("add", folder)
    before = (home / "catalog.db").read_bytes()
    ran = cli("doctor", "--verify")
    assert (ran.code, ran.err, ran.lines) == (
        0,
        "",
        ["2 adapters, 2 files read. Nothing is wrong."],
    )
    ran = cli("doctor", "--json")
    assert ran.code == 0
    assert ran.document == {
        "schema": "lorakit/doctor/1",
        "sound": True,
        "adapters": 2,
        "verified": None,
        "findings": [],
    }
    assert (cli("doctor", "-q").code, cli("doctor", "-q").out) == (0, "")
    assert (home / "catalog.db").read_bytes() == before


def test_what_a_look_at_the_files_tells(cli: Cli, folder: Path) -> None:
    write_adapter(folder / "oil.safetensors", 3)
    cli("add", folder)
    (folder / "wash.safetensors").unlink()
    os.utime(folder / "oil.safetensors", ns=(1, 1))
    ran = cli("doctor", "--json")
    assert (ran.code, ran.document["sound"]) == (1, False)
    assert (named(ran, "missing"), named(ran, "changed")) == (["wash"], ["oil"])
    assert len(ran.document["findings"]) == 2
    assert cli("doctor", "-q").lines == ["oil", "wash"]
    shown = cli("doctor")
    assert "Missing files" in shown.out
    assert f"wash: last seen at {folder}" in " ".join(shown.out.split())
    assert "lorakit scan" in shown.out
    # Only what was asked for; a time alone is no harm.
    ran = cli("doctor", "--verify", "oil", "--json")
    assert (ran.code, ran.document["adapters"], ran.document["verified"]) == (0, 1, 1)
    assert [one["kind"] for one in ran.document["findings"]] == ["touched"]
    assert cli("doctor", "rank:4", "missing:no", "-q").lines == ["oil"]


def test_a_missing_file_is_said_to_lie_where_it_was_last(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    now = folder / "ink.safetensors"
    for name in ("z", "a", "m"):
        now = now.rename(folder / f"{name}.safetensors")
        cli("scan")
    now.unlink()
    (one,) = found(cli("doctor", "--json"), "missing")
    assert (one["name"], one["path"]) == ("ink", str(now))


def test_a_silent_change_is_found_recorded_on_request_and_what_was_said_is_kept(
    cli: Cli, folder: Path
) -> None:
    cli("add", folder)
    cli("note", "ink", "--rating", "5")
    content = next(
        one["tensor_sha256"]
        for one in cli("ls", "--json").document["adapters"]
        if one["name"] == "ink"
    )
    change_silently(folder / "ink.safetensors")
    assert cli("scan", "-q").code == 0
    assert cli("doctor").code == 0
    ran = cli("doctor", "--verify", "--json")
    assert (ran.code, named(ran, "silent")) == (1, ["ink"])
    assert "other weights" in found(ran, "silent")[0]["text"]
    assert "--verify --update" in " ".join(cli("doctor", "--verify").out.split())
    ran = cli("doctor", "--verify", "--update", "--json")
    assert (ran.code, named(ran, "recorded"), named(ran, "silent")) == (0, ["ink"], [])
    listed = {one["name"]: one for one in cli("ls", "--json").document["adapters"]}
    assert listed["ink"]["tensor_sha256"] != content
    assert (listed["ink-2"]["tensor_sha256"], listed["ink-2"]["missing"]) == (content, True)
    assert cli("ls", "rating:5", "-q").lines == ["ink-2"]
    ran = cli("doctor", "--verify", "--json")
    assert (ran.code, named(ran, "replaced")) == (0, ["ink-2"])


def test_header_edits_damage_and_links_are_told_apart(cli: Cli, folder: Path) -> None:
    for seed, name in enumerate(("cut", "empty", "other", "plain"), start=3):
        write_adapter(folder / f"{name}.safetensors", seed)
    (folder / "link.safetensors").symlink_to(folder / "plain.safetensors")
    cli("add", folder)
    write_adapter(folder / "ink.safetensors", 1, {"modelspec.title": "Ink"})
    data = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(data[:-3])
    (folder / "empty.safetensors").write_bytes(b"")
    write_checkpoint(folder / "other.safetensors")
    ran = cli("doctor", "--verify", "--json")
    assert ran.code == 1
    assert sorted(named(ran, "damaged")) == ["cut", "empty"]
    told = {one["name"]: one["text"].rpartition(": ")[2] for one in found(ran, "altered")}
    assert told == {"ink": "its header was edited", "other": "it holds other weights"}
    assert {one["kind"] for one in ran.document["findings"]} == {"damaged", "altered"}
    assert ran.document["verified"] == 7
    ran = cli("doctor", "--verify", "--update", "--json")
    assert (ran.code, named(ran, "recorded")) == (1, ["ink"])
    # What holds no adapter cannot be recorded as one.
    assert named(ran, "altered") == ["other"]


def test_hashes_that_contradict_the_data(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    ink = cli("ls", "ink", "--json").document["adapters"][0]["tensor_sha256"]
    write_adapter(folder / "made.safetensors", 5, {"sshs_model_hash": ink})
    write_adapter(folder / "void.safetensors", 6, {"modelspec.hash_sha256": f"0x{NOTHING}"})
    write_adapter(folder / "spec.safetensors", 7, {"modelspec.hash_sha256": f"0x{'ab' * 32}"})
    write_adapter(folder / "true.safetensors", 1, {"modelspec.hash_sha256": f"0x{ink.upper()}"})
    cli("add", folder)
    ran = cli("doctor", "--json")
    assert ran.code == 0
    assert {one["name"]: one["text"].rpartition(": ")[2] for one in found(ran, "inherited")} == {
        "made": "that of ink",
        "spec": "abababababab...",
    }
    assert [one["text"] for one in found(ran, "header")] == ["ink, true"]


def test_copies_and_files_of_other_programs_are_remarks(cli: Cli, folder: Path) -> None:
    (folder / "deep").mkdir()
    shutil.copy(folder / "ink.safetensors", folder / "deep" / "ink.safetensors")
    (folder / "hard.safetensors").hardlink_to(folder / "wash.safetensors")
    (folder / "wash.sha256").write_text("ab" * 32)
    cli("add", folder)
    ran = cli("doctor", "--json")
    assert (ran.code, named(ran, "copy")) == (0, ["ink"])
    (beside,) = found(ran, "sidecar")
    assert (Path(beside["path"]).name, beside["problem"]) == ("wash.safetensors", False)
    assert "wash.sha256 describes another file" in beside["text"]


def test_bases_covers_and_the_place_of_the_catalog(stocked: Cli, models: Path, home: Path) -> None:
    cover = home / "covers" / f"{'0' * 64}.png"
    cover.parent.mkdir(exist_ok=True)
    cover.touch()
    assert stocked("doctor").code == 0
    os.utime(models / "base.safetensors", ns=(1, 1))
    ran = stocked("doctor", "--json")
    assert (ran.code, named(ran, "base")) == (1, ["own"])
    assert "changed" in found(ran, "base")[0]["text"]
    assert [one["path"] for one in found(ran, "cover")] == [str(cover)]
    (models / "base.safetensors").unlink()
    assert "missing" in found(stocked("doctor", "--json"), "base")[0]["text"]


def test_a_database_and_an_audit_that_were_tampered_with(
    cli: Cli, folder: Path, home: Path
) -> None:
    cli("add", folder)
    cli("export", "ink:1")
    with closing(sqlite3.connect(home / "catalog.db")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(
            "INSERT INTO location (adapter_id, path, size, mtime_ns, inode, device, state, seen_at) "
            "VALUES (99, '/x', 1, 1, 1, 1, 'present', '2026-01-01T00:00:00.000000Z')"
        )
        connection.execute(
            "INSERT INTO audit (at, action, verdict, subject, previous, hash) "
            "VALUES ('2026-01-01T00:00:00.000000Z', 'a', 'b', '{}', 'x', 'y')"
        )
    ran = cli("doctor", "--json")
    assert ran.code == 1
    assert "of location belongs to no row of adapter" in found(ran, "database")[0]["text"]
    assert len(found(ran, "audit")) == 1
    assert "license audit --verify" in cli("doctor").out


def test_a_damaged_page_is_told_and_ends_nothing_early(
    cli: Cli, tmp_path: Path, home: Path
) -> None:
    for seed in range(60):
        write_adapter(tmp_path / "many" / f"{seed:02}.safetensors", seed)
    cli("add", tmp_path / "many")
    with closing(sqlite3.connect(home / "catalog.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'ix_location_adapter_id'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with (home / "catalog.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    ran = cli("doctor", "--json")
    assert (ran.code, ran.err) == (1, "")
    assert found(ran, "database")


def test_update_needs_verify(cli: Cli) -> None:
    cli("doctor", "--update").failed_with(2, "--verify")


def test_names_that_do_not_exist_are_an_error(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    cli("doctor", "--verify", "nobody").failed_with(1, "nobody")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/catalog.db", None),
        ("/mnt/nas share/home/catalog.db", "nfs4"),
        ("/mnt/nas share/local/catalog.db", None),
        ("/mnt/nas", None),
        ("/mnt/été/catalog.db", "cifs"),
    ],
)
def test_network_folders_are_told_by_their_mounts(path: str, kind: str | None) -> None:
    lines = [
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        r"40 22 0:50 / /mnt/nas\040share rw shared:2 master:1 - nfs4 nas:/x rw,vers=4.2",
        r"41 40 8:2 / /mnt/nas\040share/local rw - ext4 /dev/sdb rw",
        "42 22 0:51 / /mnt/été rw - cifs //nas/y rw",
        "not a mount",
    ]
    assert network_kind(path, "\n".join(lines).encode()) == kind


def test_a_file_that_may_not_be_read_is_not_counted_as_read(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("add", folder)

    def refuse(path: Path, *rest: Any) -> FileHashes:
        if path.stem == "ink":
            raise BadFile(f"{path} cannot be read: Permission denied.")
        return hash_file(path, *rest)

    monkeypatch.setattr("lorakit.catalog.verifying.hash_file", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: "ink" not in str(path))
    ran = cli("doctor", "--verify", "--json")
    assert (ran.document["adapters"], ran.document["verified"]) == (2, 1)
    assert named(ran, "unreadable") == ["ink"]


def test_many_are_written_with_commas_for_people_and_without_for_programs(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("add", folder)
    monkeypatch.setattr(Catalog, "missing_count", lambda catalog: 1500)
    assert "1,500: lorakit ls missing:yes" in cli("scan").out
    assert cli("scan", "--json").document["missing"] == 1500
    everyone = Catalog.adapters
    monkeypatch.setattr(Catalog, "adapters", lambda catalog: everyone(catalog) * 750)
    assert cli("doctor").lines == ["1,500 adapters. Nothing is wrong."]
    assert cli("doctor", "--json").document["adapters"] == 1500
