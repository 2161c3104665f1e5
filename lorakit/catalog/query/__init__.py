"""The query language: `parsing` reads a text, `conditions` and `compiling` turn it into SQL over an
index beside the catalog, which `refreshing` keeps up to date, and `searching` asks it.

Nothing is imported here: completion in a shell needs a part of it, and at once.
"""
