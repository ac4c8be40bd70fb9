"""Images of recordings under the tracks: kept beside a store, drawn on maps and in plots."""

import shutil
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from test_tui_canvas import view_of
from test_tui_forecast import Busy
from textual import constants
from tui_support import app_on, piloted, text_of, until

from trajflow.browse.view import SplitSummary
from trajflow.datasets import open_store
from trajflow.scene_image import SceneImage, load_image, north_up, save_image
from trajflow.tui.render.colors import Palette, unpack_rgb
from trajflow.tui.render.scene import Layers, ScenePainter
from trajflow.tui.render.viewport import Viewport
from trajflow.tui.screens.forecast import ForecastScreen

DARK = Palette.of(0x101418, 0xE0E0E0, True, "full")


def halves(width=80, height=40):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


@pytest.fixture
def store(trajflow, tmp_path):
    path = tmp_path / "plaza.zarr"
    assert trajflow("data", "make", "fork", "-o", path, "--set", "train=4", "--seed", "1")[0] == 0
    return path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "map.png"
    halves().save(path)
    return path


def test_an_image_is_kept_beside_a_store_that_does_not_change(trajflow, store, picture, tmp_path):
    before, scene = open_store(store).fingerprint(), open_store(store).scenes[0]
    matrix = tmp_path / "H.txt"
    matrix.write_text("0.5 0 -3\n0 -0.5 7\n0, 0, 1\n")
    code, out, _ = trajflow("data", "add-image", store, scene, picture, "--homography", matrix)
    assert (code, out.strip()) == (0, str(tmp_path / "plaza.zarr.images" / f"{scene}.png"))
    assert trajflow("data", "check", store)[0] == 0
    assert open_store(store).fingerprint() == before
    image = load_image(store, scene)
    assert image.matrix.tolist() == [[0.5, 0, -3], [0, -0.5, 7], [0, 0, 1]]
    assert load_image(store, open_store(store).scenes[1]) is None


def test_a_map_lies_where_its_lower_left_corner_is(trajflow, store, picture):
    scene = open_store(store).scenes[0]
    words = ("--metres-per-pixel", "0.5", "--origin", "-3,10")
    assert trajflow("data", "add-image", store, scene, picture, *words)[0] == 0
    corners = load_image(store, scene).matrix @ [[0, 80], [40, 0], [1, 1]]
    assert corners[:2].T.tolist() == [[-3, 10], [37, 30]]


def test_a_large_image_is_kept_smaller_at_the_same_place(tmp_path):
    save_image(
        tmp_path / "x.zarr", "a/b", SceneImage(halves(4096, 1024), north_up(0.1, (5, 6), 1024))
    )
    image = load_image(tmp_path / "x.zarr", "a/b")
    assert image.pixels.size == (2048, 512)
    far = image.matrix @ [2048, 512, 1]
    np.testing.assert_allclose(far[:2], [5 + 409.6, 6])


def test_an_oblique_image_shows_each_place_its_own_pixel_and_nothing_beyond_the_horizon():
    matrix = np.array([[1.0, 0, -40], [0, -0.2, 30], [0, 0.05, -0.5]])  # Horizon at row 10
    image = SceneImage(halves(), matrix)
    colors, inside = image.warped(np.array([[1.0, 0, -60], [0, -1.0, 60], [0, 0, 1.0]]), 120, 120)
    x, y = np.meshgrid(np.arange(120) - 59.5, 59.5 - np.arange(120))
    back = np.tensordot(np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]), (1, 0))
    right, down = back[:2] / back[2]
    deep = (back[2] > 0) & (right > 2) & (right < 78) & (down > 12) & (down < 38)
    assert deep.sum() > 500
    assert inside[deep].all()
    away = (back[2] <= 0) | (right < -2) | (right > 82) | (down > 42)
    assert not inside[away].any()
    assert (colors[deep & (right < 37)] == [255, 0, 0]).all()
    assert (colors[deep & (right > 43)] == [0, 0, 255]).all()


def test_the_cells_of_the_map_are_means_of_the_image():
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[::2] = 255  # Lines that a cell cannot show
    image = SceneImage(Image.fromarray(fine), north_up(0.1, (-20, -20), 400))
    port = Viewport(0.0, 0.0, 0.2, 40, 40)
    colors, inside = image.warped(port.matrix(2), 20, 20)
    assert inside.all()
    np.testing.assert_allclose(colors, 127.5, atol=8)


def test_the_map_shows_the_image_dimmed_under_the_tracks_unless_it_is_switched_off():
    view = view_of(samples=0)
    port = Viewport(0.0, 4.0, 0.25, 80, 80)
    image = SceneImage(halves(), north_up(0.25, (-10.0, 0.0), 40))
    shown = ScenePainter(view, port, DARK, image=image).paint()
    bare = ScenePainter(view, port, DARK).paint()
    off = ScenePainter(view, port, DARK, Layers(image=False), image=image).paint()
    assert off.back.tolist() == bare.back.tolist()
    assert (shown.code == bare.code).mean() > 0.9  # Strokes stay
    middle = unpack_rgb(shown.back[10])
    assert 60 < middle[2, 0] < 160 > middle[2, 2]
    assert 60 < middle[-3, 2] < 160 > middle[-3, 0]
    assert (shown.back[0] == DARK.background).all()  # Beyond the image


