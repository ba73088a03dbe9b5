"""Files as a stranger would make them to do harm, each written below a folder of the test."""

import io
import itertools
import json
import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
from safetensors.numpy import save_file

ROWS, MANY = 12, 3000


def hostile_yaml(canary):
    """Name -> text that is refused."""
    laughs = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))
    return {
        "python object": f"a: !!python/object/apply:os.system ['touch {canary}']",
        "python name": "a: !!python/name:os.system",
        "tag": "a: !!binary aGVsbG8=",
        "billion laughs": f"a0: &a0 [lol, lol]\n{laughs}",
        "recursive alias": "a: &a [*a]",
        "unknown alias": "a: *b",
        "deep in brackets": "a: " + "[" * 5000 + "]" * 5000,
        "deep in lines": "\n".join(" " * i + "-" for i in range(400)),
        "many values": "a: [" + "1," * 20_000 + "]",
        "more than is read": "a: " + "a " * 200_000,
        "key twice": "a: 1\nb: 2\na: 3",
        "key twice inside": "a: {b: 1, b: 1}",
        "key that is no text": "? [a, b]\n: c",
        "infinite number": "a: 1e999",
        "endless number": "a: " + "9" * 5000,
        "control character": "a: \x07",
        "two documents": "a: 1\n---\na: 2",
        "not UTF-8": b"a: \xff",
    }


def hostile_json():
    return {
        "deep list": "[" * 100_000 + "]" * 100_000,
        "deep object": '{"a":' * 5_000 + "1" + "}" * 5_000,
        "deeper than is read": "[" * 65 + "]" * 65,
        "NaN": '{"a": NaN}',
        "Infinity": '{"a": -Infinity}',
        "1e999": '{"a": 1e999}',
        "long number": '{"a": ' + "9" * 1_000 + "}",
        "endless number": '{"a": ' + "9" * 100_000 + "}",
        "key twice": '{"a": 1, "a": 2}',
        "more than is read": "[" + "0," * 1_000_000 + "0]",
        "not UTF-8": b'{"a": "\xff"}',
    }


class Trap:
    """Unpickled, it writes the canary."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def steps(rows=ROWS):
    """Sound columns for Hopper-v5."""
    flags = np.zeros(rows, bool)
    flags[-1] = True
    return {
        "observations": np.ones((rows, 11), np.float32),
        "actions": np.zeros((rows, 3), np.float32),
        "rewards": np.ones(rows, np.float32),
        "next_observations": np.ones((rows, 11), np.float32),
        "terminals": flags,
        "timeouts": ~flags & False,
    }


def npy(values):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values)
    return buffer.getvalue()


def _npz(path, **members):
    """Sound but for the members that are given as bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**{k: npy(v) for k, v in steps().items()}, **members}.items():
            archive.writestr(f"{name}.npy", content)
    return path


def lying_npz(path):
    """A member that unpacks to 1 GB, of which the archive says that it has as many bytes as it should."""
    sound = steps(MANY)
    honest = npy(sound["rewards"])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(honest)
    for _ in range(64):
        packed += packer.compress(bytes(1 << 24))
    packed += packer.flush()
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in sound.items():
            archive.writestr(f"{name}.npy", packed if name == "rewards" else npy(values))
        infos = {info.filename: info for info in archive.infolist()}
        infos["rewards.npy"].compress_type = zipfile.ZIP_DEFLATED
        infos["rewards.npy"].file_size = len(honest)
        infos["rewards.npy"].CRC = zlib.crc32(honest)
        offset = infos["rewards.npy"].header_offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, offset + 8, zipfile.ZIP_DEFLATED)  # in the header beside the data as well
    path.write_bytes(content)
    return path


def _directory(path):
    """Many members without a byte, for each of which Python makes an object."""
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(30_000):
            archive.writestr(str(i), b"")
    return path


def _hdf5(path, name, **settings):
    """Sound but for one column."""
    with h5py.File(path, "w") as file:
        for column, values in steps().items():
            if column != name:
                file[column] = values
        if settings:
            file.create_dataset(name, **settings)
    return path


def _linked(path, link):
    with h5py.File(_hdf5(path, "rewards"), "a") as file:
        file["rewards"] = link
    return path


def _filled(path):
    """A column of 12 values in one chunk of 2 GB that packs to almost nothing."""
    shape = {"shape": (ROWS,), "maxshape": (None,), "dtype": "f4", "compression": "gzip"}
    return _hdf5(path, "rewards", **shape, chunks=(1 << 29,))


