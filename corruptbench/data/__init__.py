"""Datasets: where they come from, the gate in front of them, and the rows of section 1."""

from corruptbench.data.sources import ASSETS, SOURCES, cache, home, id_of, load, load_rows, read_hdf5, shipped

__all__ = ["ASSETS", "SOURCES", "cache", "home", "id_of", "load", "load_rows", "read_hdf5", "shipped"]
