"""Settings of version 0.1.0 and their names now, for runs that recorded them."""

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "data.neighbours": "data.neighbors",
    "model.options": "model.encoder_options",
    "model.pace_floor": "model.speed_floor",
    "model.own_pace": "model.own_speed",
    "model.rate": "model.condition_on_dt",
    "flow.equal": "flow.flow_ratio",
    "flow.target": "always the path's velocity; leave it out",
    "flow.start": "flow.lambda_start",
    "flow.end": "flow.lambda_end",
    "flow.rise": "flow.lambda_warmup",
    "flow.power": "flow.loss_power",
    "train.batch": "train.batch_size",
    "train.draws": "train.noise_samples",
    "train.rate": "train.lr",
    "train.decay": "train.weight_decay",
    "train.clip": "train.max_grad_norm",
    "train.stretch": "train.scale_jitter",
    "train.slower": "train.time_stretch=[LEAST, MOST]: slower=1 is [0.5, 1]",
    "train.tempo": "train.time_stretch=[LEAST, MOST]: tempo=1 is [0.5, 1]",
    "train.faster": "train.time_stretch=[LEAST, MOST]: faster=1 is [1, 2]",
    "train.reverse": "train.reverse_prob",
    "train.drop": "train.agent_dropout",
    "train.shorten": "train.history_dropout",
    "train.jitter": "train.position_noise",
    "train.temper": "train.choose_temperature",
    "choice": "the section samples",
}
"""Settings of version 0.1.0 and their names now."""
SAMPLES_RENAMED = {
    "batch": "batch_size",
    "rate": "lr",
    "ends": "endpoint_weight",
    "share": "window_share",
}
"""Settings of section "choice" in version 0.1.0 and their names in "samples"."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded values with the settings of version 0.1.0 renamed."""
    result = {
        "samples" if name == "choice" else name: dict(old) if isinstance(old, dict) else old
        for name, old in values.items()
    }
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        table = result.get(section)
        if not isinstance(table, dict) or name not in table:
            continue
        if name in ("slower", "tempo", "faster"):
            least, most = table.get("time_stretch", (1.0, 1.0))
            share = table.pop(name)
            least, most = (least, 1 + share) if name == "faster" else (1 / (1 + share), most)
            table["time_stretch"] = (least, most)
        elif new.startswith(f"{section}."):
            table[new.partition(".")[2]] = table.pop(name)
        elif table[name] is None:
            del table[name]
    if isinstance(samples := result.get("samples"), dict):
        for old, new in SAMPLES_RENAMED.items():
            if old in samples:
                samples[new] = samples.pop(old)
    return result
