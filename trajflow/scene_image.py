"""Images of recordings, such as a map or a video frame, which are drawn under the tracks."""

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from trajflow.errors import ConfigError, DataError
from trajflow.io import parse_bounded_json, read_whole, storing, write_whole
from trajflow.remote import is_remote, refuse_url
from trajflow.text import file_name
from trajflow.types import Bools, Floats

MAX_BYTES, MAX_PIXELS = 200 << 20, 64_000_000
"""Largest file and image that is read."""
MAX_SIDE = 2048
"""Longest side of a stored image, in pixels."""
KEY = "trajflow"
"""Name of the PNG text with the recording and the matrix."""


@dataclass(frozen=True)
class SceneImage:
    """An image of a recording, and where its pixels lie in the world.

    Attributes:
        pixels: Red, green and blue.
        matrix: Homography from pixels (right and down from the upper left corner) to the
            coordinates of the store, [3, 3].

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from trajflow.scene_image import SceneImage
        >>> image = SceneImage(Image.new("RGB", (40, 20), "red"), np.diag([0.5, -0.5, 1.0]))
        >>> colors, inside = image.warped(np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1.0]]), 20, 12)
        >>> colors.shape, int(inside.sum())
        ((12, 20, 3), 200)
    """

    pixels: Image.Image
    matrix: Floats

    def warped(self, to_world: Floats, columns: int, rows: int) -> tuple[Floats, Bools]:
        """The image resampled on another grid of pixels.

        Args:
            to_world: Homography from pixels of that grid to the world, [3, 3].
            columns: Pixels from left to right.
            rows: Pixels from top to bottom.

        Returns:
            Colours from 0 to 255, [..., 3], and whether each pixel lies on the image, [...]; by row
            and column.
        """
        back = self._from_world @ to_world
        grid = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
        x, y, w = np.tensordot(back, np.stack([*grid, np.ones((rows, columns))]), (1, 0))
        in_front = w > 0
        right, down = (np.where(in_front, axis / np.where(in_front, w, 1), -1) for axis in (x, y))
        width, height = self.pixels.size
        inside = (right >= 0) & (right < width) & (down >= 0) & (down < height)
        if not inside.any():
            return np.zeros((rows, columns, 3)), inside
        steps = [np.abs(np.gradient(axis)).max(0) for axis in (right, down) if min(axis.shape) > 1]
        factor = int(max([1.0, *(float(np.median(step[inside])) for step in steps)]))
        # Means of squares of pixels, because a coarse grid must not pick single ones.
        reduced = self.pixels.convert("RGB").reduce(factor)
        scaled = np.diag([1 / factor, 1 / factor, 1.0]) @ back
        colors = reduced.transform(
            (columns, rows),
            Image.Transform.PERSPECTIVE,
            (scaled / (scaled[2, 2] or 1e-12)).ravel()[:8].tolist(),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(colors, np.float64), inside

    @cached_property
    def _from_world(self) -> Floats:
        """World to pixels; the last row is positive on the camera's side of the horizon.

        The middle of the lower edge is assumed to be on that side.
        """
        width, height = self.pixels.size
        sign = np.sign(self.matrix[2] @ [width / 2, height, 1.0]) or 1.0
        return np.asarray(np.linalg.inv(self.matrix) * sign)


def image_path(store: Path, scene: str) -> Path:
    """Path of the image of a recording, in the folder STORE.images beside the store."""
    return store.with_name(f"{store.name}.images") / f"{file_name(scene)}.png"


def save_image(store: Path, scene: str, image: SceneImage) -> Path:
    """Store the image of a recording beside its store; an older one is replaced.

    A larger image is reduced until its longest side has `MAX_SIDE` pixels.

    Raises:
        DataError: The store is not on a local disk, or the image cannot be written.
    """
    refuse_url(store)
    before = image.pixels.size
    pixels = image.pixels.convert("RGB")
    pixels.thumbnail((MAX_SIDE, MAX_SIDE))
    matrix = image.matrix @ np.diag([*np.divide(before, pixels.size), 1.0])
    text, content, path = PngInfo(), BytesIO(), image_path(store, scene)
    text.add_text(KEY, json.dumps({"scene": scene, "matrix": matrix.tolist()}))
    pixels.save(content, "PNG", pnginfo=text)
    with storing(path):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, content.getvalue())
    return path


def load_image(store: Path, scene: str) -> SceneImage | None:
    """The image of a recording; None if it has none.

    Raises:
        DataError: The file is damaged.
    """
    path = image_path(store, scene)
    if is_remote(store) or not path.is_file():
        return None
    pixels = read_pixels(path, ("PNG",))
    try:
        matrix = np.array(parse_bounded_json(str(pixels.info[KEY]).encode())["matrix"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no matrix; add the image again") from error
    return SceneImage(pixels, _invertible(matrix, path))


def read_pixels(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP")) -> Image.Image:
    """Read an untrusted image of bounded size.

    Raises:
        DataError: It is missing, too large, damaged, or of another format.
    """
    too_large = f"{path} has too many pixels: at most {MAX_PIXELS:,} are read; make it smaller"
    try:
        content = read_whole(path, MAX_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=formats)
            if image.width * image.height > MAX_PIXELS:
                raise DataError(too_large)
            return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise DataError(too_large) from None
    except (OSError, SyntaxError, ValueError) as error:
        kinds = ", ".join(formats)
        raise DataError(f"{path} is missing, damaged or not an image ({kinds}): {error}") from error


def read_matrix(path: Path) -> Floats:
    """Read a homography of pixels [N, 2] from a text of nine numbers, row by row.

    Raises:
        ConfigError: There are not nine finite numbers, or the matrix has no inverse.
    """
    words = read_whole(path, 1 << 16).decode("utf-8", "replace").replace(",", " ").split()
    try:
        matrix = np.array([float(word) for word in words])
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; it must hold nine numbers") from error
    if len(words) != 9:
        raise ConfigError(f"{path} has {len(words)} numbers; a homography has nine")
    return _invertible(matrix.reshape(3, 3), path)


def north_up(size: float, origin: tuple[float, float], height: int) -> Floats:
    """Homography [3, 3] from pixels [N, 2] to the world, for an image with north up.

    Raises:
        ConfigError: The size is not positive, or a number is not finite.
    """
    if not (size > 0 and np.isfinite([size, *origin]).all()):
        raise ConfigError(
            f"invalid pixel size {size:g} or origin {origin}; give finite numbers, a size above 0"
        )
    x, y = origin
    return np.array([[size, 0.0, x], [0.0, -size, y + size * height], [0.0, 0.0, 1.0]])


def _invertible(matrix: Floats, path: Path) -> Floats:
    """Return a homography [3, 3], or raise a DataError if it cannot be inverted."""
    with suppress(np.linalg.LinAlgError):
        finite = matrix.shape == (3, 3) and np.isfinite(matrix).all()
        if finite and np.allclose(np.linalg.inv(matrix) @ matrix, np.eye(3), atol=1e-3):
            return matrix
    raise DataError(f"the matrix of {path} is not an invertible 3x3 matrix: {matrix.tolist()}")
