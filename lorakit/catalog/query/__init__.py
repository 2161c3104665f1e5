"""The query language: `parsing` reads a text, `conditions` and `compiling` ask it of the `pages` of
an index beside the catalog, which `refreshing` keeps up to date; `searching` is the way in.

Nothing is imported here: completion in a shell needs a part of it, and at once.
"""
