"""The files that other programs keep beside a model's: read into facts, and written on request.

One file here a program. Readers take what was parsed and give `SidecarFacts`; whatever a file holds,
they raise nothing.
"""
