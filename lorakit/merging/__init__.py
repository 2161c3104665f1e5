"""Adapters into one adapter: exact factors, their singular values, methods of merging, the result."""
