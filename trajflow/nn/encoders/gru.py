"""A recurrent network that starts when the agent appears."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trajflow.nn.encoders import Encoder, register_encoder


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

    The state stays exactly zero until then, so the last state is the context.
    """

    SHUT = 1e4
    """What the update gate is given before: its sigmoid is 1 in any precision."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__(gru.hidden_size)
        # On no device, so that no random numbers are drawn for weights that are replaced.
        self.gru = nn.GRU(gru.input_size + 1, self.width, batch_first=True, device="meta")
        state = {name: value.detach() for name, value in gru.state_dict().items()}
        gate = state["weight_ih_l0"].new_zeros(3 * self.width, 1)
        gate[self.width : 2 * self.width] = self.SHUT
        state["weight_ih_l0"] = torch.cat((state["weight_ih_l0"], gate), 1)
        self.gru.load_state_dict(state, assign=True)
        self.gru.requires_grad_(False)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H], from past [N, T, ...] and seen [N, T]."""
        flag = seen.to(past.dtype)
        before = (flag.cumsum(1) == 0).to(past.dtype)
        steps = torch.cat((past.where(seen[..., None], 0), flag[..., None], before[..., None]), -1)
        context: Tensor = self.gru(steps)[1][0]
        return context
