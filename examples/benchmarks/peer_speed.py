"""Time of a forecast beside published methods: 20 futures of one agent and of 64 agents, on a CPU.

    python examples/benchmarks/peer_speed.py CHECKOUTS [RUN|MODEL.onnx ...] -o results

CHECKOUTS is a folder with clones of https://github.com/lssiair/TUTR, xupei0610/SocialVAE,
MediaBrain-SJTU/LED and DSL-Lab/MoFlow (which needs `pip install einops`); one that is missing is
left out and named. Networks have the sizes that the authors' settings for zara1 (LED: NBA) give and
random weights, which are as fast as trained ones. Only the network and its sampling are timed, and
not the preparation of its input; of our own models it is the whole `predict`. Every method runs in
a process of its own with one thread; all are timed in turns, so ratios hold on a busy machine too.

    TUTR       8 + 12 steps, 61 agents that are near; the 20 best of 70 modes
    SocialVAE  8 + 12 steps, 60 neighbors, 20 plain draws (published figures cluster 1000)
    MoFlow     8 + 12 steps, 20 futures of its one-step student; it knows one other agent, not 60
    LED        10 + 20 steps, 5 denoising steps; it forecasts all agents of a scene, 61 or 64

The picture has the minADE on ETH/UCY: measured here for `trajflow`, published (`peers.toml`, with
the split that each method selected on) for the others.
"""

import argparse
import json
import multiprocessing
import sys
import time
import tomllib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch

from trajflow.latency import Model, untrained_predictor, walkers

Forecast = Callable[[], object]
NEIGHBORS, SAMPLES = 60, 20
TURN = 0.5
"""Seconds after which a turn ends, whatever the number of its forecasts."""
PUBLISHED = {"TUTR": "TUTR", "SocialVAE": "SocialVAE with FPC", "MoFlow": "MoFlow"}
"""Name in peers.toml of each method with a minADE on ETH/UCY."""
OWN_MIN_ADE = {None: 0.251, "learned": 0.204}
"""Of plain draws and learned samples, mean of five folds and three seeds; see docs/results.md."""


class Method(NamedTuple):
    """A clone of a published method, or a model of ours with a way to choose samples."""

    name: str
    checkout: Path | None = None
    model: Path | None = None
    select: str | None = None


class Settings(dict[str, Any]):
    """Settings of MoFlow, which reads them as attributes and as items."""

    __getattr__ = dict.__getitem__


def tutr(agents: int) -> Forecast:
    """TUTR of Shi et al. (2023)."""
    from model import TrajectoryModel

    network = TrajectoryModel(2, 8, 12, 64, 2, [1, 1], 4, 2).eval()
    past, modes = torch.randn(agents, 8, 2), torch.randn(70, 12, 2)
    near, mask = torch.randn(agents, 1 + NEIGHBORS, 8, 2), torch.ones(agents, 61, 61)
    return lambda: network(past, near, modes, mask, None, test=True, num_k=SAMPLES)


def socialvae(agents: int) -> Forecast:
    """SocialVAE of Xu et al. (2022)."""
    from social_vae import SocialVAE

    network = SocialVAE(12, ob_radius=2, hidden_dim=256).eval()
    past, near = torch.randn(8, agents, 6), torch.randn(8, agents, NEIGHBORS, 6)
    return lambda: network(past, near, SAMPLES)


def moflow(agents: int) -> Forecast:
    """The one-step student of MoFlow, Fu et al. (2025)."""
    from models.backbone_eth_ucy import ETHIMLETransformer

    encoder = {"NAME": "ETHEncoder", "AGENTS": 2, "D_MODEL": 128, "NUM_ATTN_LAYERS": 4}
    decoder = {"NAME": "MTRDecoder", "D_MODEL": 128, "NUM_DECODER_BLOCKS": 4, "NUM_ATTN_HEAD": 8}
    sizes = Settings(
        NUM_PROPOSED_QUERY=SAMPLES,
        MODEL_OUT_DIM=24,
        REGRESSION_MLPS=[128, 256, 24],
        CONTEXT_ENCODER=Settings(encoder, NUM_ATTN_HEAD=8),
        MOTION_DECODER=Settings(decoder),
    )
    settings = Settings(objective="set", denoising_head_preds=SAMPLES)
    quiet = SimpleNamespace(info=lambda text: None)
    network = ETHIMLETransformer(sizes, quiet, settings).eval()
    past = {"past_traj_original_scale": torch.randn(agents, 2, 8, 6)}
    return lambda: network(past, num_to_gen=1)


