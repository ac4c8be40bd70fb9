"""A recurrent network that starts when the agent appears."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trajflow.nn.encoders import Encoder, register_encoder
from trajflow.nn.layers import linear_of


@register_encoder("gru")
class GRUEncoder(Encoder):
    """A gated recurrent unit over the steps since the agent was first seen.

    Each row is moved so that its first seen step comes first, hence the steps before it do not
    matter, not even their number. A later gap enters as zeros with a flag: the gates learn how
    far to carry the state over it, and the fused kernel runs over all steps at once, which
    holding the state step by step would not allow.

    Source: Cho et al., 2014, Learning Phrase Representations using RNN Encoder-Decoder.

    Args:
        channels: How many features a step has.
        width: Length H of a context.
        depth: Layers.
        dropout: Share of values dropped between layers while training.
    """

    def __init__(self, channels: int, width: int, depth: int = 1, dropout: float = 0.0) -> None:
        super().__init__(width)
        if depth == 1 and dropout > 0:
            raise ValueError("dropout acts between layers; set depth to 2 or dropout to 0")
        self.gru = nn.GRU(channels + 1, width, depth, batch_first=True, dropout=dropout)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H], from past [N, T, ...] and seen [N, T]."""
        steps = torch.cat((past.where(seen[..., None], 0), seen[..., None].to(past.dtype)), -1)
        first = seen.int().argmax(1, keepdim=True)  # 0 for an agent that was never seen
        last = past.shape[1] - 1
        index = (torch.arange(last + 1, device=past.device) + first).clamp(max=last)
        states = self._states(steps.gather(1, index[..., None].expand_as(steps)))
        context: Tensor = states.gather(1, (last - first)[..., None].expand(-1, 1, self.width))
        return context[:, 0]

    def _states(self, steps: Tensor) -> Tensor:
        """The last layer's states, [N, T, H]."""
        gru = self.gru
        if not (self.training and gru.dropout):
            states: Tensor = gru(steps)[0]
            return states
        # The fused kernel hides its dropout from a training that draws it for a whole batch.
        for number, weights in enumerate(gru.all_weights):
            steps = functional.dropout(steps, gru.dropout) if number else steps
            start = steps.new_zeros(1, len(steps), self.width)
            steps = torch.gru(steps, start, tuple(weights), True, 1, 0.0, True, False, True)[0]
        return steps

    def folded(self) -> Encoder:
        """The same network without moving rows: one more input holds the state at zero."""
        return FoldedGRUEncoder(self.gru) if self.gru.num_layers == 1 else self


class FoldedGRUEncoder(Encoder):
    """A `GRUEncoder` of one layer whose update gate stays shut until the agent is first seen.

    The state stays exactly zero until then, so the last state is the context. The steps are written
    out, which is faster than the layers of torch and ONNX Runtime: the products with the input are
    one, the first step has none with the state, and gates are computed by vector instructions.
    """

    SHUT = 1e4
    """What the update gate is given before: its sigmoid is 1 in any precision."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__(gru.hidden_size)
        width, state = self.width, {name: one.detach() for name, one in gru.state_dict().items()}
        gates = slice(2 * width)  # reset and update; behind them is the candidate
        gate = state["weight_ih_l0"].new_zeros(3 * width, 1)
        gate[width : 2 * width] = self.SHUT
        into, bias = state["bias_ih_l0"].clone(), state["bias_hh_l0"].clone()
        into[gates] += bias[gates]
        bias[gates] = 0
        self.enter = linear_of(torch.cat((state["weight_ih_l0"], gate), 1), into)
        self.recur = linear_of(state["weight_hh_l0"].clone(), bias)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H], from past [N, T, ...] and seen [N, T].

        Unseen steps of the past must be zero.
        """
        flag = seen.to(past.dtype)
        before = (flag.cumsum(1) == 0).to(past.dtype)
        steps = torch.cat((past, flag[..., None], before[..., None]), -1).transpose(0, 1)
        length, width = int(past.shape[1]), self.width
        entered = self.enter(steps.reshape(-1, self.enter.in_features))
        entered = entered.reshape(length, -1, 3 * width)
        gates, candidates = torch.split(entered, [2 * width, width], -1)
        reset, update = torch.split(gates[0].sigmoid(), width, -1)
        candidate = (candidates[0] + reset * self.recur.bias[2 * width :]).tanh()
        state = candidate - update * candidate
        for step in range(1, length):
            gate, inner = torch.split(self.recur(state), [2 * width, width], -1)
            reset, update = torch.split((gates[step] + gate).sigmoid(), width, -1)
            candidate = torch.addcmul(candidates[step], reset, inner).tanh()
            state = torch.addcmul(candidate, update, state - candidate)
        return state
