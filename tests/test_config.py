"""Facts about settings."""

import pytest

from trajflow.config import Config
from trajflow.errors import ConfigError


def test_settings_survive_the_file(tmp_path):
    config = Config.load(
        None,
        [
            "data.fold=zara1",
            "train.lr=3e-4",
            "model.encoder_options.layers=2",
            "flow.lambda_end=none",
        ],
    )
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml())
    assert Config.load(path) == config
    assert config.data.fold == "zara1"
    assert config.model.encoder_options == {"layers": 2}


def test_words_win_over_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[train]\nepochs = 3\nbatch_size = 64\n")
    config = Config.load(path, ["train.epochs=5"])
    assert (config.train.epochs, config.train.batch_size) == (5, 64)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epoch=3", "did you mean 'train.epochs'"),
        ("trian.epochs=3", "did you mean 'train"),
        ("epochs=3", "did you mean 'train.epochs'"),
        ("train.learning_rate=0.1", "did you mean 'train.lr'"),
        ("samples.learning_rate=0.1", "did you mean 'samples.lr'"),
        ("learning_rate=0.1", "did you mean 'train.lr'"),
        ("train.batch_sise=3", "did you mean 'train.batch_size'"),
        ("train.max_epochs=3", "did you mean 'train.epochs'"),
        ("model.hidden_size=3", "did you mean 'model.width'"),
        ("data.pred_len=3", "did you mean 'data.horizon'"),
        ("train.history=3", "did you mean 'data.history'"),
        ("train.epochs=0", "greater than or equal to 1, got 0"),
        ("train.epochs=many", "got 'many'"),
        ("train.epochs", "section.name=value"),
        ("train=3", "train"),
        ("data.split=random", "'stored', 'scene', 'time' or 'agent'"),
    ],
)
def test_a_bad_setting_is_refused_with_the_way_out(word, said):
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        Config.load(None, [word])


def test_files_that_are_missing_or_not_toml_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the config .*absent\.toml"):
        Config.load(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML"):
        Config.load(tmp_path / "bad.toml")


def test_settings_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        Config().train.epochs = 3


def test_playing_faster_needs_positions_beyond_the_window():
    with pytest.raises(ConfigError, match=r"train.time_stretch up to 1.7 .*set data.reach=2"):
        Config.load(None, ["train.time_stretch=[1,1.7]"])
    config = Config.load(None, ["train.time_stretch=[1,1.7]", "data.reach=2"])
    assert config.train.time_stretch == (1.0, 1.7)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train.rate=0.1", "train.rate is now train.lr"),
        ("data.neighbours=3", "data.neighbours is now data.neighbors"),
        ("train.slower=1", r"train.slower is now train.time_stretch=\[LEAST, MOST\]"),
        ("flow.equal=0.5", "flow.equal is now flow.flow_ratio"),
        ("choice.epochs=3", "choice is now the section samples"),
    ],
)
def test_a_setting_of_an_earlier_version_is_refused_with_its_new_name(old, new):
    with pytest.raises(ConfigError, match=new):
        Config.load(None, [old])


@pytest.mark.parametrize("value", ["[0.1,1]", "[1.2,2]", "[1,9]"])
def test_a_time_stretch_lies_around_one(value):
    with pytest.raises(ConfigError, match="with least in"):
        Config.load(None, [f"train.time_stretch={value}"])
