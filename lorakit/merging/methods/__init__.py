"""The methods of merging, one a file; table.py says what there is, and from which paper."""
