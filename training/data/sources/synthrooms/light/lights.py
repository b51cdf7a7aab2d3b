"""Where light comes from in a room: windows by day, the sun through them, lamps, and never none."""

from dataclasses import dataclass

import numpy as np

from ..rooms.plan import Space
from ..rooms.shapes import Array
from ..splits import choose

MOST_LIGHTS = 3  # of one space, the sun aside
LAMPS = ("globe", "globe", "warm", "warm", "panel")
HELD_OUT_LAMPS = ("colored", "spot")
DAYS = ("cloudy", "cloudy", "sunny", "night")
HELD_OUT_DAYS = ("dusk", "low sun")


@dataclass(frozen=True, eq=False)
class Light:
    """A light source: a parallelogram, or what comes through one from the sun.

    Args:
        center: (3,).
        across, up: (3,) from the centre to the middle of its sides.
        normal: (3,) unit direction that a flat source faces, or zeros: light to all sides.
        color: (3,) intensity; of the sun, irradiance over pi.
        sun: (3,) unit direction from which all light comes, if it is an opening that the sun shines through.
        focus: Exponent of the cosine to the normal: 1 is a flat source, more a spot.
    """

    center: Array
    across: Array
    up: Array
    normal: Array
    color: Array
    sun: Array | None = None
    focus: float = 1.0


@dataclass(frozen=True, eq=False)
class Window:
    """Where daylight comes in.

    Args:
        matrix: (4, 4) motion to its lower middle on the wall, +y into the room.
        width, height: Metres.
    """

    matrix: Array
    width: float
    height: float


def make_lights(
    random: np.random.Generator, split: str, space: Space, lamps: Array, windows: list[Window]
) -> list[Light]:
    """The lights of one space: daylight through its windows, the sun, and lamps; at least one.

    Args:
        random: Where all chance comes from.
        split: Of the room.
        space: The room, or one of two.
        lamps: (L, 3) where its lamps shine.
        windows: Its windows.
    """
    day = choose(random, split, DAYS, HELD_OUT_DAYS) if windows else "night"
    lights: list[Light] = []
    if day != "night":
        lights += [_daylight(random, window, day) for window in windows[:2]]
    suns = [_sun(random, windows[0], day)] if day in ("sunny", "low sun") else []
    kind = choose(random, split, LAMPS, HELD_OUT_LAMPS)
    tone = _tone(random, kind)
    for index in random.permutation(len(lamps)).tolist():
        if len(lights) == MOST_LIGHTS:
            break
        overhead = lamps[index, 2] > 1.75
        # by day some lamps are off
        if day in ("cloudy", "sunny", "low sun") and random.uniform() < (0.4 if overhead else 0.6):
            continue
        lights.append(_lamp(random, lamps[index], overhead, kind, tone))
    if not lights:
        middle = np.array((*space.bounds.mean(0), space.height - 0.15))
        lights.append(_lamp(random, middle, True, kind, tone))
    return lights + suns


def _daylight(random: np.random.Generator, window: Window, day: str) -> Light:
    """A window as a flat source just before the pane."""
    tone = {"dusk": np.array((0.35, 0.5, 1.0)), "low sun": np.array((1.0, 0.75, 0.55))}.get(
        day, np.array((1.0, 1.0, 1.0)) * random.uniform(0.92, 1.08, 3)
    )
    strength = random.uniform(2.0, 5.5) * (0.4 if day == "dusk" else 1.0)
    axes = window.matrix[:3, :3]
    return Light(
        center=(window.matrix @ (0.0, 0.22, window.height / 2, 1.0))[:3],
        across=axes[:, 0] * window.width * 0.45,
        up=axes[:, 2] * window.height * 0.45,
        normal=axes[:, 1].copy(),
        color=tone * strength * window.width * window.height,
    )


def _sun(random: np.random.Generator, window: Window, day: str) -> Light:
    """What the sun sends through a window."""
    height = np.deg2rad(random.uniform(6, 16) if day == "low sun" else random.uniform(25, 60))
    side = np.deg2rad(random.uniform(-50, 50))
    axes = window.matrix[:3, :3]
    level = -np.cos(side) * axes[:, 1] + np.sin(side) * axes[:, 0]
    tone = np.array((1.0, 0.6, 0.3)) if day == "low sun" else np.array((1.0, 0.93, 0.82))
    return Light(
        center=(window.matrix @ (0.0, 0.05, window.height / 2, 1.0))[:3],
        across=axes[:, 0] * window.width / 2,
        up=axes[:, 2] * window.height / 2,
        normal=axes[:, 1].copy(),
        color=tone * random.uniform(1.5, 4.0),
        sun=np.cos(height) * level + np.sin(height) * np.array((0.0, 0.0, 1.0)),
    )


def _tone(random: np.random.Generator, kind: str) -> Array:
    """The colour (3,) of a room's lamps."""
    if kind == "colored":  # strips of diodes: one channel nearly off
        return random.permutation(np.array((1.0, random.uniform(0.3, 0.8), random.uniform(0.15, 0.28))))
    warmth = {"warm": (0.45, 0.75), "panel": (0.85, 1.1)}.get(kind, (0.6, 1.0))
    blue = random.uniform(*warmth)
    return np.array((1.0, (1 + blue) / 2 + random.normal(0, 0.02), blue))


def _lamp(random: np.random.Generator, point: Array, overhead: bool, kind: str, tone: Array) -> Light:
    """A lamp: overhead ones may be panels or spots that shine down, others shine to all sides."""
    down = np.array((0.0, 0.0, -1.0))
    strength = random.uniform(1.5, 4.0) if overhead else random.uniform(0.5, 1.2)
    wide, deep, normal, focus = 0.08, 0.08, np.zeros(3), 1.0
    if overhead and kind == "panel":
        wide, deep, normal = random.uniform(0.15, 0.6), random.uniform(0.15, 0.3), down
        strength *= 1.6
    elif overhead and kind == "spot":
        normal, focus = down + random.normal(0, 0.35, 3), random.uniform(4, 14)
        normal = normal / np.linalg.norm(normal)
        strength *= 3
    turn = random.uniform(0, np.pi)
    return Light(
        center=point,
        across=wide * np.array((np.cos(turn), np.sin(turn), 0.0)),
        up=deep * np.array((-np.sin(turn), np.cos(turn), 0.0)),
        normal=normal,
        color=tone * strength,
        focus=float(focus),
    )