def led(agents: int) -> Forecast:
    """LED of Mao et al. (2023): an initial guess of 20 futures and five denoising steps."""
    names = {"NBADataset": None, "seq_collate": None, "Config": None, "print_log": None}
    for module in ("data.dataloader_nba", "utils.config", "utils.utils"):
        sys.modules[module] = SimpleNamespace(**names)  # type: ignore[assignment]
    from models.model_diffusion import TransformerDenoisingModel
    from models.model_led_initializer import LEDInitializer
    from trainer.train_led_trajectory_augment_input import Trainer

    together = max(agents, 1 + NEIGHBORS)
    sampler = Trainer.__new__(Trainer)
    sampler.model = TransformerDenoisingModel().eval()
    sampler.betas = sampler.make_beta_schedule("linear", 100, 1e-4, 5e-2)
    sampler.alphas = 1 - sampler.betas
    sampler.one_minus_alphas_bar_sqrt = (1 - torch.cumprod(sampler.alphas, 0)).sqrt()
    first_guess = LEDInitializer(t_h=10, d_h=6, t_f=20, d_f=2, k_pred=SAMPLES).eval()
    past, mask = torch.randn(together, 10, 6), torch.ones(together, together)

    def run() -> object:
        futures, mean, scale = first_guess(past, mask)
        width = futures.std(dim=1).mean(dim=(1, 2))[:, None, None, None]
        start = torch.exp(scale / 2)[..., None, None] * futures / width + mean[:, None]
        return sampler.p_sample_loop_accelerate(past, mask, start)

    return run


PEERS: dict[str, Callable[[int], Forecast]] = {
    "TUTR": tutr,
    "SocialVAE": socialvae,
    "MoFlow": moflow,
    "LED": led,
}


def own_name(path: Path | None) -> str:
    """The row of a run or an exported model."""
    facts = Model(path).facts(1)
    if facts["backend"] != "onnx":
        return "trajflow in torch" if path else "trajflow in torch, untrained"
    return "trajflow exported" + (", int8" if facts["precision"] == "int8" else "")


def own(method: Method, agents: int) -> Forecast:
    """The whole `predict` of a run or an exported model, or of an untrained network."""
    predictor = Model(method.model).load(1) if method.model else untrained_predictor()
    tracks = walkers(agents + NEIGHBORS, predictor.history, predictor.dims)
    options = {"samples": SAMPLES, "seed": 1, "select": method.select}
    return lambda: predictor.predict(tracks[:agents], tracks[agents:], **options)


def serve(method: Method, agents: int, pipe: Connection) -> None:
    """Forecast as often as the other end of the pipe says, and answer with the milliseconds."""
    torch.set_num_threads(1)
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # some peers move to a GPU in their code
    if method.checkout:
        sys.path.insert(0, str(method.checkout))
    run = PEERS[method.name](agents) if method.checkout else own(method, agents)
    with torch.inference_mode():
        run()
        pipe.send("ready")
        while calls := pipe.recv():
            times, end = [], time.perf_counter() + TURN
            while not times or (len(times) < calls and time.perf_counter() < end):
                began = time.perf_counter()
                run()
                times.append(1e3 * (time.perf_counter() - began))
            pipe.send(times)


