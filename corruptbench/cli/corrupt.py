"""``corruptbench corrupt``: the corrupted dataset as a file, for use with any other library."""

from collections.abc import Sequence
from pathlib import Path

from corruptbench.cli.parser import Parser
from corruptbench.cli.source import NAMES, add_source_options, load_rows
from corruptbench.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench corrupt", "Writes a corrupted dataset as HDF5 in D4RL's keys, with masks and audit.")
    parser.add_argument("--dataset", default="hopper-replay", help=NAMES)
    parser.add_argument("--corrupt", required=True, help="threat model, as obs-adv or obs-adv:rate=0.1,scale=0.5")
    parser.add_argument("--unit", type=int, default=0, help="whose corruption seed is taken")
    parser.add_argument("--corruption-seed", type=int, help="or a corruption seed of your own")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with a corruption")
    parser.add_argument("--out", type=Path, required=True, help="file that is written, ending in .hdf5")
    add_source_options(parser)
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".hdf5", ".h5"):
        raise UsageError(f"corrupt: --out {options.out} must end in .hdf5")
    if options.out.exists():
        raise UsageError(f"corrupt: --out {options.out} exists already, and nothing is overwritten")

    from corruptbench.corrupting import corrupt, named_corruption
    from corruptbench.data.export import fields_of, masks_npz, rows_of_dataset, write_hdf5
    from corruptbench.registry import load_plugin
    from corruptbench.store import pretty, probe_writable, write_file

    for path in options.plugin:
        load_plugin(path)
    named_corruption(options.corrupt)
    probe_writable(options.out.parent)
    loaded = load_rows(options)
    dataset = loaded.dataset()
    _, result = corrupt(dataset, options.corrupt, options.unit, options.corruption_seed)
    digest = write_hdf5(options.out, fields_of(rows_of_dataset(result.dataset, loaded.space)))
    write_file(options.out.with_suffix(".masks.npz"), masks_npz(result.masks))
    card = {
        "dataset": dataset.id,
        "dataset_sha256": dataset.sha256,
        "environment": dataset.environment.id,
        "corruption": options.corrupt,
        "unit": None if options.corruption_seed is not None else options.unit,
        "corruption_seed": options.corruption_seed,
        "sha256": result.dataset.sha256,
        "file_sha256": digest,
        "audit": dict(result.audit),
    }
    write_file(options.out.with_suffix(".audit.json"), pretty(card).encode())
    print(f"{options.out}: {len(dataset):,} transitions, SHA-256 of the content {result.dataset.sha256}")
    return 0
