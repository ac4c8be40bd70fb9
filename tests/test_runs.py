"""Facts about run folders and the weights in them."""

import os
from dataclasses import asdict

import pytest
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError, RunError, StorageError
from trajflow.io import write_whole
from trajflow.models.serialization import pack, pack_state, unpack
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.runs import CONFIG, RunFolder, run_data


def tiny():
    torch.manual_seed(0)
    return TrajectoryModel(Architecture(8, 12, width=16, decoder_width=24, decoder_depth=1))


def test_a_folder_keeps_its_settings_record_and_events(tmp_path):
    config = Config.load(None, ["train.epochs=3"])
    folder = RunFolder.create(tmp_path / "run", config, {"dt": 0.4})
    folder.append({"event": "step", "loss": 1.5})
    again = RunFolder.open(tmp_path / "run" / "events.jsonl")
    assert again.config == config
    assert again.read_record() == {"dt": 0.4}
    assert list(again.events()) == [{"event": "step", "loss": 1.5}]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path):
    folder = RunFolder.create(tmp_path / "run", Config(), {})
    folder.append({"event": "step"})
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"event": "st')
    assert len(list(folder.events())) == 1


def test_a_folder_is_never_written_over(tmp_path):
    RunFolder.create(tmp_path / "run", Config(), {})
    with pytest.raises(RunError, match="--resume"):
        RunFolder.create(tmp_path / "run", Config(), {})


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder.open(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "Disk full")))
    with pytest.raises(StorageError, match=r"disk full.*unchanged"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_come_back_with_their_architecture_and_facts():
    model = tiny()
    copy, facts = unpack(pack(model, {"dt": 0.4, "unit": "m"}), "here")
    assert facts == {"dt": 0.4, "unit": "m"}
    assert copy.architecture == model.architecture
    assert all(
        torch.equal(a, b)
        for a, b in zip(copy.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_weights_of_version_0_1_0_open_with_their_former_names():
    model = tiny()
    former = {
        "normalizer.displacement_scale": "scaling.unit",
        "normalizer.": "scaling.",
        "velocity_net.in_proj": "decoder.enter",
        "velocity_net.out_proj": "decoder.leave",
        "velocity_net.context_embed": "decoder.by_context",
        "velocity_net.time_embed": "decoder.by_time",
        "velocity_net.context_modulation": "decoder.from_context",
        "velocity_net.time_modulation": "decoder.from_time",
        "velocity_net.": "decoder.",
    }
    state = {}
    for name, value in model.state_dict().items():
        now = next((start for start in former if name.startswith(start)), "")
        state[former.get(now, "") + name.removeprefix(now)] = value
    shape = asdict(model.architecture)
    names = {"encoder_options": "options", "speed_floor": "pace_floor"}
    names |= {"own_speed": "own_pace", "condition_on_dt": "rate"}
    shape = {names.get(name, name): value for name, value in shape.items()}
    copy, _ = unpack(pack_state(state, {"architecture": shape, "dt": 0.4}), "here")
    assert copy.architecture == model.architecture
    for name, value in model.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)


def test_no_flipped_bit_passes():
    content = pack(tiny(), {"dt": 0.4})
    torch.manual_seed(0)
    for position in torch.randint(len(content) * 8, (60,)).tolist():
        broken = bytearray(content)
        broken[position // 8] ^= 1 << position % 8
        with pytest.raises(RunError, match="weights-here"):
            unpack(bytes(broken), "weights-here")


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"x" * 100, (2**60).to_bytes(8, "little")])
def test_strange_bytes_are_refused(content):
    with pytest.raises(RunError, match="strange"):
        unpack(content, "strange")


def test_a_run_of_version_0_1_0_keeps_its_settings_under_their_new_names(tmp_path):
    folder = RunFolder.create(str(tmp_path / "run"), Config(), {})
    old = """
        [data]
        reach = 2
        neighbours = 5
        [model]
        pace_floor = 0.5
        rate = true
        [model.options]
        depth = 3
        [flow]
        power = 0.25
        equal = 0.5
        [train]
        batch = 40
        rate = 0.002
        slower = 1.0
        faster = 0.5
        temper = false
        [choice]
        count = 6
        rate = 0.01
        share = 0.25
    """
    folder.write(CONFIG, old.encode())
    found = RunFolder.open(tmp_path / "run").config
    assert found.data.neighbors == 5
    assert (found.model.speed_floor, found.model.condition_on_dt) == (0.5, True)
    assert dict(found.model.encoder_options) == {"depth": 3}
    assert (found.flow.loss_power, found.flow.flow_ratio) == (0.25, 0.5)
    assert (found.train.batch_size, found.train.lr) == (40, 0.002)
    assert found.train.time_stretch == (0.5, 1.5)
    assert not found.train.choose_temperature
    kept = found.samples
    assert (kept.count, kept.lr, kept.window_share) == (6, 0.01, 0.25)
    with pytest.raises(ConfigError, match=r"train\.rate is now train\.lr"):
        Config.from_dict({"train": {"rate": 0.002}})


def test_a_run_that_was_split_in_time_stays_so_where_agents_would_be_chosen_now(store_of, tmp_path):
    store = store_of({"hall": ("all", [range(100)] * 40)})
    shares = {"fractions": (0.5, 0.3, 0.2)}
    assert TrackData(store, history=8, horizon=14, **shares).split.kind == "agent"
    config = Config.from_dict({"data": {"history": 8, "horizon": 14, **shares}})
    record = {"store": store.fingerprint(), "split": {"kind": "time"}}
    folder = RunFolder.create(tmp_path / "run", config, record)
    assert run_data(store, folder).split.kind == "time"


def test_the_tempo_of_a_run_of_version_0_1_0_is_its_time_stretch(tmp_path):
    folder = RunFolder.create(str(tmp_path / "run"), Config(), {})
    folder.write(CONFIG, b"[train]\ntempo = 1.0\n")
    assert RunFolder.open(tmp_path / "run").config.train.time_stretch == (0.5, 1.0)
