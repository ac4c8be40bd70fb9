"""The terminal application: it hears what screens ask for, and opens the next one."""

from collections.abc import Callable, Iterable, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.events import Resize
from textual.screen import Screen

from trajflow.text import safe
from trajflow.tui.jobs.inventory import kind_of
from trajflow.tui.keys import bound
from trajflow.tui.messages import (
    Complain,
    NewTraining,
    OpenData,
    OpenForecast,
    OpenOod,
    OpenTraining,
    Tell,
)
from trajflow.tui.screens.home import HomeScreen
from trajflow.tui.screens.small import SmallScreen
from trajflow.tui.themes import DARK, LIGHT, calm_of, theme_named

LONGEST = 400
"""Letters of a message that are shown."""
WAIT = 0.3
"""Seconds after the first picture."""


class TrajflowApp(App[None]):
    """Shows runs, stores and forecasts below a folder.

    Args:
        place: A folder, a run folder or a store; the last two are opened at once.
        theme: Name of a theme, or dark or light.
        keys: Keys by the names of actions; the others keep theirs.
        warm: Whether the worker process loads the model's library before anybody asks for it.

    Raises:
        ConfigError: There is no such theme.
    """

    TITLE = "trajflow"
    CSS_PATH = "trajflow.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("app.back", "q,escape", "back", "Back", shown="q"),
        bound("app.help", "question_mark,f1", "help", "Help", shown="?"),
        bound("app.theme", "t", "theme", "Dark or light", show=False),
        bound("app.commands", "colon", "command_palette", "Commands", show=False),
        bound("app.picture", "f12", "picture", "Picture of the screen", show=False),
        bound("app.quit", "Q", "quit", "Quit", show=False),
    ]

    def __init__(
        self,
        place: Path,
        theme: str = "dark",
        keys: Mapping[str, str] | None = None,
        warm: bool = True,
    ) -> None:
        resource_tracker.ensure_running()  # later stderr belongs to the screen, and it needs one
        super().__init__()
        self.place, self._warm = place, warm
        for each in (DARK, LIGHT):
            self.register_theme(each)
        self.theme = theme_named(theme, self.available_themes)
        self.set_keymap(dict(keys or {}))

    def get_default_screen(self) -> Screen[None]:
        """Home is below all others."""
        place = self.place.absolute()
        if kind_of(place) is None:
            return HomeScreen(place)
        return HomeScreen(place.parent, place)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our style sheet needs and a theme need not have."""
        return {"calm": calm_of(self.current_theme)}

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen, with the key that does the same."""
        told: set[str] = set()
        for each in screen.active_bindings.values():
            name = each.binding.description
            if name and each.binding.id and each.enabled and name not in told:
                told.add(name)
                key = self.get_key_display(each.binding)
                run = self._runner(each.binding.action, each.node)
                yield SystemCommand(name, f"key {key}", run)
        yield SystemCommand("Theme", "choose among all themes", self.action_change_theme)

    def on_ready(self) -> None:
        """Once something can be seen, let the worker load what takes seconds."""
        if self._warm:
            self.set_timer(WAIT, self._warm_up)

    def _warm_up(self) -> None:
        from trajflow.tui.shared_worker import (
            worker_of,  # numpy would cost the first picture a sixth
        )

        worker_of(self)

    def on_unmount(self) -> None:
        """The worker ends with the application."""
        if worker := getattr(self, "worker", None):
            worker.close()

    def on_resize(self, event: Resize) -> None:
        """Say so where the terminal is too small to show anything of use."""
        small = isinstance(self.screen, SmallScreen)
        if SmallScreen.fits(event.size) == small:
            self.pop_screen() if small else self.push_screen(SmallScreen())

    def on_open_forecast(self, message: OpenForecast) -> None:
        """Open the windows of a store under a run."""
        from trajflow.tui.screens.forecast import ForecastScreen

        self._open(ForecastScreen(message.run, message.data, message.part, message.second))

    def on_open_ood(self, message: OpenOod) -> None:
        """Open what a run notices as strange."""
        from trajflow.tui.screens.ood import OodScreen

        self._open(OodScreen(message.run, message.data))

    def on_open_training(self, message: OpenTraining) -> None:
        """Open a training."""
        from trajflow.tui.screens.training import TrainingScreen

        self._open(TrainingScreen(message.run, message.data))

    def on_open_data(self, message: OpenData) -> None:
        """Open a store."""
        from trajflow.tui.screens.data import DataScreen

        self._open(DataScreen(message.store))

    def on_new_training(self, message: NewTraining) -> None:
        """Open the settings of a training."""
        from trajflow.tui.screens.start import StartScreen

        self._open(StartScreen(message.store))

    def on_complain(self, message: Complain) -> None:
        """Show what went wrong; words from data are never markup."""
        self.notify(safe(message.text, LONGEST), severity="error", markup=False, timeout=10)

    def on_tell(self, message: Tell) -> None:
        """Show what happened."""
        self.notify(safe(message.text, LONGEST), markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """From home there is no way back, also while the palette lies over it."""
        below = (one for one in self.screen_stack if not isinstance(one, CommandPalette))
        return action != "back" or len(list(below)) > 1

    async def action_back(self) -> None:
        """Return to the screen below; home stays."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_help(self) -> None:
        """List the keys of this screen."""
        from trajflow.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_theme(self) -> None:
        """Turn dark to light and back."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def action_picture(self) -> None:
        """Save the screen as SVG."""
        self.post_message(Tell(f"picture saved: {self.save_screenshot()}"))

    def _open(self, screen: Screen[None]) -> None:
        self.push_screen(screen)

    def _runner(self, action: str, node: object) -> Callable[[], object]:
        async def run() -> None:
            await self.run_action(action, default_namespace=node)  # type: ignore[arg-type]

        return run
