"""The application as a whole: keys, help, themes, sizes, and hands that press anything."""

import inspect
import random
from importlib import import_module
from pkgutil import iter_modules

import pytest
from textual import constants
from textual.binding import Binding
from textual.dom import DOMNode
from tui_support import (
    LARGE,
    SMALL,
    app_on,
    in_thread,
    lines_of,
    make_run,
    piloted,
    text_of,
    until,
    whole_training,
)

from trajflow.errors import ConfigError
from trajflow.tui.app import SmallTerminalScreen, TrajflowApp
from trajflow.tui.render.colors import Palette
from trajflow.tui.screens.home import HomeScreen
from trajflow.tui.screens.training import TrainingScreen

KEYS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ0123456789/:?+-=[]<>,.;*"
NAMED = ["up", "down", "left", "right", "enter", "escape", "tab", "shift+tab", "space"]
NAMED += ["pageup", "pagedown", "home", "end", "backspace", "delete", "f1", "shift+left"]


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path / "run", whole_training())
    return tmp_path


def all_bindings():
    """Every key binding of the application."""
    modules = ["trajflow.tui.app"]
    for name in ("trajflow.tui.screens", "trajflow.tui.widgets"):
        modules += [f"{name}.{each.name}" for each in iter_modules(import_module(name).__path__)]
    for module in modules:
        for _, kind in inspect.getmembers(import_module(module), inspect.isclass):
            if issubclass(kind, DOMNode) and kind.__module__ == module:
                for each in vars(kind).get("BINDINGS", ()):
                    yield each if isinstance(each, Binding) else Binding(*each)


def test_every_key_has_a_name_of_its_own_and_none_needs_ctrl():
    found = list(all_bindings())
    assert len(found) > 40
    for binding in found:
        assert binding.id, f"{binding.key} {binding.action}: give it a name"
        assert binding.description, f"{binding.id}: say what it does"
        plain = [key for key in binding.key.split(",") if not key.startswith("ctrl+")]
        assert plain, f"{binding.id} needs Ctrl, which tmux and others eat"
    ids = [binding.id for binding in found]
    assert len(ids) == len(set(ids)), sorted({name for name in ids if ids.count(name) > 1})


@pytest.mark.parametrize("screen", ["home", "training"])
def test_help_lists_every_key_of_the_screen(folder, screen):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        if screen == "training":
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        about = [each.binding for each in app.screen.active_bindings.values()]
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen.query("HelpPanel"))
        shown = set()
        for _ in range(12):
            await pilot.pause()
            shown |= {line for line in lines_of(app)}
            await pilot.press("right_curly_bracket")
        shown = "\n".join(shown)
        for binding in about:
            if binding.id:
                assert binding.description in shown
        await pilot.press("question_mark")
        await pilot.pause()
        assert not app.screen.query("HelpPanel")

    piloted(app_on(folder), play, LARGE)


