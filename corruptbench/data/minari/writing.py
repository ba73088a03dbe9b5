"""Writes a dataset of Minari's with Minari's own code."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from corruptbench.data.minari.places import appearing, check_id, default_root, minari_at
from corruptbench.data.rows import discontinuities
from corruptbench.errors import DataError, UsageError


def check_target(dataset_id: str, root: Path | None = None) -> None:
    """Raises UsageError for what is no id, for one that exists, and for one inside another dataset."""
    check_id(dataset_id)
    if len(Path(dataset_id).parent.as_posix()) == 1 and "/" in dataset_id:
        raise UsageError(f"minari:{dataset_id}: Minari's namespaces have two characters and more")
    root = root or default_root()
    if os.path.lexists(root / dataset_id):
        raise UsageError(f"minari:{dataset_id} is in {root} already, and nothing is overwritten: choose another id")
    for folder in Path(dataset_id).parents[:-1]:
        if (root / folder / "data").exists():
            raise UsageError(f"minari:{dataset_id} would lie inside the dataset minari:{folder.as_posix()}")


def write(
    dataset_id: str,
    fields: Mapping[str, np.ndarray],
    *,
    env_id: str,
    action_low: ArrayLike,
    action_high: ArrayLike,
    description: str,
    author: str = "",
    author_email: str = "",
    algorithm_name: str = "",
    code_permalink: str = "",
    root: Path | None = None,
) -> Path:
    """Writes the fields of :func:`read` as a Minari dataset, whole or not at all, and returns its folder.

    An episode ends at a terminal or a timeout, its final observation is the next observation of its last row. Where the
    data end before their last episode does, it is written as truncated there. Actions are in the environment's own
    units, ``action_low`` and ``action_high`` ``(da,)`` are their bounds. ``read`` gives every field back to the byte.

    Raises UsageError for what is no id and for one that exists, DataError where next observations do not go on inside
    an episode, which Minari cannot store, ResourceError where the disk does not allow it.
    """
    root = root or default_root()
    check_target(dataset_id, root)
    ends = fields["terminals"] | fields["timeouts"]
    if not len(ends):
        raise DataError(f"minari:{dataset_id}: there is nothing to write")
    found = discontinuities(fields["observations"], fields["next_observations"], ends)
    if found.count:
        raise DataError(f"minari:{dataset_id}: {found.sentence()}, and Minari stores none of their own")
    import gymnasium
    import minari

    stops = np.flatnonzero(np.append(ends[:-1], True)) + 1
    truncations = fields["timeouts"].copy()
    truncations[-1] |= not ends[-1]
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.concatenate([fields["observations"][a:b], fields["next_observations"][b - 1 : b]]),
            actions=fields["actions"][a:b],
            rewards=fields["rewards"][a:b],
            terminations=fields["terminals"][a:b],
            truncations=truncations[a:b],
        )
        for a, b in zip([0, *stops[:-1]], stops, strict=True)
    ]
    # Given a name or a specification as ``env``, Minari would make the environment: both are noted afterwards.
    spec = gymnasium.registry.get(env_id)
    with appearing(dataset_id, root) as temporary, minari_at(temporary):
        observed, acted = fields["observations"], fields["actions"]
        low, high = (np.broadcast_to(bound, acted.shape[1:]).astype(acted.dtype) for bound in (action_low, action_high))
        try:
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                eval_env=spec,
                algorithm_name=algorithm_name or None,
                author=author or None,
                author_email=author_email or None,
                code_permalink=code_permalink or None,
                observation_space=gymnasium.spaces.Box(-np.inf, np.inf, observed.shape[1:], observed.dtype.type),
                action_space=gymnasium.spaces.Box(low, high, dtype=acted.dtype.type),
                description=description,
                data_format="hdf5",
            )
        except ValueError as error:  # Minari is stricter with some ids
            raise UsageError(f"minari:{dataset_id} cannot be written: {' '.join(str(error).split())}") from error
        dataset.storage.update_metadata({"env_id": env_id} | ({"env_spec": spec.to_json()} if spec else {}))
    return root / dataset_id
