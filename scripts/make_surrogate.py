"""Trains the surrogate that a shipped dataset carries: python scripts/make_surrogate.py hopper-replay

Writes surrogate.safetensors and surrogate.json into the dataset's folder of corruptbench/assets.
"""

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from corruptbench.data import load
from corruptbench.surrogates import write_surrogate

torch.set_num_threads(1)
name = sys.argv[1]
write_surrogate(Path(__file__).parent.parent / "corruptbench" / "assets" / name, load(name))