def test_the_help_of_a_table_lists_no_key_that_does_nothing_there(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        words = {each.binding.description for each in app.screen.active_bindings.values()}
        assert {"Cursor down", "Page up", "Top", "Open"} <= words
        assert not words & {"Cursor left", "Page Left", "Page Right", "Home"}

    piloted(app_on(folder), play)


def test_the_footer_keeps_its_widgets_while_its_keys_are_the_same(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await until(pilot, lambda: app.screen.query("FooterKey"))
        await pilot.pause()
        keys = list(app.screen.query("FooterKey"))
        app.screen.refresh_bindings()
        await pilot.pause()
        assert list(app.screen.query("FooterKey")) == keys

    piloted(app_on(folder), play)


def test_the_palette_over_home_offers_no_way_back(folder):
    async def play(pilot):
        home = pilot.app.screen
        await pilot.press("colon")
        await until(pilot, lambda: pilot.app.screen is not home)
        told = {command.title for command in pilot.app.get_system_commands(home)}
        assert "Open" in told
        assert "Back" not in told
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is home)

    piloted(app_on(folder), play)


def test_the_palette_has_every_action_of_the_screen(folder):
    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        told = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        about = pilot.app.screen.active_bindings.values()
        ours = [each.binding for each in about if each.enabled and each.binding.id]
        moves = {"Cursor down", "Cursor up", "Page down", "Page up", "Top", "Bottom", "Commands"}
        assert {binding.description for binding in ours} - moves == told - {"Theme"}
        await pilot.press("colon")
        await pilot.pause()
        assert type(pilot.app.screen).__name__ == "CommandPalette"

    piloted(app_on(folder), play)


def test_a_theme_is_named_or_the_nearest_is_told(folder):
    assert TrajflowApp(folder, theme="light").theme == "trajflow-light"
    assert TrajflowApp(folder, theme="nord").theme == "nord"
    with pytest.raises(ConfigError, match="did you mean 'gruvbox'"):
        TrajflowApp(folder, theme="grovbox")


@pytest.mark.parametrize("theme", ["dark", "light", "ansi-dark", "ansi-light"])
def test_surfaces_stay_apart_in_256_colours(theme, folder):
    """Behind ssh a terminal has 256 colours; what is chosen must still be seen there."""
    from rich.color import Color, ColorSystem

    if theme.startswith("ansi"):
        pytest.skip("the terminal's own colours are what they are")
    colors = TrajflowApp(folder, theme=theme).get_css_variables()
    names = ("background", "surface", "panel", "block-cursor-background")
    shades = [Color.parse(colors[name]) for name in names]
    numbers = [shade.downgrade(ColorSystem.EIGHT_BIT).number for shade in shades]
    assert len(set(numbers)) == len(numbers)


def contrast(color, other):
    """How different two colours (red, green, blue) look: 1 to 21, as WCAG 2.1 defines it."""

    def luminance(triplet):
        parts = [part / 255 for part in triplet]
        linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(color), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


WORDS = ["foreground", "primary", "secondary", "accent", "warning", "error", "success", "muted"]
WORDS += ["footer-key-foreground", "footer-description-foreground"]
BEHIND = ["background", "surface", "panel", "footer-background", "block-cursor-background"]
BEHIND += ["block-cursor-blurred-background"]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("system", ["TRUECOLOR", "EIGHT_BIT", "STANDARD"])
def test_words_can_be_read_on_every_surface(theme, system, folder, monkeypatch):
    from rich.color import Color, ColorSystem

    behind = BEHIND
    if system == "STANDARD":  # all words on a cursor then have the colour of the cursor
        monkeypatch.setattr(constants, "COLOR_SYSTEM", "standard")
        behind = [name for name in BEHIND if "cursor" not in name]
    colors = TrajflowApp(folder, theme=theme).get_css_variables()
    shown = {
        name: Color.parse(colors[name]).downgrade(ColorSystem[system]).get_truecolor()
        for name in (*WORDS, *behind)
    }
    ratios = {(one, on): contrast(shown[one], shown[on]) for one in WORDS for on in behind}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_header_cursor_and_rows_differ_in_16_colors(theme, folder, monkeypatch):
    from rich.color import ColorSystem

    monkeypatch.setattr(constants, "COLOR_SYSTEM", "standard")
    make_run(folder / "half", age=1e5)

    async def play(pilot):
        await until(pilot, lambda: "2 runs" in text_of(pilot.app))
        await pilot.pause()
        looks = []
        for word in ("minFDE", "done", "stopped"):
            lines = pilot.app.screen._compositor.render_strips()
            style = next(one.style for line in lines for one in line if word in one.text)
            fore, back = (
                color.downgrade(ColorSystem.STANDARD).get_truecolor()
                for color in (style.color, style.bgcolor)
            )
            assert contrast(fore, back) >= 4.5, word
            looks.append((back, bool(style.underline)))
        assert len(set(looks)) == 3

    piloted(app_on(folder, theme=theme), play)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("depth", ["full", "256", "16"])
def test_what_is_drawn_can_be_seen_on_the_background(theme, depth, folder):
    from rich.color import Color, ColorSystem

    colors = TrajflowApp(folder, theme=theme).get_css_variables()
    ends = [int(colors[name][1:7], 16) for name in ("background", "foreground")]
    palette = Palette.of(*ends, theme == "dark", depth)

    def shown(ink):
        color = Color.from_rgb(ink >> 16, ink >> 8 & 255, ink & 255)
        return (color.downgrade(ColorSystem.EIGHT_BIT) if depth == "256" else color).get_truecolor()

    inks = (palette.foreground, palette.muted, *palette.hues)
    ratios = {f"{ink:06x}": contrast(shown(ink), shown(palette.background)) for ink in inks}
    assert {ink: ratio for ink, ratio in ratios.items() if ratio < 4.5} == {}


def test_no_key_of_the_footer_is_cut(folder):
    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        for width in (80, 97, 160, 84):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            keys = pilot.app.screen.query("FooterKey")
            assert keys.first().action == "app.quit"
            assert all(key.region.right <= width for key in keys)
            assert len(keys) == 11 or width < 160
        await pilot.press("question_mark")
        await pilot.pause()
        left = pilot.app.screen.query_one("HelpPanel").region.x
        assert all(key.region.right <= left for key in pilot.app.screen.query("FooterKey"))

    piloted(app_on(folder), play)


def test_a_small_terminal_is_told_so_kindly_and_comes_back(folder):
    async def play(pilot):
        app = pilot.app
        await pilot.resize_terminal(79, 24)
        await pilot.pause()
        assert isinstance(app.screen, SmallTerminalScreen)
        assert "80 x 24" in text_of(app)
        await pilot.press("w", "d", "question_mark", "colon")
        assert isinstance(app.screen, SmallTerminalScreen)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert isinstance(app.screen, HomeScreen)

    piloted(app_on(folder), play)


def test_a_small_terminal_says_which_key_quits_and_it_does(folder):
    async def play(pilot):
        app = pilot.app
        await pilot.resize_terminal(50, 12)
        await pilot.pause()
        assert "press q to quit" in " ".join(text_of(app).split())
        await pilot.press("q")
        await pilot.pause()

    assert piloted(app_on(folder), play)._exit


def test_the_palette_opens_a_run_by_a_few_letters(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        await pilot.press("colon")
        await until(pilot, lambda: "Reverse the order" in text_of(app))
        words = text_of(app)
        assert words.index("Training of run") < words.index("Reverse the order")
        await pilot.press(*"trnrun")
        await until(pilot, lambda: "Reverse the order" not in text_of(app))
        await until(pilot, lambda: "Training of run" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        assert app.screen.run_folder == folder / "run"

    piloted(app_on(folder), play)


def test_escape_and_q_lead_back_and_q_leaves_from_home(folder):
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.screen.library.runs)
        for key in ("escape", "q"):
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, HomeScreen))
        await pilot.press("escape")
        assert app.is_running
        await pilot.press("q")

    assert piloted(app_on(folder), play).return_code == 0


