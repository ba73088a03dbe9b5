"""The shipped surrogates, and how strong an attack against them is."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from corruptbench import surrogates
from corruptbench.algos.networks import init_mlp, mlp
from corruptbench.contract import apply
from corruptbench.data import ASSETS, load, shipped
from corruptbench.errors import IntegrityError
from corruptbench.frozen import Frozen
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import stream, unit_seeds
from corruptbench.store import read_json
from corruptbench.surrogates import surrogate_for
from corruptbench.types import Streams


@pytest.fixture(scope="module", params=sorted(shipped()))
def dataset(request):
    return load(request.param)


def test_a_shipped_surrogate_is_iql_on_the_clean_data_with_a_seed_of_its_own(dataset):
    card = read_json(ASSETS / dataset.id / surrogates.CARD)
    assert (card["algorithm"], card["steps"], card["dataset_sha256"]) == ("iql", 100_000, dataset.sha256)
    assert card["train_seed"] == surrogates.SEED
    assert card["train_seed"] not in {seed for unit in range(100) for seed in unit_seeds(unit)}
    assert surrogate_for(dataset).sha256 == card["sha256"]


def test_its_value_is_the_minimum_of_its_critics_on_raw_observations(dataset):
    surrogate = surrogate_for(dataset)
    s, a = torch.tensor(dataset.observations[:50]), torch.tensor(dataset.actions[:50])
    state, normalisation = surrogate.model.state, surrogate.model.normalisation
    x = torch.cat([(s - normalisation.mean) / normalisation.scale, a], -1)
    critics = []
    for k in range(2):
        w = [p[k] for p in state["critic"]]
        critics.append((torch.relu(torch.relu(x @ w[0] + w[1]) @ w[2] + w[3]) @ w[4] + w[5]).squeeze(-1))
    torch.testing.assert_close(surrogate.value(s, a), torch.minimum(*critics), rtol=1e-5, atol=1e-4)
    assert surrogate.policy(s).shape == a.shape
    assert surrogate.policy(s).abs().max() <= 1


def test_it_has_learned_which_states_are_worth_more(dataset):
    """Its value follows the discounted return that really came: not a network that merely has the right shape."""
    surrogate = surrogate_for(dataset)
    value = surrogate.value(torch.tensor(dataset.observations), torch.tensor(dataset.actions)).numpy()
    returns, following = np.zeros(len(dataset)), 0.0
    for i in range(len(dataset) - 1, -1, -1):
        last = i == len(dataset) - 1 or dataset.episodes[i + 1] != dataset.episodes[i]
        following = dataset.rewards[i] + 0.99 * (0.0 if last else following)
        returns[i] = following
    assert np.corrcoef(value, returns)[0, 1] > 0.5


@pytest.mark.parametrize("threat", ["obs-adv", "act-adv"])
def test_the_attack_lowers_the_value_at_least_twice_as_far_as_noise_of_the_same_budget(dataset, threat):
    """On every fifth row, of which a tenth is attacked."""
    corruption = CORRUPTIONS.get(threat)(rate=0.1)
    surrogate = surrogate_for(dataset)
    fewer = dataset.replace(**{f: getattr(dataset, f)[::5] for f in _fields(dataset)})
    audit = apply(corruption, threat, fewer, Streams(unit_seeds(0)[1]), surrogate).audit[corruption.element]
    attacked = audit["value_before"] - audit["value_after"]
    noise = audit["value_before"] - audit["value_under_noise"]
    assert attacked > 0
    assert attacked >= 2 * noise
    assert audit["surrogate_weak"] is False
    assert audit["largest_z"] <= 1


def test_a_changed_surrogate_is_an_error_that_names_the_file(hopper, tmp_path, monkeypatch):
    folder = tmp_path / "hopper-replay"
    folder.mkdir()
    for name in (surrogates.CARD, surrogates.WEIGHTS):
        (folder / name).write_bytes((ASSETS / "hopper-replay" / name).read_bytes())
    content = bytearray((folder / surrogates.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / surrogates.WEIGHTS).write_bytes(content)
    monkeypatch.setattr(surrogates, "ASSETS", tmp_path)
    with pytest.raises(IntegrityError, match=r"surrogate\.safetensors: its content is not what .*surrogate\.json says"):
        surrogate_for(hopper)


def test_a_dataset_without_one_gets_one_trained_announced_and_cached(hopper, monkeypatch, caplog):
    """With 20 steps instead of 100,000; another dataset has another place in the cache."""
    monkeypatch.setattr(surrogates, "STEPS", 20)
    fewer = hopper.replace(id="file:fewer.hdf5", **{f: getattr(hopper, f)[:500] for f in _fields(hopper)})
    with caplog.at_level("INFO"):
        first = surrogate_for(fewer)
    assert "no surrogate for file:fewer.hdf5 yet: training IQL on the clean data for 20 steps, once" in caplog.text
    caplog.clear()
    assert surrogate_for(fewer).sha256 == first.sha256
    assert not caplog.text
    other = fewer.replace(rewards=-fewer.rewards)
    assert surrogates.cache_folder(other) != surrogates.cache_folder(fewer)
    assert surrogate_for(other).sha256 != first.sha256


def _fields(dataset):
    return [f.name for f in dataclasses.fields(dataset) if isinstance(getattr(dataset, f.name), np.ndarray)]


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("sizes", [(4, 7, 5), (4, 6), (4,)], ids=str)
def test_a_frozen_network_is_the_network_and_skips_rows_without_a_gradient(sizes, outputs):
    """Against autograd through ``mlp``, first and second derivatives."""
    params = [p.double() for p in init_mlp(stream("frozen"), (*sizes, outputs))]
    x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = Frozen.apply(x, *params)
    expected = mlp(params, x)
    assert torch.allclose(out, expected, rtol=1e-13, atol=1e-15)
    for rows in ([], [3], [0, 4, 8], range(9)):
        weight = torch.zeros(9, outputs, dtype=torch.float64)
        weight[list(rows)] = torch.arange(1.0, outputs + 1, dtype=torch.float64) - 2.5
        (found,) = torch.autograd.grad((out * weight).sum(), x, retain_graph=True)
        (needed,) = torch.autograd.grad((expected * weight).sum(), x, retain_graph=True)
        assert torch.allclose(found, needed, rtol=1e-12, atol=1e-15)
        assert (found != 0).any(-1).sum() == len(rows)
    curved = [
        torch.autograd.functional.hessian(lambda x, f=f: f(x).square().sum(), x)
        for f in (lambda x: Frozen.apply(x, *params), lambda x: mlp(params, x))
    ]
    assert torch.allclose(*curved, rtol=1e-12, atol=1e-15)
    assert curved[0].abs().sum() > 0
    params[-2][0, 0] = math.inf  # inf times 0 is no number: a row that is skipped shows none
    (found,) = torch.autograd.grad(Frozen.apply(x, *params)[:5].sum(), x)
    assert torch.isfinite(found[5:]).all()
    with pytest.raises(ValueError, match="a frozen network has no gradient for its weights"):
        Frozen.apply(x, *(p.requires_grad_() for p in params))
