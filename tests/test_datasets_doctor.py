"""The doctor finds what was planted in a store, and nothing in a sound one."""

import json

import numpy as np
import pandas as pd
import pytest

from trajflow.datasets.doctor import check, doctor
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter

DT = 0.4


def walks(agents=12, rows=30, speed=1.2, seed=0):
    """Positions of people who walk and sway, [K, N, 2]."""
    chance = np.random.default_rng(seed)
    heading = chance.uniform(0, 6.3, (agents, 1)) + chance.normal(0, 0.2, (agents, rows)).cumsum(1)
    way = np.stack((np.cos(heading), np.sin(heading)), -1) * speed * DT
    return (way * chance.uniform(0.8, 1.2, (agents, rows, 1))).cumsum(1)


@pytest.fixture
def stored(tmp_path):
    """Writes scenes, positions [K, N, 2] each, and returns the store."""

    def make(scenes, *, unit="m", kind="pedestrian", step=None, split="all", report=None):
        path = tmp_path / "s.zarr"
        with StoreWriter(path, dims=2, dt=DT, unit=unit, overwrite=True) as writer:
            for name, places in scenes.items():
                agents, rows, _ = places.shape
                time = DT * (np.arange(rows) if step is None else step)
                writer.append(
                    TrackBlock(
                        scene=name,
                        labels=list(range(agents)),
                        types=[kind] * agents,
                        rowsize=np.full(agents, rows),
                        time=np.tile(time, agents),
                        position=places.reshape(-1, 2),
                        split=split if isinstance(split, str) else np.tile(split, agents),
                    )
                )
            writer.report = report or {}
        return open_store(path)

    return make


def found(store, **options):
    return {finding.code: finding for finding in doctor(store, **options)}


SOUND = {name: walks(seed=seed) for seed, name in enumerate("abcd")}


def test_a_sound_store_has_no_complaint(stored):
    findings = doctor(stored(SOUND))
    assert {(f.code, f.level) for f in findings} >= {("unit", "ok"), ("windows", "ok")}
    assert [f.message for f in findings if f.level != "ok"] == []


@pytest.mark.parametrize(
    ("unit", "scale", "level", "told"),
    [
        ("m", 40, "warning", "not plausible for pedestrian"),
        ("unknown", 1, "warning", "speeds look like m"),
        ("unknown", 40, "warning", "speeds look like px"),
        ("px", 40, "ok", "px/s"),
        ("degree", 40, "error", "latitude"),
    ],
)
def test_speeds_that_do_not_fit_the_unit_are_told(stored, unit, scale, level, told):
    finding = found(stored({name: scale * places for name, places in SOUND.items()}, unit=unit))
    assert finding["unit"].level == level
    assert told in finding["unit"].message


def test_a_scene_with_another_clock_is_told(stored):
    finding = found(stored(SOUND | {"b": walks(speed=1.2 / 0.4, seed=1)}))["clock"]
    assert finding.level == "note"
    assert list(finding.details["ratio"]) == ["b"]
    assert finding.details["ratio"]["b"] == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize(("skipped", "level"), [(0, "ok"), (1, "note"), (6, "warning")])
def test_gaps_are_counted(stored, skipped, level):
    step = np.delete(np.arange(30 + skipped), np.arange(2, 2 + 3 * skipped, 3))
    finding = found(stored(SOUND, step=step))["time"]
    assert (finding.level, finding.details["gaps"]) == (level, 48 * skipped)


def test_a_jump_is_told_with_the_agent(stored):
    places = walks()
    places[5, 20:] += 300
    finding = found(stored(SOUND | {"c": places}))["jumps"]
    assert finding.level == "warning"
    assert "1 agents jump" in finding.message
    assert "5 of c" in finding.message


def test_a_label_that_comes_back_far_away_is_told(stored):
    step = np.concatenate((np.arange(15), np.arange(115, 130)))
    places = walks(agents=3)
    places[1, 15:] += 60
    store = stored({"a": places}, step=step)
    assert "1 of a" in found(store)["labels"].message
    assert found(store)["labels"].details == {"agents": 1}


def test_standing_agents_are_counted(stored):
    places = walks()
    chance = np.random.default_rng(5)
    places[:7] = places[:7, :1] + chance.normal(0, 0.01, (7, 30, 2))
    finding = found(stored({"a": places}))["standing"]
    assert finding.level == "note"
    assert finding.details == {"agents": 12, "standing": 7}


