"""Trains the surrogate that a shipped dataset carries: python scripts/make_surrogate.py hopper-replay

Writes surrogate.safetensors and surrogate.json into the dataset's folder of corruptbench/assets. Its checkpoints lie
in .surrogate-<name> of the current folder, and the same command goes on from them.
"""

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from corruptbench.checkpoints import Checkpoints
from corruptbench.data import load
from corruptbench.surrogates import CHECKPOINT_EVERY, write_surrogate

torch.set_num_threads(1)
name = sys.argv[1]
checkpoints = Checkpoints(Path(f".surrogate-{name}"), CHECKPOINT_EVERY, anew=True)
write_surrogate(Path(__file__).parent.parent / "corruptbench" / "assets" / name, load(name), checkpoints)
checkpoints.remove()
