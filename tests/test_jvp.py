"""The derivative by hand is the derivative: of values, of slopes, and of their gradients."""

import pytest
import torch

from trajflow.flow.objectives import HasJVP, jvp
from trajflow.models.trajectory_model import ContextVelocity
from trajflow.nn.jvp import Dual, linear, rms_norm, silu
from trajflow.nn.velocity_net import VelocityNet

SAMPLES, AGENTS, EVENT, CONTEXT = 3, 5, 7, 6


@pytest.fixture
def scene():
    """A decoder that says something, contexts, and a point with a direction."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    torch.manual_seed(1)
    decoder = VelocityNet(EVENT, CONTEXT, width=8, depth=2).double()
    torch.nn.init.normal_(decoder.out_proj.weight)
    r = torch.rand(SAMPLES, AGENTS, dtype=torch.float64, generator=generator) / 2
    point = (draw(SAMPLES, AGENTS, EVENT), r, r + 0.3)
    direction = (draw(SAMPLES, AGENTS, EVENT), draw(SAMPLES, AGENTS), draw(SAMPLES, AGENTS))
    return decoder, draw(AGENTS, CONTEXT), point, direction


def velocity(decoder, context):
    return ContextVelocity(decoder, decoder.modulations(context))


def gradients(decoder, loss):
    return torch.autograd.grad(loss, list(decoder.parameters()), retain_graph=True)


def test_slope_and_gradients_are_those_of_forward_mode(scene):
    decoder, context, point, direction = scene
    u = velocity(decoder, context)
    assert isinstance(u, HasJVP)
    value, slope = jvp(u, point, direction)
    expected = torch.func.jvp(lambda *p: u(*p), point, direction)
    torch.testing.assert_close((value, slope), expected, rtol=0, atol=1e-12)
    mine = gradients(decoder, (value + 0.3 * slope).square().sum())
    theirs = gradients(decoder, (expected[0] + 0.3 * expected[1]).square().sum())
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_slope_is_the_limit_of_differences(scene):
    decoder, context, point, direction = scene
    u, step = velocity(decoder, context), 1e-6
    ahead, behind = (
        u(*(p + sign * step * d for p, d in zip(point, direction, strict=True))) for sign in (1, -1)
    )
    torch.testing.assert_close(jvp(u, point, direction)[1], (ahead - behind) / (2 * step))


def test_a_derivative_without_a_graph_is_the_same_and_has_no_gradient(scene):
    decoder, context, point, direction = scene
    u = velocity(decoder, context)
    full, still = (jvp(u, point, direction, graph) for graph in (True, False))
    torch.testing.assert_close(full, still, rtol=0, atol=1e-12)
    assert not still[1].requires_grad
    mine = gradients(decoder, still[0].square().sum())
    torch.testing.assert_close(mine, gradients(decoder, full[0].square().sum()))


def test_who_sees_the_others_is_differentiated_by_the_library():
    decoder = VelocityNet(EVENT, CONTEXT, width=8, depth=1, joint=True).double()
    torch.nn.init.normal_(decoder.out_proj.weight)
    context = torch.randn(2, AGENTS, CONTEXT, dtype=torch.float64)
    present = torch.ones(2, AGENTS, dtype=torch.bool)
    u = ContextVelocity(decoder, decoder.modulations(context), present, joint=True)
    x, r = torch.randn(2, AGENTS, EVENT, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    point, direction = (x, r, r + 1), (x.sin(), r, r + 1)
    assert u.jvp(point, direction, True) is None
    value, slope = jvp(u, point, direction)
    ahead = u(*(p + 1e-6 * d for p, d in zip(point, direction, strict=True)))
    torch.testing.assert_close(slope, (ahead - value) / 1e-6, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("create_graph", [False, True])
def test_each_layer_is_that_of_forward_mode(create_graph):
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4).double()
    norm = torch.nn.RMSNorm(6, elementwise_affine=False)
    x, dx = torch.randn(2, 5, 6, dtype=torch.float64)
    for mine, theirs in (
        (lambda d: linear(layer, d), layer),
        (lambda d: rms_norm(norm, d), norm),
        (silu, torch.nn.functional.silu),
        (lambda d: d * d + d, lambda v: v * v + v),
    ):
        found = mine(Dual(x, dx, create_graph))
        expected = torch.func.jvp(theirs, (x,), (dx,))
        torch.testing.assert_close((found.primal, found.tangent), expected, rtol=0, atol=1e-12)
