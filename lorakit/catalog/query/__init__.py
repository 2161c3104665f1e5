"""The query language: text to a query, a query to SQL over an index beside the catalog, and its answer."""

from lorakit.catalog.query.fields import FIELDS, Field
from lorakit.catalog.query.parsing import BadQuery, parse
from lorakit.catalog.query.searching import Search, Share, searching
from lorakit.catalog.query.syntax import Query

__all__ = ["FIELDS", "BadQuery", "Field", "Query", "Search", "Share", "parse", "searching"]
