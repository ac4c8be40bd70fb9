"""Facts about every encoder: what is not seen does not matter, and a file is enough to add one."""

import sys

import pytest
import torch

from trajflow.errors import ConfigError
from trajflow.nn import encoders
from trajflow.nn.encoders import Encoder, available, build, register_encoder

N, T, C, H = 7, 8, 5, 12

every_encoder = pytest.mark.parametrize("name", available())


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(encoders, "_registered", dict(encoders._registered))


def make(name, dtype=torch.float64, **options):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build(name, C, H, **options).to(dtype).eval()


def some_past(dtype=torch.float64):
    chance = torch.Generator().manual_seed(5)
    past = torch.randn(N, T, C, generator=chance, dtype=dtype)
    seen = torch.rand(N, T, generator=chance) < 0.6
    seen[:, -1] = True
    seen[0] = True
    return past, seen


def test_the_house_encoders_are_found_by_their_files():
    assert {"gru", "tcn", "transformer"} <= set(available())


@every_encoder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_context_has_the_asked_width_and_the_type_of_the_past(name, dtype):
    encoder = make(name, dtype)
    context = encoder(*some_past(dtype))
    assert encoder.width == H
    assert context.shape == (N, H)
    assert context.dtype == dtype


@every_encoder
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_what_an_unseen_step_holds_changes_no_bit(name, junk):
    encoder, (past, seen) = make(name), some_past()
    spoiled = past.masked_fill(~seen[..., None], junk)
    assert not seen.all()
    assert torch.equal(encoder(past, seen), encoder(spoiled, seen))


@every_encoder
def test_nan_in_an_unseen_step_leaves_the_gradients_finite(name):
    encoder, (past, seen) = make(name), some_past()
    past = past.masked_fill(~seen[..., None], float("nan")).requires_grad_()
    encoder(past, seen).square().sum().backward()
    assert past.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@every_encoder
def test_an_agent_seen_late_is_read_as_if_the_window_began_there(name):
    encoder, (past, seen) = make(name), some_past()
    seen[:, :3] = False
    seen[:, 3] = True
    torch.testing.assert_close(
        encoder(past, seen), encoder(past[:, 3:], seen[:, 3:]), rtol=0, atol=1e-12
    )


@every_encoder
def test_a_gap_is_no_step_at_the_origin(name):
    encoder, (past, seen) = make(name), some_past()
    seen[:, 3], past[:, 3] = False, 0.0
    told = encoder(past, seen)
    seen[:, 3] = True
    assert (told - encoder(past, seen)).abs().amax(1).min() > 1e-6


@every_encoder
def test_every_seen_step_matters(name):
    encoder, (past, seen) = make(name), some_past()
    for step in range(T):
        moved = past.clone()
        moved[:, step] += 1.0
        changed = (encoder(moved, seen) - encoder(past, seen)).abs().amax(1) > 1e-9
        assert torch.equal(changed, seen[:, step])


@every_encoder
def test_agents_are_encoded_independently(name):
    encoder, (past, seen) = make(name), some_past()
    order = torch.tensor([4, 2, 6, 0])
    torch.testing.assert_close(
        encoder(past[order], seen[order]), encoder(past, seen)[order], rtol=0, atol=1e-12
    )


@every_encoder
def test_an_agent_never_seen_has_one_finite_context(name):
    encoder, (past, seen) = make(name), some_past()
    context = encoder(past, torch.zeros_like(seen))
    assert context.isfinite().all()
    torch.testing.assert_close(context, context[:1].expand(N, H), rtol=0, atol=1e-12)


@every_encoder
@pytest.mark.parametrize("steps", [1, 2, 21])
def test_a_past_may_be_short_or_long(name, steps):
    past = torch.randn(N, steps, C, dtype=torch.float64)
    context = make(name)(past, torch.ones(N, steps, dtype=torch.bool))
    assert context.shape == (N, H)
    assert context.isfinite().all()


@every_encoder
def test_no_agents_have_no_contexts(name):
    past, seen = some_past()
    assert make(name)(past[:0], seen[:0]).shape == (0, H)


@every_encoder
def test_training_is_deterministic_unless_dropout_is_asked_for(name):
    encoder, (past, seen) = make(name).train(), some_past()
    assert torch.equal(encoder(past, seen), encoder(past, seen))
    dropping = make(name, depth=2, dropout=0.5).train()
    assert not torch.equal(dropping(past, seen), dropping(past, seen))


@every_encoder
def test_every_parameter_and_every_seen_step_gets_a_gradient(name):
    encoder, (past, seen) = make(name), some_past()
    past.requires_grad_()
    encoder(past, seen).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert torch.equal(past.grad.abs().sum(-1) > 0, seen)


def test_a_transformer_names_the_option_a_longer_past_needs():
    past, seen = some_past()
    with pytest.raises(ConfigError, match=r"past has 8 steps.*knows 5; set its option steps"):
        make("transformer", steps=5)(past, seen)


