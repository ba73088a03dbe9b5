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
    parser.add_argument("--unit", type=int, help="whose corruption seed is taken (default: 0)")
    parser.add_argument("--corruption-seed", type=int, help="or a corruption seed of your own")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with a corruption")
    parser.add_argument("--out", type=Path, required=True, help="file that is written, ending in .hdf5")
    add_source_options(parser)
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".hdf5", ".h5"):
        raise UsageError(f"--out {options.out} must end in .hdf5")
    masks, audit = (options.out.with_name(options.out.name + end) for end in (".masks.npz", ".audit.json"))
    taken = [path for path in (options.out, masks, audit) if path.exists()]
    if taken:
        raise UsageError(f"--out {options.out}: {taken[0]} exists already, and nothing is overwritten")

    from corruptbench.corrupting import corrupt, corruption_seed, named_corruption
    from corruptbench.data.export import fields_of, masks_npz, rows_of_corrupted, write_hdf5
    from corruptbench.registry import load_plugin
    from corruptbench.store import pretty, probe_writable, write_file

    for path in options.plugin:
        load_plugin(path)
    named_corruption(options.corrupt)
    seed = corruption_seed(options.unit, options.corruption_seed)
    probe_writable(options.out.parent)
    loaded = load_rows(options)
    dataset = loaded.dataset()
    result = corrupt(dataset, options.corrupt, seed)
    digest = write_hdf5(options.out, fields_of(rows_of_corrupted(result, loaded.rows, loaded.space)))
    write_file(masks, masks_npz(result.masks))
    card = {
        "dataset": dataset.id,
        "dataset_sha256": dataset.sha256,
        "environment": dataset.environment.id,
        "corruption": options.corrupt,
        "unit": None if options.corruption_seed is not None else options.unit or 0,
        "corruption_seed": seed,
        "sha256": result.dataset.sha256,
        "file_sha256": digest,
        "audit": dict(result.audit),
    }
    write_file(audit, pretty(card).encode())
    print(f"{options.out}: {len(dataset):,} transitions, SHA-256 of the content {result.dataset.sha256}")
    return 0