def test_words_from_data_are_text_and_never_markup_or_orders(folder):
    hostile = "[red]x[/] [/] [@click=app.quit]y[/] \x1b]0;owned\x07 \u202e \x9b31m"

    async def play(pilot):
        pilot.app.show_error(hostile)
        pilot.app.open_training(folder / "[red]x")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))
        await until(pilot, lambda: "[@click=app.quit]y[/]" in text_of(pilot.app))
        shown = text_of(pilot.app)
        assert "[red]x · training" in shown
        assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}

    piloted(app_on(folder), play)


def test_a_screen_that_cannot_be_opened_is_complained_of(folder):
    async def play(pilot):
        pilot.app.open_dataset(folder / "nothing.zarr")
        await until(pilot, lambda: "nothing.zarr" in text_of(pilot.app))
        assert pilot.app.is_running

    piloted(app_on(folder), play)


def hands(seed, count):
    """Keys that a cat would press: letters mostly."""
    chance = random.Random(seed)
    return [chance.choice([chance.choice(KEYS)] * 3 + NAMED) for _ in range(count)]


async def survives(pilot, keys):
    for key in keys:
        await pilot.press(key)
        assert pilot.app.is_running
    await pilot.pause()
    assert lines_of(pilot.app)


def test_random_keys_leave_it_running(folder, monkeypatch):
    monkeypatch.setattr(TrajflowApp, "action_quit", lambda self: None)
    monkeypatch.setattr(TrajflowApp, "exit", lambda self, *_, **__: None)

    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        await survives(pilot, [key for key in hands(5, 60) if key not in ("n", "N")])

    piloted(app_on(folder, engine=in_thread), play)


def sizes(seed, count):
    chance = random.Random(seed)
    odd = [(0, 0), (1, 1), (2, 3), (300, 100), (80, 24), (79, 24), (80, 23), (500, 5), (5, 90)]
    return [
        chance.choice([(chance.randint(1, 200), chance.randint(1, 70)), *odd]) for _ in range(count)
    ]


@pytest.mark.parametrize("key", ["", "w"])
def test_any_sizes_leave_it_running(folder, key):
    async def play(pilot):
        await until(pilot, lambda: pilot.app.screen.library.runs)
        if key:
            await pilot.press(key)
        for width, height in sizes(2, 9):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        assert not isinstance(pilot.app.screen, SmallTerminalScreen)

    piloted(app_on(folder), play)
