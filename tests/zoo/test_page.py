"""The page, in numbers and in a real browser: Chromium, driven over WebDriver's plain HTTP."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pri3d_zoo.features import draw_features, write_page
from pri3d_zoo.page import Features, View, Voxels, document, encode, explorer
from pri3d_zoo.resunet import build_resunet
from pri3d_zoo.training.report import report

GRID = (48, 64)  # rows and columns of the feature maps
CELL = 3  # pixels of the images to a cell
SHIFTS = {"these weights": (7, 5), "those weights": (3, 9)}  # cells, of the second view against the first
HEIGHT, WIDTH = GRID[0] * CELL, GRID[1] * CELL


def shifted_maps(shift):
    """Two windows on one field of random codes, no two alike: what is at (u, v) in the first is at (u, v) - shift."""
    field = np.random.default_rng(sum(shift)).normal(size=(24, GRID[0] + shift[1], GRID[1] + shift[0]))
    field = torch.from_numpy(field).float()
    return field[:, : GRID[0], : GRID[1]], field[:, shift[1] :, shift[0] :]


def two_views():
    pictures = [Image.effect_mandelbrot((WIDTH, HEIGHT), (-2, -1.5, 1, 1.5), 20 + 9 * i) for i in range(2)]
    left, right = (View(f"{i} & <b>.jpg", x.convert("RGB"), x.size) for i, x in enumerate(pictures))
    return left, right


def best_match(maps, u, v, size=(WIDTH, HEIGHT)):
    """Brute force: the pixel of the other view, and its cosine, for a pixel (u, v), features between cells mixed."""
    here, there = (x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=0) for x in maps)
    _, rows, columns = here.shape
    x, y = (u + 0.5) * columns / size[0] - 0.5, (v + 0.5) * rows / size[1] - 0.5
    query = sum(
        max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row)) * here[:, row, column]
        for row in range(rows)
        for column in range(columns)
    )
    cosines = np.tensordot(query / np.linalg.norm(query), there, 1)
    row, column = np.unravel_index(cosines.argmax(), cosines.shape)
    return (column * CELL + 1, row * CELL + 1), cosines.max()


# --------------------------------------------------------------------------------------------------------- numbers


def test_codes_keep_cosines():
    torch.manual_seed(0)
    maps = [torch.randn(20, 6, 5) * 9, torch.randn(20, 4, 7) + 1]
    units = np.concatenate([x.double().numpy().reshape(20, -1).T for x in maps])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    for most, limit in ((64, 0.03), (20, 0.03), (12, 0.5)):
        encoded = encode(maps, most)
        assert [tuple(x.shape) for x in encoded.codes] == [(6, 5, min(most, 20)), (4, 7, min(most, 20))]
        codes = np.concatenate([x.numpy().reshape(-1, min(most, 20)) for x in encoded.codes])
        restored = codes * encoded.scales.numpy() + encoded.offsets.numpy()
        restored /= np.linalg.norm(restored, axis=1, keepdims=True)
        error = np.abs(restored @ restored.T - units @ units.T).max()
        assert encoded.error == pytest.approx(error, abs=1e-5)  # so few features are all in the sample
        assert error < limit
        values = np.linalg.svd(units, compute_uv=False) ** 2
        assert encoded.kept == pytest.approx(values[:most].sum() / values.sum())


def test_what_is_nearly_alike_is_told_apart():
    """As features of random weights are: all of one direction but for a little."""
    torch.manual_seed(0)
    direction = torch.randn(32, 1, 1)
    assert encode([direction + 0.01 * torch.randn(32, 9, 9) for _ in range(2)], 32).error < 1e-5


def test_a_page_of_large_maps_is_small():
    torch.manual_seed(0)
    maps = (torch.randn(128, 120, 160), torch.randn(128, 120, 160))
    pictures = [Image.effect_noise((640, 480), 90).convert("RGB") for _ in range(2)]  # nothing compresses worse
    left, right = (View("view", picture, picture.size) for picture in pictures)
    colors = torch.randint(256, (81_000, 3), dtype=torch.uint8)
    voxels = Voxels(torch.rand(81_000, 3), 0.02, colors)
    text = document(
        "large", explorer((left, right), [Features("one", maps, colors), Features("two", maps, colors)], voxels)
    )
    assert len(text) < 7_200_000
    assert "46 of 128 dimensions" in text
    assert "50,000 of 81,000 voxels" in text


def test_voxels_without_their_colors_are_refused():
    voxels = Voxels(torch.rand(9, 3), 0.1, torch.zeros(9, 3, dtype=torch.uint8))
    maps = shifted_maps((1, 1))
    with pytest.raises(ValueError, match="these gives no colours to 9 voxels"):
        explorer(two_views(), [Features("these", maps)], voxels)
    with pytest.raises(ValueError, match="these gives 4 colours to 9 voxels"):
        explorer(two_views(), [Features("these", maps, torch.zeros(4, 3, dtype=torch.uint8))], voxels)


class Elements(HTMLParser):
    """The attributes of all elements, and the text of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.elements, self.texts = [], {}

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.texts.setdefault(len(self.elements) - 1, data)


