"""The keys of screens with a map; one class binds all that it has.

A class that inherits bindings loses those that its base has for the same key, so lists are joined.
"""

from textual.binding import BindingType

from trajflow.tui.keys import bound

FORECAST_KEYS: tuple[BindingType, ...] = (
    bound("forecast.next", "right,l,n", "window(1)", "Next", shown="→"),
    bound("forecast.before", "left,h,p", "window(-1)", "Before", shown="←"),
    bound("forecast.worst", "w", "jump('worst')", "Worst"),
    bound("forecast.best", "b", "jump('best')", "Best"),
    bound("forecast.strange", "u", "jump('strange')", "Surprising"),
    bound("forecast.random", "x", "anywhere", "Random"),
    bound("forecast.resample", "r", "resample", "Resample"),
    bound("forecast.fewer", "less_than_sign", "count(-1)", "Fewer samples", show=False),
    bound("forecast.more", "greater_than_sign", "count(1)", "More samples", show=False),
    bound("forecast.one", "1", "steps(1)", "1 evaluation per draw", show=False),
    bound("forecast.two", "2", "steps(2)", "2 evaluations per draw", show=False),
    bound("forecast.four", "4", "steps(4)", "4 evaluations per draw", show=False),
    bound("forecast.select", "s", "select", "How samples are chosen", show=False),
    bound("forecast.beside", "v", "beside", "Beside cv", show=False),
    bound("forecast.rival", "V", "rival", "Beside another run", show=False),
    bound("forecast.far", "pagedown", "window(10)", "10 windows on", show=False),
    bound("forecast.back", "pageup", "window(-10)", "10 windows back", show=False),
    bound("forecast.first", "home,g", "edge(0)", "First window", show=False),
    bound("forecast.last", "end,G", "edge(1)", "Last window", show=False),
    bound("forecast.scene", "right_square_bracket", "scene(1)", "Next scene", show=False),
    bound("forecast.scene_before", "left_square_bracket", "scene(-1)", "Scene before", show=False),
    bound("forecast.goto", "slash", "goto", "Go to a window", show=False),
)

MAP_KEYS: tuple[BindingType, ...] = (
    bound("map.agent", "a,down,j", "agent(1)", "Next agent", show=False, shown="a"),
    bound("map.agent_before", "A,up,k", "agent(-1)", "Agent before", show=False, shown="A"),
    bound("map.play", "space", "play", "Play"),
    bound("map.later", "full_stop", "moment(1)", "A step later", show=False, shown="."),
    bound("map.earlier", "comma", "moment(-1)", "A step earlier", show=False, shown=","),
    bound("map.samples", "d", "samples_as", "Density, paths, none", show=False),
    bound("map.regions", "o", "layer('regions')", "Regions of 50 and 90 %", show=False),
    bound("map.neighbours", "m", "layer('neighbours')", "Neighbours", show=False),
    bound("map.truth", "y", "layer('truth')", "What happened", show=False),
    bound("map.axes", "i", "layer('axes')", "Axes and scale", show=False),
    bound("map.follow", "f", "follow", "Follow the agent", show=False),
    bound("map.picture", "P", "export_picture", "Save SVG and PNG", show=False),
    bound("map.csv", "C", "export_csv", "Save the forecast as CSV", show=False),
)

EDIT_KEYS: tuple[BindingType, ...] = (
    bound("edit.begin", "e", "edit", "Edit the past"),
    bound("edit.leave", "e,escape", "leave_edit", "Done", shown="e"),
    bound("edit.left", "left,h", "nudge(-1,0)", "Nudge", shown="←↓↑→"),
    bound("edit.down", "down,j", "nudge(0,-1)", "Nudge down", show=False),
    bound("edit.up", "up,k", "nudge(0,1)", "Nudge up", show=False),
    bound("edit.right", "right,l", "nudge(1,0)", "Nudge right", show=False),
    bound("edit.before", "left_square_bracket,comma", "point(-1)", "Point before", show=False),
    bound("edit.after", "right_square_bracket,full_stop", "point(1)", "Point", shown="[ ]"),
    bound("edit.agent", "a", "edit_agent(1)", "Agent"),
    bound("edit.drop", "x,delete", "drop", "Delete", shown="x"),
    bound("edit.noise", "z", "noise", "Noise"),
    bound("edit.restore", "backspace", "restore", "Put back", shown="bksp"),
    bound("edit.reset", "R", "reset", "Reset"),
)
