"""Minari's datasets: read without trusting what they say, written with Minari's own code.

A dataset is ``<root>/<id>/data/metadata.json`` and ``main_data.hdf5`` or, through Minari's code, Arrow or Parquet
files; an episode of T steps in HDF5::

    episode_7/observations  o0 o1 ... o(T-1) oT   (T + 1, ...), an array or a group of arrays
    episode_7/actions       a0 a1 ... a(T-1)      (T, ...), as rewards, terminations, truncations (T,)

Row t is (o_t, a_t, r_t, o_(t+1)). An environment is never made from the metadata: its entry point can run any command.
"""

from corruptbench.data.minari.places import default_root, local_ids
from corruptbench.data.minari.reading import read, require
from corruptbench.data.minari.writing import check_target, write

__all__ = ["check_target", "default_root", "local_ids", "read", "require", "write"]
