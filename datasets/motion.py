"""Statistics of motion: steps and speeds, time steps, longitudes, fillers and implausible units."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from trajflow.datasets.projection import continuous
from trajflow.types import Bools, Floats, Ints

WINDOW = 5
SAMPLE_SIZE = 1 << 14
NEAR_MEDIAN = 0.25  # Intervals this close to the median are averaged
ROUNDING_SHARE = 0.02  # Rounding moves the mean by less than this share of a step; more is jitter
# Tolerance and number of intervals to test for multiples of a step
MULTIPLE_TOLERANCE, MIN_INTERVALS = 0.1, 30
MIN_REGULAR_SHARE = 0.4  # Share of such multiples that a clock with 10 % jitter still has
MIN_ODD_SHARE = 0.02  # Share of odd intervals from which on a rounded clock is considered
MIN_STRAIGHTNESS = 0.6
SUDDEN_FACTOR = 10.0  # A step to a filler position is this many times faster than typical
MIN_VISITS = 3  # Visits by sudden steps that make a position a filler
JUMP_FACTOR = 20.0  # A jump is this many times faster than the 99th percentile of running speeds
WALKING = ("pedestrian", "person", "people", "walker", "human")
# Metres per second between which the typical speed of a moving agent of a type lies
SPEEDS = {
    **dict.fromkeys(WALKING, (0.3, 3.0)),
    **dict.fromkeys(("biker", "bicycle", "cyclist", "skater", "cart", "scooter"), (0.5, 15.0)),
    **dict.fromkeys(("car", "vehicle", "truck", "bus", "van", "motorcycle"), (0.5, 45.0)),
    **dict.fromkeys(("ship", "boat", "vessel"), (0.3, 30.0)),
}
SCENE_RATIO, AGENT_RATIO = 20.0, 30.0
FEW_AGENTS_RATIO = 300.0
MIN_AGENTS = 5
EXTENT_RATIO = 5.0


@dataclass(frozen=True)
class Steps:
    """The N steps between consecutive rows of the same trajectory."""

    row: Ints  # index of the later row of each step, [N]
    track: Ints  # trajectory of each step, [N]
    seconds: Floats  # time each step takes, [N]
    length: Floats  # distance between its ends, [N], in the unit of the positions

    @property
    def speed(self) -> Floats:
        """Distance per second, [N]."""
        return self.length / self.seconds


def steps_of(track: Ints, time: Floats, position: Floats) -> Steps:
    """Steps between rows sorted by trajectory [N] and strictly by time [N]; positions [N, D]."""
    row = np.flatnonzero(track[1:] == track[:-1]) + 1
    length = np.linalg.norm(position[row] - position[row - 1], axis=1)
    return Steps(row, track[row], time[row] - time[row - 1], length)


def _typical_steps(track: Ints, time: Floats, position: Floats) -> tuple[Steps, Floats]:
    """The steps of K trajectories, numbered from 0, and the median speed of each, [K]."""
    number = np.cumsum(np.diff(track, prepend=-1) != 0) - 1
    steps = steps_of(number, time, position)
    moving = steps.length > 0
    count = int(number[-1]) + 1
    return steps, medians(steps.speed[moving], steps.track[moving], count, least=3)


def running_speed(steps: Steps) -> Floats:
    """The second lowest of every five consecutive speeds of a trajectory, [N].

    It follows a speed that lasts, and ignores a jump or two glitches with four fast steps.
    """
    return np.asarray(np.partition(steps.speed[windows_of(steps.track)], 1, axis=1)[:, 1])


def lasting_speed(steps: Steps) -> Floats:
    """The lower of two consecutive running speeds that share no step, [N].

    This tolerates a tenth of bad rows. Without ten steps in a trajectory, the running speed.
    """
    speed, track = running_speed(steps), steps.track[windows_of(steps.track)[:, 0]]
    pair = track[WINDOW:] == track[:-WINDOW]
    return np.minimum(speed[WINDOW:], speed[:-WINDOW])[pair] if pair.any() else speed


def find_fillers(steps: Steps, typical: Floats, position: Floats) -> Floats:
    """Positions that stand for "not seen", [F, 2]: agents jump to exactly there.

    A filler is visited three times or more by steps ten times faster than typical: in the middle
    of a track with a return to where it was, or for two rows or more at its start or end. Visits
    by typical steps are fewer. `typical` is the speed of each trajectory, [K]; the first two
    coordinates of positions [N, D] are compared.
    """
    place = position[:, :2]
    sudden, first = np.zeros(len(place), np.bool_), np.ones(len(place), np.bool_)
    sudden[steps.row] = steps.speed > SUDDEN_FACTOR * typical[steps.track]
    if np.count_nonzero(sudden) < MIN_VISITS:
        return np.empty((0, 2))
    first[steps.row] = False
    begin = np.flatnonzero(first | np.append(True, (np.diff(place, axis=0) != 0).any(1)))
    after = np.append(begin[1:], len(place))
    starts, ends = first[begin], np.append(first, True)[after]
    there, before, behind = place[begin], place[begin - 1], place[after % len(place)]
    back = 2 * np.linalg.norm(behind - before, axis=1) < np.minimum(
        np.linalg.norm(there - before, axis=1), np.linalg.norm(there - behind, axis=1)
    )
    visit = (starts | sudden[begin]) & (ends | np.append(sudden, True)[after]) & ~(starts & ends)
    visit &= np.where(starts | ends, after - begin > 1, back)
    result, counts = np.unique(there[visit], axis=0, return_counts=True)
    result, counts = result[counts >= MIN_VISITS], counts[counts >= MIN_VISITS]
    runs = [int(((there == filler).all(1) & ~(starts & ends)).sum()) for filler in result]
    return np.asarray(result[2 * counts >= runs])


def off_earth(position: Floats) -> Floats:
    """Positions beyond 90 degrees of latitude with two rows or more, [F, 2].

    None if half of the rows are there: then y is no latitude.
    """
    beyond = position[np.abs(position[:, 1]) > 90, :2]
    if 2 * len(beyond) >= len(position):
        return np.empty((0, 2))
    result, counts = np.unique(beyond, axis=0, return_counts=True)
    return np.asarray(result[counts > 1])


def at_places(position: Floats, places: Floats) -> Bools:
    """Whether each row is exactly at one of the places, [N]."""
    result = np.zeros(len(position), np.bool_)
    for place in places:
        result |= (position[:, :2] == place).all(1)
    return result


def straightness(steps: Steps, position: Floats) -> tuple[Ints, Floats]:
    """Trajectory, and net distance over path length, of every five steps with motion, [W] each.

    A straight path has 1, a random walk 0.45, jitter around a position 0.3. Positions are [N, D].
    """
    windows = windows_of(steps.track)
    path = steps.length[windows].sum(1)
    ends = position[steps.row[windows[:, -1]]] - position[steps.row[windows[:, 0]] - 1]
    moving = path > 0
    net = np.linalg.norm(ends[moving], axis=1)
    return steps.track[windows[moving, 0]], net / path[moving]


def medians(values: Floats, group: Ints, count: int, least: int = 1) -> Floats:
    """Median of the values [N] of each of `count` groups, [K]; NaN for fewer than `least`."""
    order = np.lexsort((values, group))
    sizes = np.bincount(group, minlength=count)
    first = np.cumsum(sizes) - sizes
    result = np.full(count, np.nan)
    filled = sizes >= max(least, 1)
    ordered = values[order]
    low = ordered[(first + (sizes - 1) // 2)[filled]]
    high = ordered[(first + sizes // 2)[filled]]
    result[filled] = (low + high) / 2
    return result


def windows_of(track: Ints) -> Ints:
    """Indices of every five consecutive steps of one trajectory, [W, 5]."""
    if len(track) < WINDOW:
        return np.empty((0, WINDOW), np.int64)
    whole = track[WINDOW - 1 :] == track[: -(WINDOW - 1)]
    return np.asarray(sliding_window_view(np.arange(len(track)), WINDOW)[whole])


@dataclass
class Sample:
    """A sequence thinned evenly to at most 2 x 16 384 values."""

    values: Floats = field(default_factory=lambda: np.empty(0))
    every: int = 1
    _skip: int = 0

    def add(self, values: Floats) -> None:
        """Add values, [N]."""
        self.values = np.concatenate((self.values, values[self._skip :: self.every]))
        self._skip = (self._skip - len(values)) % self.every
        while len(self.values) >= 2 * SAMPLE_SIZE:
            self.values = self.values[::2]
            self.every *= 2


def clock_shift(time: Floats, step: float) -> tuple[float, float]:
    """Circular mean of the offsets of times, [N], from whole steps, and its standard error."""
    wave = np.exp(2j * np.pi * (time / step % 1)).mean()
    spread = np.sqrt(max(0.0, -2 * np.log(max(abs(wave), 1e-300))))
    turn = step / (2 * np.pi)
    return float(np.angle(wave) * turn), float(spread / np.sqrt(len(time)) * turn)


@dataclass
class TimeStep:
    """Estimates the typical interval between rows of an agent.

    Clocks are written with few digits: 30 frames per second as 0.033, 0.033, 0.034 s. The mean of
    the intervals near the median is exact where the median would drift off the grid.
    """

    sample: Sample = field(default_factory=Sample)
    total: float = 0.0
    count: int = 0
    _middle: float = np.nan

    def add(self, seconds: Floats) -> None:
        """Add intervals between rows, [N]."""
        self.sample.add(seconds)
        if len(seconds) and not self.count:
            self._middle = _median_value(seconds)
        near = seconds[np.abs(seconds - self._middle) <= NEAR_MEDIAN * self._middle]
        self.total += float(near.sum())
        self.count += len(near)

    def typical(self) -> float | None:
        """The typical interval; None if there was none."""
        if not self.count:
            return None
        median, mean = _median_value(self.sample.values), self.total / self.count
        return float(f"{mean if abs(mean - median) < ROUNDING_SHARE * median else median:.9g}")

    def irregular(self) -> bool:
        """Whether most intervals are no multiples of the median."""
        ratio = (
            self.sample.values / _median_value(self.sample.values) if self.count else np.empty(0)
        )
        whole = np.abs(ratio - np.maximum(np.rint(ratio), 1)) <= MULTIPLE_TOLERANCE
        return len(ratio) >= MIN_INTERVALS and bool(whole.mean() < MIN_REGULAR_SHARE)

    def grain(self) -> float:
        """Resolution of a clock whose rounding is visible in the intervals; 0 for other clocks."""
        values = self.sample.values
        if not self.count:
            return 0.0
        middle = _median_value(values)
        grains = [10.0**-digits for digits in range(7) if 10.0**-digits < 1.5 * middle]
        fits = (
            g for g in grains if np.abs(values / g - np.rint(values / g)).max() < ROUNDING_SHARE
        )
        grain = next(fits, 0.0)
        away = np.abs(values - middle)
        odd = (away > ROUNDING_SHARE * middle) & (away < 1.01 * grain)
        return grain if odd.mean() > MIN_ODD_SHARE else 0.0


def exact_step(time: Floats, step: float, grain: float) -> float | None:
    """The exact step of a clock whose increasing times, [N], are rounded to `grain`, or None.

    An approximate step suffices to count the steps of a short stretch. A line fitted to their
    times gives a step exact enough for a stretch twice as long, up to the whole recording.
    """
    near = np.diff(time)
    near = near[np.abs(near - step) < 1.01 * grain]
    if len(time) < MIN_INTERVALS or not len(near):
        return None
    step, size = float(near.mean()), MIN_INTERVALS
    while True:
        part = time[:size] - time[min(size, len(time)) // 2]
        shift = clock_shift(part, step)[0]
        count = np.rint((part - shift) / step)
        step = float(np.polynomial.polynomial.polyfit(count, part, 1)[1])
        if size >= len(time):
            break
        size *= 2
    shift = clock_shift(part, step)[0]
    count = np.rint((part - shift) / step)
    fits = np.abs(part - shift - count * step) < 0.6 * grain
    fits[1:] &= np.diff(count) > 0
    return step if fits.mean() > 1 - MIN_ODD_SHARE else None


class MotionSurvey:
    """Motion of all K trajectories, in the clock and unit of the files."""

    def __init__(self, tracks: int, dims: int, unit: str | None) -> None:
        self.time_step = TimeStep()  # intervals between rows
        self.running = Sample()  # running speeds of moving agents
        self.speed = np.full(tracks, np.nan)  # median while it moves, [K]; NaN if it hardly moves
        # Whether a trajectory covers distance rather than standing or jittering, [K]
        self.travels: Bools = np.zeros(tracks, np.bool_)
        # Corners of the bounding box, [K, D], and first time of each trajectory, [K]
        self.low, self.high = np.full((tracks, dims), np.nan), np.full((tracks, dims), np.nan)
        self.begin = np.full(tracks, np.nan)
        self.fillers = np.empty((0, 2))  # stand for "not seen", [F, 2]; count for times only
        self.crossings = 0  # steps that look like longitudes crossing the date line
        self._longitudes = unit == "degree"

    def add(self, track: Ints, time: Floats, position: Floats) -> None:
        """Add whole trajectories, sorted by trajectory [N] and time [N]; positions are [N, D]."""
        again = (track[1:] == track[:-1]) & (time[1:] == time[:-1])
        if again.any():
            first = np.concatenate(([True], ~again))
            track, time, position = track[first], time[first], position[first]
        begins = np.flatnonzero(np.diff(track, prepend=-1))
        self.begin[track[begins]] = time[begins]
        self.time_step.add(np.diff(time)[track[1:] == track[:-1]])
        steps, typical = _typical_steps(track, time, position)
        seen = ~self._at_fillers(steps, typical, position)
        if not seen.all():
            track, time, position = track[seen], time[seen], position[seen]
            begins = np.flatnonzero(np.diff(track, prepend=-1))
        if not len(track):
            return
        numbers = track[begins]
        if self._longitudes:
            position = position.copy()
            position[:, 0] = continuous(position[:, 0], track)
        self.low[numbers] = np.minimum.reduceat(position, begins)
        self.high[numbers] = np.maximum.reduceat(position, begins)
        if self._longitudes or not seen.all():
            steps, typical = _typical_steps(track, time, position)
        self.speed[numbers] = typical
        self.crossings += _crossings(steps.row, position)
        speed = lasting_speed(steps)
        self.running.add(speed[speed > 0])
        where, ratio = straightness(steps, position)
        self.travels[numbers] = medians(ratio, where, len(begins), least=3) >= MIN_STRAIGHTNESS

    def _at_fillers(self, steps: Steps, typical: Floats, position: Floats) -> Bools:
        places = [self.fillers, find_fillers(steps, typical, position)]
        if self._longitudes:
            places.append(off_earth(position))
        self.fillers = np.unique(np.concatenate(places), axis=0)
        return at_places(position, self.fillers)

    def fastest(self) -> float | None:
        """A speed that only jumps exceed, per unit of the clock; None if hardly anything moves."""
        if not len(self.running.values):
            return None
        return JUMP_FACTOR * float(np.quantile(self.running.values, 0.99))


def _median_value(values: Floats) -> float:
    return float(np.percentile(values, 50, method="lower"))


def _crossings(row: Ints, position: Floats) -> int:
    """Count steps of about 360 in x alone, between possible longitudes and latitudes."""
    far = np.abs(position[row, 0] - position[row - 1, 0]) > 350
    if not far.any():
        return 0
    before, after = position[row[far] - 1, :2], position[row[far], :2]
    fits = (np.abs([before, after]) <= (360, 90)).all((0, 2))
    turn = np.abs(after - before)
    return int((fits & (np.abs(turn[:, 0] - 360) < 10) & (turn[:, 1] < 10)).sum())


@dataclass(frozen=True)
class OtherUnits:
    """Trajectories whose unit differs from the rest."""

    tracks: Bools  # whether a trajectory is one of them, [K]
    # Speed of each such scene, by code, as a multiple of that of the others
    scenes: dict[int, float] = field(default_factory=dict)


def plausible_metres(kind: str, speed: float) -> bool | None:
    """Whether the typical speed of a type fits metres per second; None for an unknown type."""
    if kind not in SPEEDS:
        return None
    low, high = SPEEDS[kind]
    return low <= speed <= high


def guess_unit(kinds: Sequence[str], speeds: Sequence[float], extent: float) -> str:
    """The unit in which the speeds are plausible for the kinds of agents: "m", "px" or "unknown".

    `extent` is the width of the area in that unit.
    """
    ranges = [(SPEEDS[k], v) for k, v in zip(kinds, speeds, strict=True) if k in SPEEDS]
    if ranges and all(low <= speed <= high for (low, high), speed in ranges):
        return "m"
    if ranges and all(speed > 3 * high for (_, high), speed in ranges) and extent > 100:
        return "px"
    return "unknown"


def find_other_units(
    speed: Floats, travels: Bools, scene: Ints, kind: Ints, low: Floats, high: Floats
) -> OtherUnits:
    """Find scenes and agents whose steps are orders of magnitude from those of the rest.

    Only agents that travel are compared, and only with their own type. A scene is odd when both
    its typical speed (20 times; 300 times too slow with fewer than five agents, which may loiter)
    and its extent (5 times) differ the same way from the median scene. An agent is odd when its
    speed differs 30 times from its scene's and it is far outside its area. The arguments describe
    each trajectory, [K], with the corners of its bounding box, [K, D].
    """
    odd = OtherUnits(np.zeros(len(speed), np.bool_))
    for code in np.unique(kind):
        chosen = travels & np.isfinite(speed) & (kind == code)
        if chosen.any():
            _odd_scenes(odd, speed, chosen, scene, low, high)
            _odd_agents(odd, speed, chosen, scene, (low + high) / 2)
    return odd


def _odd_scenes(
    odd: OtherUnits, speed: Floats, chosen: Bools, scene: Ints, low: Floats, high: Floats
) -> None:
    count = int(scene.max()) + 1
    typical = medians(speed[chosen], scene[chosen], count)
    agents = np.bincount(scene[chosen], minlength=count)
    extent = extents(scene[chosen], low[chosen], high[chosen], count)
    if np.isfinite(typical).sum() < 3:
        return
    ratio = typical / np.nanmedian(typical)
    size = extent / np.nanmedian(extent)
    slow = np.where(agents >= MIN_AGENTS, SCENE_RATIO, FEW_AGENTS_RATIO)
    with np.errstate(invalid="ignore"):
        wrong = (ratio >= SCENE_RATIO) & (size >= EXTENT_RATIO)
        wrong |= (ratio <= 1 / slow) & (size <= 1 / EXTENT_RATIO)
    odd.scenes.update({int(code): float(ratio[code]) for code in np.flatnonzero(wrong)})
    odd.tracks[wrong[scene]] = True


def _odd_agents(odd: OtherUnits, speed: Floats, chosen: Bools, scene: Ints, centre: Floats) -> None:
    count = int(scene.max()) + 1
    agents = np.bincount(scene[chosen], minlength=count)
    typical = medians(speed[chosen], scene[chosen], count)[scene]
    middle = np.stack([medians(c, scene, count) for c in centre.T], 1)[scene]
    away = np.linalg.norm(centre - middle, axis=1)
    near = medians(away, scene, count)[scene]
    ratio = np.divide(speed, typical, out=np.ones_like(speed), where=chosen)
    far = (agents[scene] >= MIN_AGENTS) & (away > 2 * EXTENT_RATIO * near) & ~odd.tracks
    wrong = chosen & far & ((ratio >= AGENT_RATIO) | (ratio <= 1 / AGENT_RATIO))
    odd.tracks[wrong] = True


def extents(scene: Ints, low: Floats, high: Floats, count: int) -> Floats:
    """Diagonal of each of `count` scenes, from the bounding boxes [K, D] of their trajectories."""
    corners = np.full((2, count, low.shape[1]), np.nan)
    np.fmin.at(corners[0], scene, low)
    np.fmax.at(corners[1], scene, high)
    return np.asarray(np.linalg.norm(corners[1] - corners[0], axis=1))
