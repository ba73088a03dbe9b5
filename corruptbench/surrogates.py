"""The models that attacks are computed against: IQL trained on the clean dataset (section 2).

The shipped datasets ship theirs. For any other it is trained, announced, and kept in the cache under its full key.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corruptbench.algos.agent import State, options_of
from corruptbench.algos.iql import IQL
from corruptbench.algos.networks import PLAIN, Kind, mlp
from corruptbench.bars import progress
from corruptbench.checkpoints import Checkpoints
from corruptbench.data import ASSETS, cache
from corruptbench.engine import resolve_engine
from corruptbench.errors import IntegrityError, UsageError
from corruptbench.frozen import Frozen, layers_of
from corruptbench.links import without_links
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.registry import source_sha256
from corruptbench.resume import Resumable, Training
from corruptbench.rng import PROTOCOL, seed_from
from corruptbench.spec import AlgorithmSpec
from corruptbench.store import claimed, key_of, pretty, publish, read_json, sha256_file
from corruptbench.train import Learner, Policy
from corruptbench.trained import trained_run
from corruptbench.types import TransitionDataset
from corruptbench.versions import platform, versions
from corruptbench.weights import load_weights, save_weights

log = logging.getLogger(__name__)

STEPS = 100_000
SEED = seed_from(f"{PROTOCOL}/surrogate/train")
WEIGHTS, CARD = "surrogate.safetensors", "surrogate.json"

CHECKPOINT_EVERY = 5_000

TRAINED_BY = ("algos", "train", "step", "engine", "once", "batches", "resume", "optimizers", "numerics", "rng")
"""Modules and packages whose source decides the bytes of a trained surrogate."""


@dataclass(frozen=True)
class TrainedCritics:
    """The critics and the actor of a trained algorithm, on raw observations."""

    model: Policy
    sha256: str

    def critics(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Q_k(s, a): ``(batch, do)``, ``(batch, da)`` -> ``(batch, K)``.

        One critic after the other, in place where nothing is lost: an attack asks for them again and again.
        """
        return self._each(_network, observations, actions)

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        """What the algorithm trusts, of IQL min_k Q_k(s, a): ``(batch, do)``, ``(batch, da)`` -> ``(batch,)``.

        Its slope takes the critics' backward passes by the rows that it depends on. torch.func works on
        :meth:`critics`, not here.
        """
        plain = self.model.agent.network_kind == PLAIN
        q = self._each(_frozen if plain else _network, observations, actions)
        return self.model.agent.statistic(q.transpose(-1, -2))

    def policy(self, observations: Tensor) -> Tensor:
        """The actor's actions: ``(batch, do)`` -> ``(batch, da)``."""
        return self.model.agent.act(self.model.state, self.model.normalisation(observations))

    def _each(self, network: "Network", observations: Tensor, actions: Tensor) -> Tensor:
        """Every critic's outputs by one way to compute a network, ``(batch, K)``."""
        x = torch.cat([self.model.normalisation(observations), actions], -1)
        critics, kind = zip(*self.model.state["critic"], strict=True), self.model.agent.network_kind
        return torch.stack([network(params, x, kind).squeeze(-1) for params in critics], -1)


Network = Callable[[Sequence[Tensor], Tensor, Kind], Tensor]
"""Parameters and ``(batch, inputs)`` to ``(batch, outputs)``."""


def _network(params: Sequence[Tensor], x: Tensor, kind: Kind) -> Tensor:
    return layers_of(params, x)[-1] if kind == PLAIN else mlp(list(params), x, kind)


def _frozen(params: Sequence[Tensor], x: Tensor, kind: Kind) -> Tensor:
    found: Tensor = Frozen.apply(x, *params)
    return found


def surrogate_for(dataset: TransitionDataset) -> TrainedCritics:
    """The dataset's surrogate: shipped, cached, or trained now."""
    shipped = _read(ASSETS / dataset.id, dataset)
    if shipped:
        return shipped
    folder = cache_folder(dataset)
    work = folder.with_name(f".{folder.name}")
    with claimed(work):
        try:
            cached = _read(folder, dataset)
        except IntegrityError as error:
            log.warning("%s; training it again", error)
            cached = None
        if cached:
            return cached
        log.info("no surrogate for %s yet: training IQL on the clean data for %d steps, once", dataset.id, STEPS)
        checkpoints = Checkpoints(work, CHECKPOINT_EVERY, anew=True)
        publish(folder, lambda temporary: write_surrogate(temporary, dataset, checkpoints), replace=True)
        checkpoints.remove()
    trained = _read(folder, dataset)
    assert trained is not None
    return trained