def test_frozen_and_ruled_stretches_are_told(stored):
    frozen, ruled = walks(), walks()
    frozen[:, 10:18] = frozen[:, 9:10]
    ruled[:, 10:26] = ruled[:, 9:10] + np.arange(1, 17)[:, None] * (0.25, 0.5)
    assert found(stored({"a": frozen}))["filled"].details["frozen"] == pytest.approx(8 / 29)
    finding = found(stored({"a": ruled}))["filled"]
    assert finding.level == "warning"
    assert finding.details["linear"] == pytest.approx(15 / 29)


def test_agents_in_two_parts_and_copies_are_told(stored):
    store = stored({"a": walks(), "b": walks(seed=1)}, split=["train"] * 20 + ["val"] * 10)
    finding = found(store)["parts"]
    assert (finding.level, finding.details) == ("note", {"scenes": 2, "agents": 24})
    twin = walks(seed=1)
    twin[3] = walks()[7]
    copies = found(stored({"a": walks(), "b": twin}))["copies"]
    assert (copies.level, copies.details) == ("warning", {"copies": 1})


def test_windows_are_counted_by_part(stored):
    store = stored(SOUND, split=["train"] * 24 + ["val"] * 6)
    finding = found(store, history=3, horizon=2)["windows"]
    assert finding.details == {"train": 48 * 20, "val": 48 * 2}
    empty = found(store, history=3, horizon=4)["windows"]
    assert (empty.level, empty.details["val"]) == ("warning", 0)
    none = found(store, history=20, horizon=20)["windows"]
    assert none.level == "error"
    assert "longest track has 30 rows" in none.message


@pytest.mark.parametrize(("apart", "level"), [(0, "ok"), (5, "note"), (99, "warning")])
def test_quarantined_rows_are_told(stored, apart, level):
    report = {"quarantined": {"teleport": apart} if apart else {}, "rows_read": 1440 + apart}
    finding = found(stored(SOUND, report=report))["quarantine"]
    assert finding.level == level
    assert not apart or f"teleport {apart}" in finding.message


def test_the_worst_comes_first(stored):
    levels = [f.level for f in doctor(stored(SOUND, unit="unknown"), history=40)]
    assert levels[:2] == ["error", "warning"]
    assert levels == sorted(levels, key=["error", "warning", "note", "ok"].index)


def test_check_names_a_damaged_file(stored):
    store = stored(SOUND)
    assert [f.level for f in check(store.path)] == ["ok"]
    chunk = store.path / "y" / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(bytes(data))
    (finding,) = check(store.path)
    assert finding.level == "error"
    assert str(chunk) in finding.message
    chunk.unlink()
    assert "is missing" in check(store.path)[0].message
    assert check(store.path.with_name("none"))[0].level == "error"


def test_the_field_recordings_have_their_known_flaw(ethucy):
    findings = {finding.code: finding for finding in doctor(ethucy)}
    assert findings["clock"].details["ratio"]["biwi_eth"] > 1.8
    assert findings["windows"].details == {"train": 30553, "val": 5521}
    assert {f.level for f in findings.values()} == {"note", "ok"}


def test_a_storm_under_two_names_is_found(research_data, tmp_path):
    import_tracks("table", research_data / "hurdat2.csv.gz", tmp_path / "h.zarr")
    findings = {finding.code: finding for finding in doctor(open_store(tmp_path / "h.zarr"))}
    assert "AL162016 and EP222016" in findings["copies"].message


def test_tracks_that_all_start_at_once_and_end_one_by_one_are_told(stored, store_of):
    assert found(stored(SOUND))["starts"].level == "ok"
    path = stored(SOUND).path
    with StoreWriter(path, dims=2, dt=DT, unit="m", overwrite=True) as writer:
        rows = np.arange(18, 30)
        writer.append(
            TrackBlock(
                scene="own",
                labels=list(range(12)),
                types=["pedestrian"] * 12,
                rowsize=rows,
                time=np.concatenate([DT * np.arange(count) for count in rows]),
                position=np.concatenate([w[:n] for w, n in zip(walks(), rows, strict=True)]),
            )
        )
    finding = found(open_store(path))["starts"]
    assert finding.level == "warning"
    assert "own" in finding.message


def test_a_place_for_not_seen_is_told(stored):
    places = walks() + 20.0
    places[:, [7, 15]] = 0.0
    finding = found(stored({"a": places}))["fillers"]
    assert (finding.level, finding.details) == ("warning", {"rows": 24})
    assert "(0, 0)" in finding.message


def test_rows_at_twice_the_real_rate_are_told(stored):
    finding = found(stored({"a": np.repeat(walks(rows=20), 2, axis=1)}))["rate"]
    assert finding.level == "warning"
    assert "--dt 0.8" in finding.message


def test_a_coarse_clock_is_told_by_its_gaps(stored):
    step = np.flatnonzero(np.arange(40) % 4)
    finding = found(stored(SOUND, step=step))["time"]
    assert "coarse" in finding.message