def hostile_data(folder, canary):
    """Name -> a file that is refused as a dataset."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    secret = folder / "secret.bin"
    secret.write_bytes(bytes(4 * ROWS))
    trap = np.array([Trap(canary)] * ROWS, object)
    (folder / "pickle.pt").write_bytes(pickle.dumps(Trap(canary)))
    (folder / "pickle.hdf5").write_bytes(pickle.dumps(Trap(canary)))
    (folder / "pickle.npz").write_bytes(pickle.dumps(Trap(canary)))
    references = {"shape": (ROWS,), "dtype": h5py.ref_dtype}
    zeros = {"shape": (1 << 28,), "dtype": "f4", "compression": "gzip", "chunks": (1 << 20,)}
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "<f4", "fortran_order": False, "shape": (1 << 26,)})
    bz2 = _npz(folder / "bz2.npz")
    with zipfile.ZipFile(bz2, "w", zipfile.ZIP_BZIP2) as archive:
        for name, values in steps().items():
            archive.writestr(f"{name}.npy", npy(values))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, trap, allow_pickle=True)
    return {
        "pt": folder / "pickle.pt",
        "pickle as HDF5": folder / "pickle.hdf5",
        "pickle as npz": folder / "pickle.npz",
        "npz of objects": _npz(folder / "objects.npz", rewards=buffer.getvalue()),
        "npz bomb": _npz(folder / "bomb.npz", final_observations=bomb.getvalue() + bytes(1 << 28)),
        "npz by bzip2": bz2,
        "npz of many": _directory(folder / "many.npz"),
        "external link": _linked(folder / "external.hdf5", h5py.ExternalLink(str(secret), "/rewards")),
        "external link to a pipe": _linked(folder / "pipe.hdf5", h5py.ExternalLink(str(fifo), "/rewards")),
        "soft link": _linked(folder / "soft.hdf5", h5py.SoftLink("/terminals")),
        "soft link in a circle": _linked(folder / "circle.hdf5", h5py.SoftLink("/rewards")),
        "external storage": _hdf5(
            folder / "storage.hdf5", "rewards", shape=(ROWS,), dtype="f4", external=[(str(secret), 0, 4 * ROWS)]
        ),
        "object references": _hdf5(folder / "references.hdf5", "rewards", **references),
        "text": _hdf5(folder / "text.hdf5", "rewards", shape=(ROWS,), dtype=h5py.string_dtype()),
        "terabytes": _hdf5(folder / "terabytes.hdf5", "rewards", shape=(10**13,), dtype="f4", chunks=(1024,)),
        "a gigabyte of nothing": _hdf5(folder / "nothing.hdf5", "final_observations", **zeros),
        "one chunk": _filled(folder / "chunk.hdf5"),
        "empty": _empty(folder / "empty.hdf5"),
    }


def _empty(path):
    path.write_bytes(b"")
    return path


def weights(path, algorithm="bc", options=None, **exchanged):
    """A small policy of ``bc`` on 11 observed values, some of its tensors exchanged."""
    sizes = (11, 4, 3)
    sound = {"normalisation.mean": np.zeros(11, np.float32), "normalisation.scale": np.ones(11, np.float32)}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        sound[f"actor.{2 * i}"] = np.zeros((inputs, outputs), np.float32)
        sound[f"actor.{2 * i + 1}"] = np.zeros((1, outputs), np.float32)
    tensors = {**sound, **{name.replace("_", "."): value for name, value in exchanged.items()}}
    header = json.dumps({"algorithm": algorithm, "options": {"hidden": [4]} if options is None else options})
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata={"corruptbench": header})
    return path


def hostile_weights(folder, canary):
    """Name -> a file that is refused as weights."""
    sound = weights(folder / "sound.safetensors").read_bytes()
    length = int.from_bytes(sound[:8], "little")
    nan = np.full((1, 3), np.nan, np.float32)
    (folder / "pickle.pt").write_bytes(pickle.dumps(Trap(canary)))
    found = {
        "header of 2**63 bytes": (1 << 63).to_bytes(8, "little") + sound[8:],
        "header of 50 MB": (50 << 20).to_bytes(8, "little") + b"{" + b" " * (50 << 20),
        "deep header": (60_000).to_bytes(8, "little") + b'{"a":' * 12_000,
        "truncated": sound[:-4],
        "truncated in its header": sound[: length // 2],
        "offsets out of the file": sound[:8] + sound[8:].replace(b"[0,", b"[9,", 1),
        "nothing": b"",
        "pickle": pickle.dumps(Trap(canary)),
    }
    paths = {}
    for i, (name, content) in enumerate(found.items()):
        paths[name] = folder / f"{i}.safetensors"
        paths[name].write_bytes(content)
    made = {
        "NaN": {"actor_3": nan},
        "float64": {"actor_3": np.zeros((1, 3))},
        "whole numbers": {"actor_3": np.zeros((1, 3), np.int64)},
        "other inputs": {"actor_0": np.zeros((12, 4), np.float32)},
        "layers that do not fit": {"actor_2": np.zeros((5, 3), np.float32)},
        "bias that would be broadcast": {"actor_1": np.zeros((100_000, 1), np.float32)},
        "a scalar": {"actor_0": np.zeros((), np.float32)},
        "no bias": {"actor_3": None},
        "scale of 0": {"normalisation_scale": np.zeros(11, np.float32)},
        "no normalisation": {"normalisation_mean": None},
        "a class of a module": {"algorithm": "hostile_module:Agent"},
        "an algorithm that is none": {"algorithm": ["bc"]},
        "options that are none": {"options": [1]},
        "an unknown option": {"options": {"entry_point": "os:system"}},
    }
    for i, (name, settings) in enumerate(made.items()):
        paths[name] = weights(folder / f"made{i}.safetensors", **settings)
    return {**paths, "pt": folder / "pickle.pt"}
