"""The methods of merging, one a file; method_table.py says what there is, and from which paper."""
