"""Facts about the noise's deviation: it is chosen for a true spread, and kept with the weights."""

from dataclasses import replace

import numpy as np
import pytest
from test_training import CPU, FACTS, WORDS, Walks, walks

from trajflow.config import Config
from trajflow.evaluation.report import best_validation
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import spread
from trajflow.runs import RunFolder
from trajflow.training import TemperatureChosen
from trajflow.training.setup import new_trainer
from trajflow.training.temperature import TEMPERATURES, choose_temperature, search_temperature
from trajflow.training.validation import validate


def scores(energy, ratio, coverage=0.9):
    return {"energy_score": energy, "spread_ratio": ratio, "coverage_90": coverage}


def test_of_equally_good_forecasts_the_truest_spread_is_taken():
    found = {1.0: scores(0.5, 0.8), 1.1: scores(0.5004, 0.95), 1.2: scores(0.5008, 1.1)}
    assert choose_temperature(found) == 1.1


def test_a_worse_forecast_is_not_taken_for_its_spread():
    found = {1.0: scores(0.5, 0.8), 1.1: scores(0.52, 1.0)}
    assert choose_temperature(found) == 1.0


def test_of_two_good_spreads_the_one_whose_regions_hold_nine_of_ten_is_taken():
    found = {0.95: scores(0.5, 0.992, 0.869), 1.0: scores(0.5, 1.025, 0.894)}
    assert choose_temperature(found) == 1.0


def trained(folder, *words):
    config = Config.load(None, [*WORDS, *words])
    trainer = new_trainer(config, Walks(), str(folder), {}, FACTS, CPU)
    return list(trainer.run())


def test_a_training_ends_by_choosing_it_and_the_predictor_uses_it(tmp_path):
    events = trained(tmp_path / "run")
    (chosen,) = (event for event in events if isinstance(event, TemperatureChosen))
    predictor, past = TorchPredictor.load(tmp_path / "run"), walks(4, 3).past
    assert predictor.temperature == chosen.temperature
    assert chosen.temperature in TEMPERATURES
    predictor.facts["temperature"] = 0.5
    narrow = predictor.predict(past, seed=1).samples
    predictor.facts["temperature"] = 1.5
    wide = predictor.predict(past, seed=1).samples
    assert (spread(wide) > 1.5 * spread(narrow)).all()


def test_it_is_that_of_the_weights_kept_and_found_again(tmp_path):
    trained(tmp_path / "run")
    predictor = TorchPredictor.load(tmp_path / "run")
    data = Walks()
    kept = best_validation(RunFolder.open(tmp_path / "run"))
    assert kept["metrics"] == pytest.approx(predictor.facts["validation"])
    assert kept["temperature"] == predictor.temperature
    chosen, found = search_temperature(predictor.model, lambda: data.validation(15, 2000), 20, 1, 0)
    assert chosen == predictor.temperature
    assert found == pytest.approx(predictor.facts["validation"])


class Wider(Walks):
    """Walks whose futures are far more uncertain in validation than in training."""

    error = 3.0

    def validation(self, size, limit):
        for batch in super().validation(size, limit):
            noise = np.random.default_rng(0).normal(size=batch.future.shape)
            yield replace(batch, future=batch.future + self.error * noise)


class Widest(Wider):
    error = 1e4


@pytest.mark.parametrize(("data", "bound"), [(Wider, False), (Widest, True)])
def test_the_search_goes_on_until_the_best_is_inside_and_says_where_it_is_not(
    tmp_path, data, bound
):
    config = Config.load(None, WORDS)
    events = list(new_trainer(config, data(), str(tmp_path / "run"), {}, FACTS, CPU).run())
    (chosen,) = (event for event in events if isinstance(event, TemperatureChosen))
    assert chosen.temperature > max(TEMPERATURES)
    assert chosen.at_bound is bound
    model = TorchPredictor.load(tmp_path / "run").model
    wider = 1.25 * chosen.temperature
    beyond = validate(model, data().validation(15, 2000), 20, 1, 0, wider)
    assert (beyond["energy_score"] < chosen.metrics["energy_score"]) is bound


def test_it_can_be_left_out(tmp_path):
    events = trained(tmp_path / "run", "train.choose_temperature=false")
    assert not any(isinstance(event, TemperatureChosen) for event in events)
    predictor = TorchPredictor.load(tmp_path / "run")
    assert predictor.temperature == 1
    assert np.isfinite(predictor.predict(walks(2, 0).past, seed=0).samples).all()
