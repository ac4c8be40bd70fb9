import numpy as np
import pytest

from trajflow.datasets.synthetic import make, ode
from trajflow.datasets.synthetic.ode import SYSTEMS

SMALL = {"val": 1, "test": 1, "steps": 21}


def test_a_spiral_runs_as_its_formula():
    for block in make("ode", system="spiral", noise=0.0, train=3, val=1, test=1, ood=2).blocks:
        values = ode.parameters(block.scene)
        z = block.position @ [1, 1j]
        exact = z[0] * np.exp((-values["decay"] + 1j * values["spin"]) * block.time)
        np.testing.assert_allclose(z, exact, atol=1e-7)


def test_hunters_and_prey_keep_their_constant():
    for block in make("ode", system="lotka", noise=0.0, train=3, val=1, test=1, ood=2).blocks:
        values = ode.parameters(block.scene)
        prey, hunters = (block.position + 1.0).T
        kept = prey - values["death"] * np.log(prey) + hunters - values["birth"] * np.log(hunters)
        np.testing.assert_allclose(kept, kept[0], atol=1e-7)


def test_strange_scenes_have_parameters_that_training_never_shows():
    blocks = list(make("ode", **SMALL, train=20, ood=20).blocks)
    assert {block.types[0] for block in blocks} == set(SYSTEMS)
    for block in blocks:
        system = SYSTEMS[block.types[0]]
        ranges = system.ood_range if block.split == "ood" else system.train_range
        values = ode.parameters(block.scene)
        assert values.keys() == ranges.keys()
        assert all(low <= values[key] <= high for key, (low, high) in ranges.items())
    for system in SYSTEMS.values():
        for key, (low, high) in system.train_range.items():
            assert system.ood_range[key][0] > high or system.ood_range[key][1] < low


def test_lorenz_is_solid_alone_and_flat_among_others():
    alone, among = (
        make("ode", **SMALL, system="lorenz", train=3, ood=2, noise=0.0),
        make("ode", **SMALL, train=3, ood=2, noise=0.0),
    )
    assert (alone.dims, among.dims) == (3, 2)
    flat = {block.scene: block.position for block in among.blocks}
    for block in alone.blocks:
        assert block.types == ["lorenz"]
        np.testing.assert_array_equal(block.position[:, [0, 2]], flat[block.scene])


def test_noise_has_the_width_of_its_option():
    still, noisy = (make("ode", **SMALL, train=40, ood=2, noise=n).blocks for n in (0.0, 0.1))
    apart = np.concatenate([a.position - b.position for a, b in zip(still, noisy, strict=True)])
    assert apart.std() == pytest.approx(0.1, rel=0.05)
