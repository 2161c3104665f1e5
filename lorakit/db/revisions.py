"""The schema revisions this program knows, oldest first, without asking Alembic.

A new file in `migrations/versions/` needs its revision here; a test compares the two.
"""

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = REVISIONS[-1]
