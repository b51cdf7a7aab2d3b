"""What several files of tests of the synthetic rooms share."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.sources.synthrooms import SynthRooms, source
from pri3d_zoo.training.data.sources.synthrooms.camera import camera
from pri3d_zoo.training.data.sources.synthrooms.light import render
from pri3d_zoo.training.data.sources.synthrooms.light.lights import Light
from pri3d_zoo.training.data.sources.synthrooms.looks.textures import TexturePool, pyramid
from pri3d_zoo.training.data.sources.synthrooms.rooms import rooms, shapes
from pri3d_zoo.training.data.sources.synthrooms.rooms.plan import FloorPlan

SIZE = (60, 80)
SEED = 5


@pytest.fixture(scope="session")
def walked() -> Callable[..., tuple[Frame, ...]]:
    """Gives the frames of a room's walk."""

    @cache
    def make(seed: int = SEED, frames: int = 12) -> tuple[Frame, ...]:
        return tuple(SynthRooms(range(seed, seed + 1), frames=frames, size=SIZE).frames(f"room{seed:08d}"))

    return make


@pytest.fixture(scope="session")
def room() -> Callable[..., rooms.Room]:
    """Gives the room of a seed, of which those frames are."""

    @cache
    def make(seed: int = SEED) -> rooms.Room:
        return rooms.build_room(np.random.default_rng((seed, source.ROOM)))

    return make


@pytest.fixture(scope="session")
def renderer(room) -> Callable[..., render.Renderer]:
    """Gives the renderer of a seed's room."""
    return cache(lambda seed=SEED: render.Renderer(room(seed)))


@pytest.fixture(scope="session")
def view(renderer) -> Callable[..., render.View]:
    """Renders what is seen from where a frame was taken."""

    def see(frame: Frame, seed: int = SEED) -> render.View:
        return renderer(seed).view(SIZE, frame.intrinsics, frame.camera_to_world)

    return see


@pytest.fixture(scope="session")
def pose() -> Callable[..., NDArray[np.float64]]:
    """Gives the camera to world of a place and angles."""

    def make(position: tuple[float, float, float], yaw: float = 0.0, pitch: float = 0.0) -> NDArray[np.float64]:
        return camera._poses(np.array([position]), np.array([yaw]), np.array([pitch]), np.zeros(1))[0]

    return make


@pytest.fixture(scope="session")
def handmade(room) -> Callable[..., rooms.Room]:
    """Makes a room of grey things, each a part of its own, in the box (4, 5, 3) with one small lamp."""

    def make(*things: shapes.Shape, light: tuple[float, float, float] = (0, 0, 2.5), **tables: list) -> rooms.Room:
        count = len(things)
        grey = np.full((256, 256, 3), 0.6, np.float32)
        low, high = np.array((-2.0, -2.5)), np.array((2.0, 2.5))
        given = {name: np.array(value, np.float32) for name, value in tables.items()}
        return replace(
            room(),
            size=np.array((4.0, 5.0, 3.0)),
            plan=FloorPlan((np.stack((low, high))[None],), 3.0),
            shape=shapes.join(things),
            part=np.repeat(np.arange(count, dtype=np.int32), [len(thing.corners) for thing in things]),
            texture=np.zeros(count, np.int32),
            tint=np.ones((count, 3), np.float32),
            specular=given.get("specular", np.zeros(count, np.float32)),
            shininess=np.full(count, 30, np.float32),
            emission=given.get("emission", np.zeros(count, np.float32)),
            glass=np.zeros(count, bool),
            semantic=np.arange(1, count + 1, dtype=np.uint8),
            instance=np.arange(1, count + 1, dtype=np.uint16),
            pool=TexturePool([pyramid(grey)], np.ones((256, 256), np.float32)),
            lights=[
                Light(
                    np.array(light), np.array((0.02, 0, 0)), np.array((0, 0.02, 0)), np.zeros(3), np.array((3.0, 3, 3))
                )
            ],
            obstacles=np.zeros((0, 2, 3)),
        )

    return make