def test_the_doctor_keeps_the_speed_limit_of_the_import(stored):
    places = walks()
    places[5, 20:] += 300
    scenes = SOUND | {"c": places}
    report = {"speed_limit": None, "speed_limit_from": "given"}
    assert found(stored(scenes, report=report))["jumps"].level == "ok"
    assert found(stored(scenes, report={"speed_limit": 2000.0}))["jumps"].level == "ok"
    assert found(stored(scenes))["jumps"].level == "warning"


def test_the_doctor_repeats_what_the_import_asked_and_made_up(stored):
    notes = ["columns guessed: x from 'x'", "the clock goes back by 9 s at row 7: is it another?"]
    report = {"notes": notes, "dropped": {"replaced by places on straight lines": 99}}
    findings = [f for f in doctor(stored(SOUND, report=report)) if f.code == "import"]
    assert [f.level for f in findings] == ["warning", "note"]
    assert "row 7" in findings[0].message
    assert "99 rows" in findings[1].message


def doctored(trajflow, table, tmp_path, *words):
    """What `trajflow doctor` says of an imported table, by code."""
    path, out = tmp_path / "t.csv", tmp_path / "t.zarr"
    table.to_csv(path, index=False)
    assert trajflow("data", "import", path, "-o", out, "--overwrite", *words)[0] == 0
    findings = json.loads(trajflow("doctor", out, "--json")[1])["findings"]
    return {finding["code"]: finding for finding in findings}


def table_of(places, dt=DT, late=5):
    """Rows of agents, [K, N, 2], who come one after the other."""
    agents, rows, _ = places.shape
    number, step = np.indices((agents, rows)).reshape(2, -1)
    columns = {"agent": number, "time": ((step + late * number) * dt).round(6)}
    return pd.DataFrame(columns | dict(zip("xy", places.reshape(-1, 2).T, strict=True)))


def test_tracks_that_nearly_all_start_at_once_are_found(trajflow, tmp_path):
    table = table_of(walks(agents=20), late=0)
    table = table[table.time < 4 + table.agent * 0.4]
    table.loc[table.agent == 3, "time"] += 2.0
    finding = doctored(trajflow, table, tmp_path, "--unit", "m")["starts"]
    assert finding["level"] == "warning"
    late = table_of(walks(agents=20))
    assert doctored(trajflow, late, tmp_path, "--unit", "m")["starts"]["level"] == "ok"


@pytest.mark.parametrize("late", [0, 60])
def test_many_agents_at_one_exact_place_are_a_filler(late, trajflow, tmp_path):
    places = walks(agents=14) + 5
    places[:5] = 0.0
    finding = doctored(trajflow, table_of(places, late=late), tmp_path, "--unit", "m")["fillers"]
    assert finding["level"] == "warning"
    assert finding["details"]["rows"] == 5 * 30
    assert '--where "not (x = 0 and y = 0)"' in finding["message"]
    words = ("--unit", "m", "--where", "not (x = 0 and y = 0)")
    finding = doctored(trajflow, table_of(places, late=late), tmp_path, *words)["fillers"]
    assert finding["level"] == "ok"


def test_latitudes_beyond_the_pole_are_named_with_their_agents(trajflow, tmp_path):
    table = table_of(walks(agents=14) / 1e5 + (8.0, 51.0))
    table.loc[table.agent == 4, "y"] += 40
    finding = doctored(trajflow, table, tmp_path, "--unit", "degree", "--no-project")["unit"]
    assert finding["level"] == "error"
    assert "1 of 14 agents are beyond (4 of t)" in finding["message"]


def test_a_coarse_clock_is_said_and_no_other_reason(trajflow, tmp_path):
    table = table_of(walks(agents=20, rows=200, speed=0.12), dt=0.04)
    table["time"] = table.time.round(1)
    findings = doctored(trajflow, table, tmp_path, "--unit", "m")
    assert "is the clock coarser than the rows" in findings["import"]["message"]
    assert "dt" not in findings["time"]["message"]
    table["time"] = table.time.round(0)
    message = doctored(trajflow, table, tmp_path, "--unit", "m")["import"]["message"]
    assert "is the clock coarser than the rows" in message


def test_rows_at_twice_the_rate_are_said_to_move(trajflow, tmp_path):
    places = np.repeat(walks(agents=14), 2, axis=1)
    findings = doctored(trajflow, table_of(places, dt=DT / 2), tmp_path, "--unit", "m")
    assert findings["rate"]["level"] == "warning"
    assert "hardly anything moves" not in findings["jumps"]["message"]
