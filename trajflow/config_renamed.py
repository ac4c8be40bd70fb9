"""Other names of settings: those of version 0.1.0, of other libraries, and misspelt ones."""

import difflib
from collections.abc import Mapping, Sequence
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
SYNONYMS = {
    "lr": "learning_rate learningrate base_lr max_lr",
    "epochs": "epoch n_epochs num_epochs max_epochs",
    "updates": "max_steps num_steps n_steps iterations max_iter max_iters n_iter",
    "batch_size": "batch batchsize bs train_batch_size",
    "weight_decay": "decay wd l2",
    "max_grad_norm": "clip grad_clip clip_grad gradient_clip gradient_clip_val clip_grad_norm",
    "patience": "early_stopping early_stop early_stopping_patience",
    "time_limit": "timeout max_time time_budget",
    "precision": "dtype amp fp16 mixed_precision",
    "seed": "random_state random_seed",
    "width": "hidden hidden_size hidden_dim hidden_units d_model embed_dim embedding_dim",
    "decoder_depth": "layers num_layers n_layers depth blocks",
    "encoder": "backbone architecture network",
    "history": "past obs_len obs_length lookback input_size context_length history_length",
    "horizon": "future pred_len prediction_length forecast_horizon output_size future_steps",
    "fractions": "val_size test_size val_fraction val_split validation_split train_size",
    "neighbors": "max_neighbors num_neighbors max_agents",
    "preset": "objective loss criterion",
}
"""Names of settings in other libraries, by the last part of their name here."""
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


def nearest(where: Sequence[str], names: Sequence[str]) -> str:
    """The setting that was probably meant: of this name or a synonym of it, or a similar one."""
    section, word = ".".join(where[:-1]), where[-1].lower()
    last = {name: name.rpartition(".")[2] for name in names}
    own = [name for name in names if name.rpartition(".")[0] == section]
    for group in (own, names):
        for name in group:
            if word in (last[name], *SYNONYMS.get(last[name], "").split()):
                return name
    for group in (own, names):
        if near := difflib.get_close_matches(word, [last[name] for name in group], 1, 0.6):
            return next(name for name in group if last[name] == near[0])
    return ""