def test_nothing_of_a_page_comes_from_elsewhere():
    text = document(
        "</title><script>alert(1)</script>", explorer(two_views(), [Features("</script>", shifted_maps((1, 1)))])
    )
    parsed = Elements()
    parsed.feed(text)
    scripts = [i for i, (tag, _) in enumerate(parsed.elements) if tag == "script"]
    assert [parsed.elements[i][1] for i in scripts] == [{"id": "explorer-data", "type": "application/json"}, {}]
    assert json.loads(parsed.texts[scripts[0]])["weights"][0]["name"] == "</script>"
    assert not any(name in ("src", "href", "style") or name.startswith("on") for _, a in parsed.elements for name in a)
    assert not re.search("https?://", text)
    (policy,) = (a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    (style,) = (i for i, (tag, _) in enumerate(parsed.elements) if tag == "style")
    for kind, i in (("style", style), ("script", scripts[1])):
        digest = base64.b64encode(hashlib.sha256(parsed.texts[i].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy


# --------------------------------------------------------------------------------------------------------- browser


class Browser:
    """A window of Chromium."""

    ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

    def __init__(self, driver: str, profile: Path, phone: bool) -> None:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        options = {"args": [*arguments, f"--user-data-dir={profile}", "--window-size=1280,900"]}
        if phone:
            metrics = {"width": 390, "height": 844, "pixelRatio": 3, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session, self.pointer = driver, "touch" if phone else "mouse"
        self.session += (
            f"/session/{self.call('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        )

    def call(self, method: str, path: str, body: object = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.session + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def open(self, path: Path) -> None:
        self.call("POST", "/url", {"url": path.as_uri()})
        for _ in range(600):
            if self.matches():
                return
            time.sleep(0.05)
        raise TimeoutError(f"nothing is drawn; the console says {self.console()}")

    def run(self, script: str, *arguments: object):
        """What a script returns once everything that was asked for before is drawn."""
        wait = f"const given = [...arguments], done = given.pop(), run = function () {{{script}}};"
        wait += "requestAnimationFrame(() => requestAnimationFrame(() => done(run(...given))));"
        return self.call("POST", "/execute/async", {"script": wait, "args": arguments})

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def matches(self) -> list[tuple]:
        """Of each set of weights the pixel asked for, its match, each with the letter of its view, and the cosine."""
        texts = self.run("return [...document.querySelectorAll('.match')].map((x) => x.textContent)")
        found = [re.fullmatch(r"(.) \((\d+), (\d+)\) → (.) \((\d+), (\d+)\), cosine (\d\.\d{3})", x) for x in texts]
        return [
            ((m[1], int(m[2]), int(m[3])), (m[4], int(m[5]), int(m[6])), float(m[7])) for m in found if m is not None
        ]

    def actions(self, kind: str, actions: list[dict]) -> None:
        source = {"type": kind, "id": kind, "actions": actions}
        if kind == "pointer":
            source["parameters"] = {"pointerType": self.pointer}
        self.call("POST", "/actions", {"actions": [source]})

    def place(self, canvas: int, x: float, y: float) -> dict:
        """A move of the pointer to a place of a canvas, in shares of its size."""
        script = """
            const canvas = document.querySelectorAll("canvas")[arguments[0]];
            canvas.scrollIntoView({ block: "center", behavior: "instant" });
            const box = canvas.getBoundingClientRect();
            return [box.left + arguments[1] * box.width, box.top + arguments[2] * box.height];
        """
        left, top = self.run(script, canvas, x, y)
        return {"type": "pointerMove", "duration": 0, "x": round(left), "y": round(top)}

    def point(self, canvas: int, u: int, v: int, press: bool = False) -> None:
        buttons = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] if press else []
        self.actions("pointer", [self.place(canvas, (u + 0.5) / WIDTH, (v + 0.5) / HEIGHT), *buttons])

    def press(self, *keys: str) -> None:
        self.actions("key", [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")])

    def pixels(self, canvas: int) -> np.ndarray:
        """(height, width, 4) uint8, what is drawn on a canvas."""
        url = self.run("return document.querySelectorAll('canvas')[arguments[0]].toDataURL()", canvas)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


TAB, LEFT, UP, RIGHT, DOWN, SPACE = "\ue004", "\ue012", "\ue013", "\ue014", "\ue015", " "
A1, B1, A2, B2, VOXELS1, VOXELS2 = range(6)  # canvases: of each weights both views; then the voxels


@pytest.fixture(scope="module")
def driver():
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: the page is not tested in a browser (Debian: chromium, chromium-driver)")
    process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        lines = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
        yield f"http://127.0.0.1:{next(int(m[1]) for m in lines if m)}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def windows(driver, tmp_path_factory):
    """Opens a window on a desktop or on a phone, one of each for all tests."""
    opened = {}

    def get(phone=False):
        if phone not in opened:
            opened[phone] = Browser(driver, tmp_path_factory.mktemp("profile"), phone)
        return opened[phone]

    yield get
    for browser in opened.values():
        browser.call("DELETE", "")


def facing_walls():
    """A red wall, and behind it a blue one, as seen at first; with green and yellow as the colours of features."""
    across = torch.stack(torch.meshgrid(torch.arange(-9, 10), torch.arange(-9, 10), indexing="ij"), -1).view(-1, 2)
    walls = [torch.cat((across, torch.full((len(across), 1), ahead)), 1) for ahead in (-6, 6)]
    own = torch.tensor([[255, 0, 0], [0, 0, 255]], dtype=torch.uint8).repeat_interleave(len(across), 0)
    by_feature = torch.tensor([[0, 255, 0], [255, 255, 0]], dtype=torch.uint8).repeat_interleave(len(across), 0)
    return Voxels(torch.cat(walls).float() / 50, 1 / 50, own), by_feature


@pytest.fixture(scope="module")
def known_page(tmp_path_factory):
    """A page on which every match is known."""
    path = tmp_path_factory.mktemp("known") / "page.html"
    voxels, colors = facing_walls()
    weights = [Features(name, shifted_maps(shift), colors) for name, shift in SHIFTS.items()]
    path.write_text(document("known", explorer(two_views(), weights, voxels)), encoding="utf-8")
    return path


@pytest.fixture
def desktop(windows, known_page):
    browser = windows()
    browser.open(known_page)
    yield browser
    assert browser.console() == []


def check_matches(browser, side, near):
    """The page asks for the pixel that is pointed at, and gives the best match of each weights."""
    first, second = browser.matches()
    for shift, (asked, found, cosine) in zip(SHIFTS.values(), (first, second), strict=True):
        assert (asked[0], found[0]) == ("AB"[side], "BA"[side])
        assert np.abs(np.subtract(asked[1:], near)).max() <= 1
        maps = shifted_maps(shift)
        best, value = best_match(maps if side == 0 else maps[::-1], *asked[1:])
        assert found[1:] == best
        assert cosine == pytest.approx(value, abs=0.01)
        if all(asked[i] % CELL == 1 for i in (1, 2)):  # the centre of a cell: its very code is in the other view
            moved = np.subtract(asked[1:], [(1, -1)[side] * CELL * x for x in shift])
            if (moved >= 0).all() and (moved < (WIDTH, HEIGHT)).all():
                assert (best, cosine) == (tuple(moved), pytest.approx(1, abs=0.01))


def test_the_match_under_the_mouse(desktop):
    check_matches(desktop, 0, (WIDTH // 2, HEIGHT // 2))
    for canvas, side, u, v in ((A1, 0, 100, 61), (A2, 0, 40, 100), (B1, 1, 22, 76), (B2, 1, 151, 4), (A1, 0, 190, 142)):
        desktop.point(canvas, u, v)
        check_matches(desktop, side, (u, v))


def ring(pixels):
    """The centre of the ring on a canvas, in pixels of the images."""
    v, u = np.nonzero((pixels == (0, 255, 255, 255)).all(2))
    assert len(u) > 20
    height, width = pixels.shape[:2]
    return np.array([(u.mean() + 0.5) / width * WIDTH - 0.5, (v.mean() + 0.5) / height * HEIGHT - 0.5])


def test_the_match_is_ringed_and_hottest(desktop):
    desktop.point(A1, 100, 61)
    for (asked, found, _), (a, b) in zip(desktop.matches(), ((A1, B1), (A2, B2)), strict=True):
        assert np.abs(ring(desktop.pixels(a)) - asked[1:]).max() < 1
        pixels = desktop.pixels(b)
        assert np.abs(ring(pixels) - found[1:]).max() < 1
        scale = pixels.shape[1] / WIDTH
        u, v = (round((x + 0.5) * scale) for x in found[1:])
        brightness = pixels[..., :3].astype(int).sum(2)
        assert brightness[v, u] > 450  # white, in the midst of the ring
        assert np.ptp(pixels[: v - 40, : u - 40, :3].astype(int), axis=2).mean() < 9  # what is not alike stays grey


def test_temperature_changes_the_heat_and_not_the_match(desktop):
    desktop.point(A1, 100, 61, press=True)
    before, cold = desktop.matches(), desktop.pixels(B1)
    picture = desktop.pixels(A1)
    slider = (
        'const slider = document.querySelector("[type=range]"); slider.focus(); return slider.labels[0].textContent'
    )
    assert desktop.run(slider) == "Temperature0.100"
    desktop.press(*RIGHT * 15)
    assert desktop.run(slider) == "Temperature0.562"
    warm = desktop.pixels(B1)
    assert desktop.matches() == before
    assert np.array_equal(desktop.pixels(A1), picture)
    redness = [(x[..., 0].astype(int) - x[..., 2]).mean() for x in (cold, warm)]
    assert redness[1] > redness[0] + 30
    desktop.press(*LEFT * 40)
    assert desktop.run(slider) == "Temperature0.006"
    assert desktop.matches() == before


def test_a_click_holds_the_pixel(desktop):
    desktop.point(A1, 100, 61, press=True)
    held = desktop.matches()
    hint = "return document.querySelector('.hint').textContent"
    assert desktop.run(hint) == "The pixel is held; a click lets it go."
    desktop.point(B2, 30, 40)
    assert desktop.matches() == held
    desktop.point(A1, 50, 50, press=True)
    check_matches(desktop, 0, (50, 50))
    assert desktop.run(hint) == "A click holds the pixel."
    desktop.point(A1, 60, 52)
    check_matches(desktop, 0, (60, 52))


def test_keyboard_alone(desktop):
    focused = "return document.activeElement.ariaLabel ?? document.activeElement.labels?.[0].textContent"
    stops = []
    for _ in range(8):
        desktop.press(TAB)
        stops.append(desktop.run(focused))
    assert [stop.partition(";")[0] for stop in stops] == [
        "Temperature0.100",
        *(f"View {view}, {name}" for name in SHIFTS for view in "AB"),
        "Nearness1.3",
        "the voxels' own colours",
        "Voxels in 3D, these weights",
    ]
    desktop.run("document.querySelectorAll('canvas')[arguments[0]].focus()", A1)
    desktop.press(RIGHT, RIGHT, UP)
    check_matches(desktop, 0, (WIDTH // 2 + 2, HEIGHT // 2 - 1))
    found = desktop.matches()[1][1]
    desktop.run("document.querySelectorAll('canvas')[arguments[0]].focus()", B2)
    desktop.press(DOWN)  # from the match of these weights on
    check_matches(desktop, 1, (found[1], found[2] + 1))
    desktop.press(*LEFT * (WIDTH + 9))
    assert desktop.matches()[0][0] == ("B", 0, found[2] + 1)
    (_, first, _), (_, second, _) = desktop.matches()
    status = "return document.querySelector('[role=status]').textContent"
    asked = f"Best match of pixel (0, {found[2] + 1}) of view B. "
    until = time.monotonic() + 10  # it speaks once the keys are at rest
    while not (said := desktop.run(status)).startswith(asked) and time.monotonic() < until:
        time.sleep(0.02)
    assert re.sub(r"cosine 0\.\d\d\b", "cosine", said) == (
        f"{asked}"
        f"these weights: pixel ({first[1]}, {first[2]}) of view A, cosine. "
        f"those weights: pixel ({second[1]}, {second[2]}) of view A, cosine."
    )


def middle(browser, canvas=VOXELS1):
    """What colour is in the middle of the voxels: the channels that are lit."""
    pixels = browser.pixels(canvas)
    color = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert color[3] == 255
    return "".join(name for name, value in zip("RGB", color[:3], strict=True) if value > 100)


def front(browser):
    """Where the wall in front is, (u, v) in pixels of the screen."""
    pixels = browser.pixels(VOXELS1).astype(int)
    v, u = np.nonzero((pixels[..., 1] > 100) & (pixels[..., 0] < 50))
    return np.array([u.mean(), v.mean()])


def test_voxels_turn(desktop):
    assert (middle(desktop), middle(desktop, VOXELS2)) == ("G", "G")
    assert not desktop.pixels(VOXELS1)[:8, :8].any()
    place = front(desktop)
    for u, v in ((0.1, 0), (0, 0.1), (-0.1, -0.1)):  # the front follows the pointer
        press, release = ({"type": f"pointer{kind}", "button": 0} for kind in ("Down", "Up"))
        moves = [desktop.place(VOXELS2, 0.5 + x * u, 0.5 + x * v) for x in (0, 0.5, 1)]
        desktop.actions("pointer", [moves[0], press, *moves[1:], release])
        place, before = front(desktop), place
        assert all(moved * wanted > 0.1 for moved, wanted in zip(place - before, (u, v), strict=True) if wanted)
    desktop.run("document.querySelectorAll('canvas')[arguments[0]].focus()", VOXELS1)
    desktop.press(*RIGHT * 31)  # a tenth of a radian each: half a turn, and the wall from behind is in front
    assert (middle(desktop), middle(desktop, VOXELS2)) == ("RG", "RG")
    desktop.run("document.querySelector('[type=checkbox]').focus()")
    desktop.press(SPACE)
    assert middle(desktop) == "B"
    drawn = np.count_nonzero(desktop.pixels(VOXELS1)[..., 3])
    desktop.run("document.querySelectorAll('canvas')[arguments[0]].focus()", VOXELS1)
    desktop.press(*"++++")
    assert np.count_nonzero(desktop.pixels(VOXELS1)[..., 3]) > 1.2 * drawn
    desktop.press(*"-" * 8)
    assert np.count_nonzero(desktop.pixels(VOXELS1)[..., 3]) < 0.8 * drawn


def test_a_phone(windows, known_page):
    phone = windows(phone=True)
    phone.open(known_page)
    width, shown = phone.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= shown == 390
    for canvas, side, u, v in ((A1, 0, 100, 61), (B2, 1, 40, 100)):
        phone.point(canvas, u, v, press=True)
        check_matches(phone, side, (u, v))
    down, up = ({"type": f"pointer{kind}", "button": 0} for kind in ("Down", "Up"))
    start, end = (phone.place(A2, (u + 0.5) / WIDTH, (v + 0.5) / HEIGHT) for u, v in ((20, 130), (150, 20)))
    phone.actions("pointer", [start, down, end, up])  # a finger that is drawn over a view
    check_matches(phone, 0, (150, 20))
    # the views of both weights beside each other, large enough for a finger
    boxes = phone.run("return [...document.querySelectorAll('canvas')].map((x) => x.getBoundingClientRect().toJSON())")
    assert all(box["width"] > 170 for box in boxes)
    assert [boxes[i]["top"] for i in (A1, B1)] == [boxes[i]["top"] for i in (A2, B2)]
    assert phone.console() == []


def test_light_and_dark(desktop):
    def brightness():
        script = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        return [sum(map(int, re.findall(r"\d+", color))) / 3 for color in desktop.run(script)]

    text, ground = brightness()
    assert ground - text > 200
    for scheme, sign in (("dark", -1), ("light", 1)):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        desktop.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": media})
        text, ground = brightness()
        assert sign * (ground - text) > 200


def test_the_page_cannot_connect(windows, known_page):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    browser = windows()
    browser.open(known_page)
    browser.run(
        "fetch(arguments[0]).catch(() => {}); new Image().src = arguments[0]", f"http://127.0.0.1:{server.server_port}"
    )
    refusals, until = [], time.monotonic() + 10
    while len(refusals) < 2 and time.monotonic() < until:
        refusals += browser.console()  # what it has not told yet
        time.sleep(0.02)
    server.shutdown()
    server.server_close()
    assert not asked
    assert len(refusals) >= 2
    assert all("Content Security Policy" in message for message in refusals)


def test_the_page_agrees_with_the_picture(windows, tmp_path):
    """From image files, and with the network of a name: what the command line prints is what the page shows."""
    torch.manual_seed(0)
    models = {"one": build_resunet("resnet18"), "two": build_resunet("resnet18")}
    images = [tmp_path / f"{i}.png" for i in range(2)]
    for i, image in enumerate(images):
        Image.effect_mandelbrot((96, 64), (-2 + i / 10, -1.5, 1, 1.5), 20).convert("RGB").save(image)
    said = write_page(models, images, tmp_path / "page.html", pixel=(60, 10), size=64)
    assert re.fullmatch(r".*page\.html: one beside two, 0\.\d MB; open it in a browser", said)
    browser = windows()
    browser.open(tmp_path / "page.html")
    assert not browser.run("return document.querySelectorAll('[type=checkbox]').length")  # no voxels
    for model, (asked, found, cosine) in zip(models.values(), browser.matches(), strict=True):
        match = draw_features(model, images, tmp_path / "out.png", pixel=(60, 10), size=64).match
        assert asked == ("A", *match.pixel)
        assert cosine == pytest.approx(match.similarity, abs=0.01)
        assert found == ("B", *match.best)
    assert browser.console() == []


@pytest.mark.slow
def test_a_report_comes_to_life(windows, tiny_run):
    browser = windows()
    browser.open(report(tiny_run))
    assert len(browser.matches()) == 2
    assert browser.run("return [...document.querySelectorAll('h3')].map((x) => x.textContent)") == [
        "before training",
        "after training",
    ]
    for canvas in (A1, B1, A2, B2, VOXELS1, VOXELS2):
        pixels = browser.pixels(canvas)
        assert pixels[..., :3][pixels[..., 3] > 0].std() > 20
    assert not np.array_equal(browser.pixels(VOXELS1), browser.pixels(VOXELS2))
    assert browser.console() == []
