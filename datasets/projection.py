"""Longitudes and latitudes: as metres around a centre and back, and across the date line.

Source: Snyder 1987, "Map projections: a working manual", azimuthal equidistant projection of the
sphere. Distances and directions from the centre are those on a sphere of the mean radius of the
Earth, where lengths differ from those on the WGS84 ellipsoid by at most 0.6 %. Across them
lengths grow with the distance: by 0.4 % at 1000 km, 1.7 % at 2000 km. The way back is exact.
"""

import numpy as np

from trajflow.types import Floats, Ints

RADIUS = 6_371_008.8  # Mean radius of the Earth in metres


def project(position: Floats, centre: Floats) -> Floats:
    """Metres east and north of a centre; a third coordinate stays.

    Args:
        position: Longitude, latitude in degrees, [..., D].
        centre: Longitude, latitude in degrees, [..., 2].

    Returns:
        x, y in metres, [..., D].

    Example:
        >>> import numpy as np
        >>> from trajflow.datasets.projection import project, unproject
        >>> place, centre = np.array([8.01, 51.0]), np.array([8.0, 51.0])
        >>> project(place, centre).round(1)
        array([699.8,   0. ])
        >>> unproject(project(place, centre), centre).round(9)
        array([ 8.01, 51.  ])
    """
    east = np.deg2rad(position[..., 0] - centre[..., 0])
    lat, lat0 = np.deg2rad(position[..., 1]), np.deg2rad(centre[..., 1])
    x = np.cos(lat) * np.sin(east)
    y = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(east)
    z = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(east)
    sine = np.hypot(x, y)
    stretch = np.divide(np.arctan2(sine, z), sine, out=np.ones_like(sine), where=sine > 0)
    result = np.array(position, np.float64)
    result[..., 0], result[..., 1] = RADIUS * stretch * x, RADIUS * stretch * y
    return result


def unproject(position: Floats, centre: Floats) -> Floats:
    """Longitude from -180 to 180 and latitude of metres around a centre; the inverse of `project`.

    Args:
        position: x, y in metres, [..., D].
        centre: Longitude, latitude in degrees, [..., 2].

    Returns:
        Longitude, latitude in degrees, [..., D].
    """
    x, y = position[..., 0] / RADIUS, position[..., 1] / RADIUS
    lat0 = np.deg2rad(centre[..., 1])
    angle = np.hypot(x, y)
    sinc, cosine = np.sinc(angle / np.pi), np.cos(angle)
    sine = cosine * np.sin(lat0) + y * sinc * np.cos(lat0)
    east = np.arctan2(x * sinc, cosine * np.cos(lat0) - y * sinc * np.sin(lat0))
    result = np.array(position, np.float64)
    result[..., 0] = (centre[..., 0] + np.rad2deg(east) + 180) % 360 - 180
    result[..., 1] = np.rad2deg(np.arcsin(np.clip(sine, -1, 1)))
    return result


def stretch(distance: float) -> float:
    """Factor of projected lengths across the direction to the centre, metres away from it."""
    return 1 / float(np.sinc(distance / RADIUS / np.pi))


def continuous(longitude: Floats, track: Ints) -> Floats:
    """Longitudes without jumps at 180 degrees, [N], continued from each trajectory's first row."""
    turns = np.zeros(len(longitude))
    same = track[1:] == track[:-1]
    turns[1:] = np.where(same, -np.rint(np.diff(longitude) / 360), 0)
    total = np.cumsum(turns)
    begins = np.flatnonzero(np.concatenate(([True], ~same)))
    sizes = np.diff(np.append(begins, len(longitude)))
    return longitude + 360 * (total - np.repeat(total[begins], sizes))


def mean_longitude(longitude: Floats) -> float:
    """The circular mean of longitudes in degrees, [N], between -180 and 180."""
    angle = np.deg2rad(longitude)
    return float(np.rad2deg(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())))


def near_longitude(longitude: Floats, track: Ints, reference: float) -> Floats:
    """Continuous longitudes, each trajectory turned by multiples of 360 to near a reference, [N].

    Agents on both sides of the date line are then close to each other.
    """
    straight = continuous(longitude, track)
    _, group = np.unique(track, return_inverse=True)
    middle = np.bincount(group, straight) / np.bincount(group)
    return np.asarray(straight - 360 * np.rint((middle - reference) / 360)[group])