def is_at_hand(dataset: TransitionDataset) -> bool:
    """Whether :func:`surrogate_for` would find the dataset's surrogate."""
    try:
        return any(_read(folder, dataset) for folder in (ASSETS / dataset.id, cache_folder(dataset)))
    except IntegrityError:
        return False


def _read(folder: Path, dataset: TransitionDataset) -> TrainedCritics | None:
    """The surrogate in a folder, None where there is none of the dataset; raises IntegrityError for a damaged one."""
    path, card = folder / WEIGHTS, folder / CARD
    if not card.is_file():
        return None
    found = read_json(card)
    if not isinstance(found, dict) or found.get("dataset_sha256") != dataset.sha256:
        return None
    if not path.is_file() or sha256_file(path) != found.get("sha256"):
        raise IntegrityError(f"{path}: its content is not what {card} says")
    return TrainedCritics(load_weights(path), found["sha256"])


def surrogate_of_run(name: str, dataset: TransitionDataset, results: Path) -> tuple[TrainedCritics, str]:
    """The critics of a finished run, named by its folder or by its id below ``results``, and its id.

    Raises UsageError for what is no run, has no critics, or has others than the dataset needs; IntegrityError for a
    folder that is damaged.
    """
    where = f"surrogate={name}"
    found = trained_run(name, results, where)
    record, model, weights = found.record, found.model, found.weights
    critic = require_critics(model.state, record.spec.algorithm.name, where)
    needed = dataset.observations.shape[1] + dataset.actions.shape[1]
    if critic[0].shape[-2] != needed:
        raise UsageError(f"{where}: its critics take {critic[0].shape[-2]} values, and {dataset.id} has {needed}")
    if record.spec.dataset_sha256 != dataset.sha256:
        log.info("%s was trained on %s, and not on the data that are attacked", where, record.spec.dataset)
    digest, source = sha256_file(weights), source_sha256(type(model.agent))
    if source:  # what a plug-in makes of its critics is in its file, not in its weights
        digest = hashlib.sha256(f"{digest} {source}".encode()).hexdigest()
    return TrainedCritics(model, digest), record.run_id


def require_critics(state: State, algorithm: str, where: str) -> list[Tensor]:
    """The critics of an algorithm's state; raises UsageError where it has none."""
    critic = state.get("critic")
    if not critic or critic[0].ndim != 3:
        raise UsageError(f"{where}: {algorithm} has no critics to attack")
    return critic


def cache_folder(dataset: TransitionDataset) -> Path:
    """Where a trained surrogate is kept, below the cache, under everything that its bytes depend on."""
    return without_links(cache(), cache() / "surrogates" / key_of(_key(dataset, resolve_engine("auto"))))


def _key(dataset: TransitionDataset, engine: str) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "dataset_sha256": dataset.sha256,
        "train_seed": SEED,
        "steps": STEPS,
        "engine": engine,
        **platform(*TRAINED_BY),
        "threads": 1,
    }


def write_surrogate(
    folder: Path, dataset: TransitionDataset, checkpoints: Checkpoints, *, engine: str = "auto"
) -> None:
    """Trains IQL on the clean dataset with the surrogate's own seed and writes weights and card into ``folder``."""
    agent, threads = IQL(), torch.get_num_threads()
    torch.set_num_threads(1)  # whatever the run that needs it uses: another number gives other last bits
    try:
        learner = Learner(agent, Optimizer(), dataset, seed=SEED, steps=STEPS, engine=engine)
        training = Training([Resumable(learner, checkpoints, _key(dataset, learner.engine))], learner)
        begin = learner.step
        with progress(total=STEPS, initial=begin, unit="step", desc="surrogate", smoothing=0.05) as bar:
            training.reach(STEPS, bar.update)
    finally:
        torch.set_num_threads(threads)
    save_weights(folder / WEIGHTS, learner.policy(), AlgorithmSpec("iql", options_of(agent)), ("critic", "actor"))
    card = {
        "algorithm": "iql",
        "dataset": dataset.id,
        "dataset_sha256": dataset.sha256,
        "train_seed": SEED,
        "steps": STEPS,
        "sha256": sha256_file(folder / WEIGHTS),
        "versions": versions(),
        "execution": {"device": "cpu", "engine": learner.engine, "threads": 1},
    }
    (folder / CARD).write_text(pretty(card))