def test_a_key_of_the_forecast_screen_hides_the_image(tmp_path):
    save_image(
        tmp_path / "plaza.zarr", "plaza", SceneImage(halves(), north_up(1.0, (-40, -20), 40))
    )

    async def play(pilot):
        pilot.app.engine = Busy()
        screen = ForecastScreen(tmp_path / "a run", tmp_path / "plaza.zarr")
        await pilot.app.push_screen(screen)
        screen.summary = SplitSummary(40)
        screen.show(view_of())
        await until(pilot, lambda: screen.scene.image is not None)
        shown = screen.scene.strips
        await pilot.press("I")
        assert not screen.scene.drawn.image
        assert screen.scene.strips != shown
        screen.show(view_of(scene="elsewhere"))
        await pilot.pause()
        assert screen.scene.image is None
        await pilot.press("I")
        await until(pilot, lambda: "data add-image" in text_of(pilot.app))

    piloted(app_on(tmp_path), play)


def test_a_terminal_with_few_colours_says_that_it_shows_no_image(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "COLOR_SYSTEM", "256")

    async def play(pilot):
        pilot.app.engine = Busy()
        screen = ForecastScreen(tmp_path / "a run", tmp_path / "plaza.zarr")
        await pilot.app.push_screen(screen)
        screen.scene.show_image(SceneImage(halves(), north_up(1.0, (0, 0), 40)))
        await pilot.press("I")
        await until(pilot, lambda: "an image needs" in text_of(pilot.app))

    piloted(app_on(tmp_path), play)


def test_forecasts_are_plotted_on_the_image(trajflow, trained, fork, tmp_path):
    store = shutil.copytree(fork, tmp_path / "fork.zarr")
    words = ("--panels", "1", "--samples", "2")
    assert trajflow("plot", trained[0], store, "-o", tmp_path / "bare.png", *words)[0] == 0
    green = SceneImage(Image.new("RGB", (50, 50), (0, 200, 0)), north_up(20.0, (-500, -500), 50))
    for scene in open_store(store).scenes:
        save_image(store, scene, green)
    assert trajflow("plot", trained[0], store, "-o", tmp_path / "image.png", *words)[0] == 0
    share = {}
    for name in ("bare", "image"):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"), int)
        share[name] = ((pixels[..., 1] - pixels[..., 0]) > 60).mean()
    assert share["bare"] < 0.02
    assert share["image"] > 0.4


def bomb():
    """A PNG whose header promises 50 000 x 50 000 pixels."""
    content = BytesIO()
    halves(1, 1).save(content, "PNG")
    raw = bytearray(content.getvalue())
    raw[16:24] = (50_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    return bytes(raw)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no image at all", "damaged or not an image"),
        (None, "damaged or not an image"),
        (bomb(), "at most 64,000,000"),
    ],
)
def test_a_damaged_or_huge_image_is_one_error(trajflow, store, picture, content, said):
    picture.write_bytes(picture.read_bytes()[:90] if content is None else content)
    scene = open_store(store).scenes[0]
    code, _, error = trajflow("data", "add-image", store, scene, picture, "--metres-per-pixel", "1")
    assert code == 2
    assert said in " ".join(error.split())
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3", "has 3 numbers"),
        ("a b c d e f g h i", "could not convert"),
        ("1 2 3 4 5 6 7 8 9", "not an invertible"),
        ("1 0 nan 0 1 0 0 0 1", "not an invertible"),
    ],
)
def test_a_bad_matrix_is_one_error(trajflow, store, picture, tmp_path, text, said):
    (tmp_path / "H.txt").write_text(text)
    scene, words = open_store(store).scenes[0], ("--homography", tmp_path / "H.txt")
    code, _, error = trajflow("data", "add-image", store, scene, picture, *words)
    assert code == 2
    assert said in " ".join(error.split())


def test_an_unknown_recording_or_no_scale_is_refused(trajflow, store, picture):
    words = ("--metres-per-pixel", "1")
    assert trajflow("data", "add-image", store, "nowhere", picture, *words)[0] == 2
    code, _, error = trajflow("data", "add-image", store, open_store(store).scenes[0], picture)
    assert code == 2
    assert "--homography" in error
    code, _, error = trajflow(
        "data", "add-image", store, open_store(store).scenes[0], picture, "--metres-per-pixel", "0"
    )
    assert code == 2


def test_a_matrix_far_from_the_origin_is_taken(tmp_path):
    save_image(tmp_path / "x.zarr", "a", SceneImage(halves(), north_up(0.05, (5e5, 5.6e6), 40)))
    image = load_image(tmp_path / "x.zarr", "a")
    grid = np.array([[0.05, 0, 5e5], [0, -0.05, 5.6e6 + 2], [0, 0, 1]])
    colors, inside = image.warped(grid, 80, 40)
    assert inside[1:-1, 1:-1].all()
    np.testing.assert_allclose(colors[5, [10, 70]], [[255, 0, 0], [0, 0, 255]], atol=1)
