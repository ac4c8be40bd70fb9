"""The terminal application: it opens screens and owns the engine that does their model work."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain, islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar, cast

from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.events import Resize
from textual.geometry import Size
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from trajflow.errors import TrajflowError
from trajflow.text import safe
from trajflow.tui.theme import DARK, LIGHT, VARIABLES, make_theme, theme_named

if TYPE_CHECKING:
    from trajflow.tui.engine import Engine, Task

P = ParamSpec("P")
T = TypeVar("T")
MAX_MESSAGE = 400
"""Letters of a message that are shown."""
WARM_UP_AFTER = 0.3
"""Seconds after the first picture."""
MIN_SIZE = Size(80, 24)
FIRST = 6
"""Runs and stores that the palette lists before anything is typed."""
MOVES = ("cursor_", "scroll_", "page_", "command_palette")
"""Beginnings of actions that are not things to do for the command palette."""


Command = tuple[str, str, Callable[[], object]]
"""Its words, a note, and what it does."""


class Commands(Provider):
    """The command palette: opens runs and stores, and does what the screen can do."""

    async def discover(self) -> Hits:
        for words, note, run in [*islice(self._library(), FIRST), *self._actions()]:
            yield DiscoveryHit(Text(words), run, words, note)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        places = getattr(self.screen, "places", tuple)
        for words, note, run in chain(self._library(), places(), self._actions()):
            if (score := matcher.match(words)) > 0:
                yield Hit(score, Text(words), run, words, note)

    def _actions(self) -> Iterator[Command]:
        for title, note, run, *_ in self.app.get_system_commands(self.screen):
            yield title, note, run

    def _library(self) -> Iterator[Command]:
        from trajflow.tui.screens.home import HomeScreen

        app = cast(TrajflowApp, self.app)
        home = next((one for one in app.screen_stack if isinstance(one, HomeScreen)), None)
        if home is None:
            return
        for run in home.library.runs:
            name, store = safe(run.name, 60), home.library.store_of(run)
            data = store.path if store else None
            if data is not None and run.weights:
                forecasts = partial(app.open_forecasts, run.path, data, run.split)
                yield f"Forecasts of {name}", "", forecasts
                yield f"OOD detection of {name}", "", partial(app.open_ood, run.path, data)
            yield f"Training of {name}", "", partial(app.open_training, run.path, data)
        for entry in home.library.stores:
            name = safe(entry.name, 60)
            yield f"Tracks of {name}", "", partial(app.open_dataset, entry.path)
            yield f"Train on {name}", "", partial(app.open_new_training, entry.path)


class SmallTerminalScreen(ModalScreen[None]):
    """Shown while the terminal is too small."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,Q,escape", "app.quit", "Quit", id="small.quit"),
    ]

    def compose(self) -> ComposeResult:
        needs = f"The terminal is too small: trajflow needs {MIN_SIZE.width} x {MIN_SIZE.height}."
        yield Static(f"{needs}\nMake it larger, or press q to quit.")