def test_an_encoder_registered_anywhere_is_built_by_name(registry):
    @register_encoder("newest")
    class Newest(Encoder):
        def __init__(self, channels: int, width: int, gain: float = 2.0):
            super().__init__(width)
            self.gain = gain

    assert "newest" in available()
    assert isinstance(build("newest", C, H), Newest)
    assert build("newest", C, H, gain=3).gain == 3


def test_a_file_in_the_folder_is_found_by_its_name(registry, monkeypatch, tmp_path):
    (tmp_path / "lastseen.py").write_text(
        "from torch import nn\n"
        "from trajflow.nn.encoders import Encoder, register_encoder\n"
        "@register_encoder('lastseen')\n"
        "class LastSeen(Encoder):\n"
        "    def __init__(self, channels: int, width: int) -> None:\n"
        "        super().__init__(width)\n"
        "        self.embed = nn.Linear(channels, width)\n"
        "    def forward(self, past, seen):\n"
        "        return self.embed(past[:, -1])\n"
    )
    (tmp_path / "_draft.py").write_text("raise RuntimeError")
    (tmp_path / "silent.py").write_text("")
    monkeypatch.setattr(encoders, "__path__", [*encoders.__path__, str(tmp_path)])
    names = available()
    assert "lastseen" in names
    assert "_draft" not in names
    try:
        past, seen = some_past(torch.float32)
        assert build("lastseen", C, H)(past, seen).shape == (N, H)
        with pytest.raises(ConfigError, match="registers no 'silent'; add @register_encoder"):
            build("silent", C, H)
    finally:
        sys.modules.pop("trajflow.nn.encoders.lastseen", None)
        sys.modules.pop("trajflow.nn.encoders.silent", None)


def test_a_name_cannot_be_taken_twice(registry):
    make("gru")
    with pytest.raises(ConfigError, match=r"'gru' exists: trajflow\.nn\.encoders\.gru\.GRUEncoder"):
        register_encoder("gru")(Encoder)
    assert type(make("gru")).__name__ == "GRUEncoder"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "transfomer",
            {},
            r"no encoder 'transfomer'; did you mean 'transformer'\? \(there are .*gru",
        ),
        ("perceiver9", {}, r"no encoder 'perceiver9' \(there are .*gru"),
        ("gru", {"dept": 2}, r"no option of encoder 'gru' 'dept'; did you mean 'depth'\?"),
        ("gru", {"depth": 2.5}, "option 'depth' of encoder 'gru' must be int, got 2.5"),
        ("gru", {"depth": True}, "must be int, got True"),
        ("gru", {"depth": 0}, "encoder 'gru' cannot be built with .*'depth': 0"),
        ("gru", {"dropout": 0.1}, "dropout acts between layers"),
        ("transformer", {"heads": 5}, "width 12 must be a multiple of heads"),
        ("transformer", {"dropout": 1.5}, "cannot be built with .*'dropout': 1.5"),
        ("tcn", {"kernel": 0}, "depth and kernel start at 1"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, C, H, **options)


MINE = """
import torch
from trajflow.nn.encoders import Encoder, register_encoder

@register_encoder("last")
class LastStep(Encoder):
    def __init__(self, channels, width):
        super().__init__(width)
        self.layer = torch.nn.Linear(channels, width)

    def forward(self, past, seen):
        return self.layer(torch.where(seen[:, -1:], past[:, -1], 0))
"""


def test_an_encoder_in_a_file_is_trained_and_used_by_the_command_line(
    trajflow, fork, tiny, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.py").write_text(MINE)

    def run(*words):
        """A command that begins without the encoders of earlier ones, as a new process does."""
        with monkeypatch.context() as patch:
            patch.setattr(encoders, "_registered", dict(encoders._registered))
            code, _, said = trajflow(*words)
        return code, said

    words = ["train", fork, "--out", "run", "--encoder", "last", *tiny]
    code, said = run(*words)
    assert code == 2
    assert "--plugin" in said
    assert not (tmp_path / "run").exists()
    code, said = run("--plugin", "last.py", *words)
    assert code == 0, said
    words = ["predict", "run", fork, "-o", "out.csv"]
    code, said = run(*words)
    assert (code, "--plugin" in said) == (2, True)
    assert run("--plugin", "last.py", *words)[0] == 0


def test_an_installed_package_offers_encoders_by_an_entry_point(registry, tmp_path, monkeypatch):
    (tmp_path / "offering.py").write_text(MINE)
    facts = tmp_path / "offering-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[trajflow.encoders]\nlast = offering\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "last" in available()
    assert build("last", C, H).width == H


@pytest.mark.parametrize("name", ["no_such_module", "missing.py", "broken.py"])
def test_a_plugin_that_cannot_be_imported_is_named(trajflow, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def\n")
    code, _, said = trajflow("--plugin", name, "doctor")
    assert code == 2
    assert f"--plugin {name} cannot be imported" in said
