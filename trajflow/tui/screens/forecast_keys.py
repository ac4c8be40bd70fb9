"""The keys of the forecast screen."""

from textual.binding import Binding, BindingType

BROWSING = {"window", "scene", "jump", "random", "goto", "agent", "moment", "play", "edit"}
BROWSING |= {"table", "bookmark", "marked", "zoom_agent"}
"""Actions that are off while the past is edited."""
EDITING = {"edit_past", "end_edit"}
"""Actions that are on only then."""
BROWSE_KEYS: list[BindingType] = [
    Binding("right,l,n", "window(1)", "Next", id="forecast.next"),
    Binding("left,h,p", "window(-1)", "Previous", id="forecast.previous"),
    Binding("w", "jump('worst')", "Worst", id="forecast.worst"),
    Binding("b", "jump('best')", "Best", id="forecast.best"),
    Binding("u", "jump('highest OOD score')", "OOD", id="forecast.ood"),
    Binding("x", "random", "Random", id="forecast.random"),
    Binding("r", "resample", "Resample", id="forecast.resample"),
    Binding("less_than_sign", "samples(-1)", "Fewer samples", show=False, id="forecast.fewer"),
    Binding("greater_than_sign", "samples(1)", "More samples", show=False, id="forecast.more"),
    Binding("1", "steps(1)", "1 evaluation per sample", show=False, id="forecast.one"),
    Binding("2", "steps(2)", "2 evaluations per sample", show=False, id="forecast.two"),
    Binding("4", "steps(4)", "4 evaluations per sample", show=False, id="forecast.four"),
    Binding("s", "select", "Selection rule", show=False, id="forecast.select"),
    Binding("M", "memory", "Memory of the place", show=False, id="forecast.memory"),
    Binding("v", "baseline", "Constant velocity beside", show=False, id="forecast.baseline"),
    Binding("V", "compare", "Compare with another run", show=False, id="forecast.compare"),
    Binding("pagedown", "window(10)", "10 windows on", show=False, id="forecast.forward"),
    Binding("pageup", "window(-10)", "10 windows back", show=False, id="forecast.back"),
    Binding("home,g", "window(-1000000000)", "First window", show=False, id="forecast.first"),
    Binding("end,G", "window(1000000000)", "Last window", show=False, id="forecast.last"),
    Binding("right_square_bracket", "scene(1)", "Next scene", False, id="forecast.next_scene"),
    Binding("left_square_bracket", "scene(-1)", "Previous scene", False, id="forecast.scene"),
    Binding("W", "table('windows')", "Windows", id="forecast.windows"),
    Binding("T", "table('agents')", "Agents", id="forecast.agents"),
    Binding("B", "bookmark", "Bookmark, or remove it", show=False, id="forecast.bookmark"),
    Binding("apostrophe", "marked(1)", "Next bookmark", show=False, id="forecast.next_mark"),
    Binding("quotation_mark", "marked(-1)", "Previous bookmark", False, id="forecast.mark"),
    Binding("slash", "goto", "Go to a window", show=False, id="forecast.goto"),
]
MAP_KEYS: list[BindingType] = [
    Binding("a,down,j", "agent(1)", "Next agent", show=False, id="map.agent"),
    Binding("A,up,k", "agent(-1)", "Previous agent", show=False, id="map.previous_agent"),
    Binding("space", "play", "Play", id="map.play"),
    Binding("full_stop", "moment(1)", "A step later", show=False, id="map.later"),
    Binding("comma", "moment(-1)", "A step earlier", show=False, id="map.earlier"),
    Binding("right_parenthesis", "moment(999)", "Last step of the forecast", False, id="map.end"),
    Binding("left_parenthesis", "moment(-999)", "First step of the past", False, id="map.begin"),
    Binding("semicolon", "moment(0)", "The whole forecast at once", False, id="map.whole"),
    Binding("z", "zoom_agent", "Zoom to the agent", show=False, id="map.zoom_agent"),
    Binding("Z", "side_view", "Side view (x and z)", show=False, id="map.side"),
    Binding("d", "sample_layer", "Density, paths, none", show=False, id="map.samples"),
    Binding("o", "layer('regions')", "Prediction regions", show=False, id="map.regions"),
    Binding("m", "layer('neighbors')", "Neighbors", show=False, id="map.neighbors"),
    Binding("y", "layer('truth')", "True future", show=False, id="map.truth"),
    Binding("i", "layer('axes')", "Axes and scale", show=False, id="map.axes"),
    Binding("I", "layer('image')", "Image of the recording", show=False, id="map.image"),
    Binding("f", "follow", "Follow the agent", show=False, id="map.follow"),
    Binding("P", "export_picture", "Export a picture, PNG", show=False, id="map.picture"),
    Binding("c", "copy_command", "Copy the command of this view", show=False, id="map.command"),
    Binding("C", "export('.csv')", "Export the forecast, CSV", show=False, id="map.csv"),
    Binding("X", "export('.rrd')", "Export for rerun", show=False, id="map.rrd"),
]

BEFORE, AFTER = "edit_past('select_step',(-1,))", "edit_past('select_step',(1,))"
EDIT_KEYS: list[BindingType] = [
    Binding("e", "edit", "Edit the past", id="edit.begin"),
    Binding("e,escape", "end_edit", "Done", id="edit.end"),
    Binding("left,h", "edit_past('nudge',(-1,0))", "Nudge", key_display="←↓↑→", id="edit.left"),
    Binding("down,j", "edit_past('nudge',(0,-1))", "Nudge down", False, id="edit.down"),
    Binding("up,k", "edit_past('nudge',(0,1))", "Nudge up", False, id="edit.up"),
    Binding("right,l", "edit_past('nudge',(1,0))", "Nudge right", False, id="edit.right"),
    Binding("left_square_bracket,comma", BEFORE, "Previous point", False, id="edit.previous"),
    Binding("right_square_bracket,full_stop", AFTER, "Point", True, "[ ]", id="edit.next"),
    Binding("a", "edit_past('select_agent',(1,))", "Agent", id="edit.agent"),
    Binding("x,delete", "edit_past('drop')", "Delete", id="edit.drop"),
    Binding("z", "edit_past('noise')", "Noise", id="edit.noise"),
    Binding("backspace", "edit_past('restore')", "Restore", id="edit.restore"),
    Binding("R", "edit_past('reset')", "Reset", id="edit.reset"),
]