class TrajflowApp(App[None]):
    """Shows runs, stores and forecasts below a folder.

    Args:
        place: A folder, a run folder or a store; the last two are opened at once.
        theme: Name of a theme, or dark or light.
        warm_up: Whether the engine loads torch before it is needed.

    Raises:
        ConfigError: There is no such theme.
    """

    TITLE = "trajflow"
    COMMANDS = {Commands}  # noqa: RUF012
    CSS_PATH = "styles.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "back", "Back", id="app.back"),
        Binding("question_mark,f1", "help", "Help", id="app.help"),
        Binding("t", "theme", "Dark or light", show=False, id="app.theme"),
        Binding("colon", "command_palette", "Commands", show=False, id="app.commands"),
        Binding("f12", "screenshot", "Screenshot", show=False, id="app.screenshot"),
        Binding("Q", "quit", "Quit", show=False, id="app.quit"),
        Binding("right_curly_bracket", "scroll_help(6)", "Help down", False, id="app.help_down"),
        Binding("left_curly_bracket", "scroll_help(-6)", "Help up", False, id="app.help_up"),
    ]

    def __init__(self, place: Path, theme: str = "dark", warm_up: bool = True) -> None:
        resource_tracker.ensure_running()  # later stderr belongs to the screen, and it needs one
        super().__init__()
        self.place, self._warm_up = place, warm_up
        few_colors = self.console.color_system in ("standard", "windows")
        self.set_class(few_colors, "-few-colors")
        for name in ("dark", "light"):
            self.register_theme(make_theme(name, few_colors))
        self.theme = theme_named(theme, self.available_themes)

    @cached_property
    def engine(self) -> Engine:
        from trajflow.tui.engine import Engine

        return Engine()

    def get_default_screen(self) -> Screen[None]:
        from trajflow.library import kind_of
        from trajflow.tui.screens.home import HomeScreen

        place = self.place.absolute()
        if kind_of(place) is None:
            return HomeScreen(place)
        return HomeScreen(place.parent, place)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What the style sheet needs and a theme need not have."""
        theme = self.current_theme
        return {"muted": "ansi_bright_black" if theme.ansi else VARIABLES["muted"][not theme.dark]}

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen but moves of a cursor, with its key."""
        names: set[str] = set()
        for each in screen.active_bindings.values():
            name = each.binding.description
            if each.binding.action.startswith(MOVES):
                continue
            if name and each.binding.id and each.enabled and name not in names:
                names.add(name)
                key = self.get_key_display(each.binding)
                run = partial(self.run_action, each.binding.action, each.node)
                yield SystemCommand(name, f"key {key}", run)
        yield SystemCommand("Theme", "choose among all themes", self.action_change_theme)

    def on_ready(self) -> None:
        gc.freeze()  # what is loaded by now stays: collections need not pause a key for it
        if self._warm_up:
            self.set_timer(WARM_UP_AFTER, self._load_engine)

    def on_unmount(self) -> None:
        if "engine" in self.__dict__:
            self.engine.close()

    def on_resize(self, event: Resize) -> None:
        small = isinstance(self.screen, SmallTerminalScreen)
        width, height = event.size
        if (width >= MIN_SIZE.width and height >= MIN_SIZE.height) == small:
            self.pop_screen() if small else self.push_screen(SmallTerminalScreen())

    def open_forecasts(self, run: Path, data: Path, split: str = "test") -> None:
        from trajflow.tui.screens.forecast import ForecastScreen

        self.push_screen(ForecastScreen(run, data, split))

    def open_ood(self, run: Path, data: Path) -> None:
        from trajflow.tui.screens.ood import OodScreen

        self.push_screen(OodScreen(run, data))

    def open_training(self, run: Path, data: Path | None = None) -> None:
        from trajflow.tui.screens.training import TrainingScreen

        self.push_screen(TrainingScreen(run, data))

    def open_dataset(self, store: Path) -> None:
        from trajflow.tui.screens.dataset import DatasetScreen

        self.push_screen(DatasetScreen(store))

    def open_new_training(self, store: Path) -> None:
        from trajflow.tui.screens.new_training import NewTrainingScreen

        self.push_screen(NewTrainingScreen(store))

    def show_error(self, message: object) -> None:
        """Show what went wrong; words from data are never markup."""
        text = safe(message, MAX_MESSAGE)
        self.notify(text, severity="error", markup=False, timeout=10)

    async def ask(self, task: Task[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of a task; None, and its error on the screen, if it failed."""
        with self.errors_shown():
            return await self.engine.call(task, *args, **kwargs)
        return None

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show an error of what is done inside instead of raising it."""
        try:
            yield
        except TrajflowError as error:
            self.show_error(error)

    def show_message(self, message: str) -> None:
        self.notify(safe(message, MAX_MESSAGE), markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """From home there is no way back, also while the palette lies over it."""
        if action == "scroll_help":
            return bool(self.screen.query("HelpPanel"))
        below = (one for one in self.screen_stack if not isinstance(one, CommandPalette))
        return action != "back" or len(list(below)) > 1

    async def action_back(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_help(self) -> None:
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()
        self.refresh_bindings()

    def action_scroll_help(self, lines: int) -> None:
        self.screen.query_one("KeyPanel").scroll_relative(y=lines, animate=False)

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def _load_engine(self) -> None:
        from trajflow.tui.tasks import warm_up  # numpy would delay the first picture

        self.run_worker(self.engine.call(warm_up), exit_on_error=False)