def measure(methods: list[Method], agents: int, rounds: int) -> list[dict[str, float]]:
    """Milliseconds of a forecast of so many agents by each method, in turns."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for method in methods:
        pipe, other = spawn.Pipe()
        process = spawn.Process(target=serve, args=(method, agents, other), daemon=True)
        process.start()
        other.close()
        pipes.append(pipe)
        processes.append(process)
    for method, pipe in zip(methods, pipes, strict=True):
        try:
            pipe.recv()
        except EOFError:
            sys.exit(f"{method.name} did not start; its error is above")
    times: list[list[float]] = [[] for _ in methods]
    for done in range(rounds):
        for own_times, pipe in zip(times, pipes, strict=True):
            pipe.send(5)
            own_times += pipe.recv()
        print(f"\r{agents} agents: round {done + 1} of {rounds} ", end="", file=sys.stderr)
    print(file=sys.stderr)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(0)
        process.join()
    return [{"p50_ms": float(np.median(row)), "least_ms": min(row)} for row in times]


def published() -> dict[str, tuple[float, str]]:
    """The published minADE of each method on ETH/UCY, and the split that it selected on."""
    text = Path(__file__).with_name("peers.toml").read_text(encoding="utf-8")
    rows = {
        row["method"]: row for row in tomllib.loads(text)["peer"] if row["benchmark"] == "ethucy"
    }
    return {
        name: (rows[method]["mean"]["min_ade"], rows[method]["selected_on"])
        for name, method in PUBLISHED.items()
    }


def draw(rows: list[dict], target: Path) -> None:
    """Errors over milliseconds per agent: measured figures are filled, published ones hollow."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for row in rows:
        if row["min_ade"] is None:
            continue
        ours = row["min_ade_from"] == "measured"
        ms = row["64 agents"]["p50_ms"] / 64
        face = "tab:blue" if ours else "none"
        axes.plot(ms, row["min_ade"], "o", color="tab:blue" if ours else "tab:gray", mfc=face)
        text = row["method"].removeprefix("trajflow ") if ours else f"{row['method']} (published)"
        axes.annotate(
            text, (ms, row["min_ade"]), (3, 5), textcoords="offset points", rotation=35, fontsize=8
        )
    axes.set(
        xscale="log", xlabel="ms per agent, 64 agents at once, one core", ylabel="minADE of 20, m"
    )
    axes.margins(0.1, 0.6)
    axes.set_xlim(right=3 * axes.get_xlim()[1])  # room for the last name
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=150)


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = [
        "| method | 1 agent: median ms (least) | 64 agents | minADE, m | selected on |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        one, many = row["1 agents"], row["64 agents"]
        error = "-" if row["min_ade"] is None else f"{row['min_ade']:.3g} ({row['min_ade_from']})"
        lines.append(
            f"| {row['method']} | {one['p50_ms']:.3g} ({one['least_ms']:.3g}) "
            f"| {many['p50_ms']:.3g} ({many['least_ms']:.3g}) | {error} | {row['selected_on']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Time all methods and write peer_speed.json, .md and .png."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkouts", type=Path, help="folder with clones of the methods")
    parser.add_argument("models", type=Path, nargs="*", help="runs and exported models of ours")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--learned", action="store_true", help="time learned samples of them too")
    parser.add_argument("--rounds", type=int, default=40, help="turns of five forecasts each")
    options = parser.parse_args()
    methods = []
    for path in options.models or [None]:
        name = own_name(path)
        methods += [Method(name, model=path)]
        methods += [Method(f"{name}, learned samples", None, path, "learned")] * options.learned
    for name in PEERS:
        if (options.checkouts / name).is_dir():
            methods.append(Method(name, options.checkouts / name))
        else:
            print(f"no {options.checkouts / name}: left out", file=sys.stderr)
    times = {count: measure(methods, count, options.rounds) for count in (1, 64)}
    errors, rows = published(), []
    for place, method in enumerate(methods):
        error, split = errors.get(method.name, (None, "-"))
        if not method.checkout:
            error, split = OWN_MIN_ADE[method.select], "val"
        rows.append(
            {"method": method.name, "min_ade": error, "selected_on": split}
            | {"min_ade_from": "published" if method.checkout else "measured"}
            | {f"{count} agents": times[count][place] for count in times}
        )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "peer_speed.json").write_text(json.dumps(rows, indent=1))
    (options.out / "peer_speed.md").write_text(table(rows) + "\n")
    draw(rows, options.out / "peer_speed.png")
    print(table(rows))


if __name__ == "__main__":
    main()
