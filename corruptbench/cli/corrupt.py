"""``corruptbench corrupt``: the corrupted dataset in a form that any other library reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corruptbench.cli.parser import Parser
from corruptbench.cli.source import NAMES, add_plugin_timeout, add_source_options, load_rows, plugin_timeout
from corruptbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from corruptbench.corruptions import Corruption
    from corruptbench.environments import Space

_HDF5 = "HDF5 holds such data: --out FILE.hdf5"


def main(arguments: Sequence[str]) -> int:
    parser = Parser("corruptbench corrupt", "Writes a corrupted dataset as HDF5 or for Minari, with masks and audit.")
    parser.add_argument("--dataset", default="hopper-replay", help=NAMES)
    parser.add_argument("--corrupt", required=True, help="threat model, as obs-adv or obs-adv:rate=0.1,scale=0.5")
    parser.add_argument("--unit", type=int, help="whose corruption seed is taken (default: 0)")
    parser.add_argument("--corruption-seed", type=int, help="or a corruption seed of your own")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with a corruption")
    add_plugin_timeout(parser)
    parser.add_argument("--out", required=True, help="file that is written, ending in .hdf5, or minari:ID")
    parser.add_argument("--runs", type=Path, default=Path("results"), help="folder of the runs that surrogate= names")
    add_source_options(parser)
    options = parser.parse_args(arguments)

    from corruptbench.corrupting import computed_or_cached, corruption_seed, named_corruption, resolve
    from corruptbench.data.describe import audit_text
    from corruptbench.data.export import fields_of, rows_of_corrupted
    from corruptbench.registry import load_plugin

    target, timeout = Target(options.out), plugin_timeout(options)
    for path in options.plugin:
        load_plugin(path)
    target.check(named_corruption(options.corrupt)[1], options.corrupt)
    seed = corruption_seed(options.unit, options.corruption_seed)
    loaded = load_rows(options)
    dataset = loaded.dataset()
    found = resolve(dataset, options.corrupt, options.runs)
    result = computed_or_cached(found.corruption, found.spec, dataset, seed, found.surrogate, plugin_timeout=timeout)
    card = {
        "dataset": dataset.id,
        "dataset_sha256": dataset.sha256,
        "environment": dataset.environment.id,
        "corruption": found.spelling,
        "surrogate_sha256": found.spec.surrogate_sha256,
        "unit": None if options.corruption_seed is not None else options.unit or 0,
        "corruption_seed": seed,
        "sha256": result.dataset.sha256,
        "audit": dict(result.audit),
    }
    target.write(fields_of(rows_of_corrupted(result, loaded.rows, loaded.space)), result.masks, card, loaded.space)
    print(f"{options.out}: {len(dataset):,} transitions, SHA-256 of the content {result.dataset.sha256}")
    print(audit_text(result.audit), end="")
    return 0


class Target:
    """Where the corrupted dataset goes: an HDF5 file, or Minari's folder; what is there already is refused at once."""

    def __init__(self, out: str) -> None:
        from corruptbench.data import minari
        from corruptbench.store import probe_writable

        source, colon, name = out.partition(":")
        self.minari_id = name if colon and source == "minari" else None
        if self.minari_id is not None:
            minari.check_target(self.minari_id)
            return
        self.path = Path(out)
        if self.path.suffix not in (".hdf5", ".h5"):
            raise UsageError(f"--out {out} must end in .hdf5, or be minari:ID")
        for path in (self.path, *self.beside(self.path)):
            if path.exists():
                raise UsageError(f"--out {out}: {path} exists already, and nothing is overwritten")
        probe_writable(self.path.parent)

    def check(self, corruption: "Corruption", spelling: str) -> None:
        """Raises DataError before an attack is computed that Minari cannot hold."""
        apart = corruption.element in ("obs", "dyn", "mix") and getattr(corruption, "preset", "") != "rdt2025"
        if self.minari_id is not None and apart and corruption.rate > 0:
            raise DataError(
                f"minari:{self.minari_id}: under {spelling} the next observation is not the following row's "
                f"observation, and Minari stores none of their own; {_HDF5}"
            )

    @staticmethod
    def beside(path: Path) -> tuple[Path, Path]:
        """The files of the masks and of the audit."""
        return path.with_name(f"{path.name}.masks.npz"), path.with_name(f"{path.name}.audit.json")

    def write(self, fields: Mapping[str, Any], masks: Mapping[str, Any], card: dict[str, Any], box: "Space") -> None:
        """The data, then the masks and the audit beside them."""
        from corruptbench.data import minari
        from corruptbench.data.export import masks_npz, write_hdf5
        from corruptbench.store import pretty, write_file

        if self.minari_id is None:
            card["file_sha256"] = write_hdf5(self.path, fields)
            place = self.path
        else:
            try:
                place = minari.write(
                    self.minari_id, fields, env_id=card["environment"], action_low=box.low, action_high=box.high,
                    description=f"{card['dataset']} under {card['corruption']}, corrupted by CorruptBench",
                )  # fmt: skip
            except DataError as error:
                raise DataError(f"{error}; {_HDF5}") from error
            place = place / "data" / "corrupted"
        masks_path, audit_path = self.beside(place)
        write_file(masks_path, masks_npz(masks))
        write_file(audit_path, pretty(card).encode())
