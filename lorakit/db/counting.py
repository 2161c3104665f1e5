"""How often files and claims were written of, in a number that SQLite keeps for programs.

By it a reader knows at once whether either has changed, without counting rows; what people say is in
the journal. It is a part of each transaction, and whoever writes need not know of it.
"""

from __future__ import annotations

import re
from sqlite3 import Connection

READ = "PRAGMA user_version"
_WRITES = re.compile(r"(?:INSERT|UPDATE|DELETE)(?: \w+){0,3}? \W?(adapter|location|claim)\b")
# The lower bits count what is written of claims, the others what is of files.
_CLAIM_BITS = 15
_BITS = 31


def count_write(connection: Connection, statement: str) -> None:
    """Count a statement, if it writes of files or claims; in the transaction that it is a part of."""
    found = _WRITES.match(statement)
    if found is not None:
        (number,) = connection.execute(READ).fetchone()
        number += 1 if found[1] == "claim" else 1 << _CLAIM_BITS
        connection.execute(f"{READ} = {number % (1 << _BITS)}")


def counts(number: int) -> tuple[int, int]:
    """Of files, and of claims. They begin anew after many thousands, so only equality says anything."""
    return number >> _CLAIM_BITS, number % (1 << _CLAIM_BITS)
