"""Hand-held camera paths: a person walks through the free space of a room and looks at one thing after another."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..rooms.rooms import Room
from .walk import HIGH, LOW, FreeSpace

Array = NDArray[np.float64]
STEP = (0.12, 0.26)  # metres a frame on average
MOST_STEP = 0.35
MOST_TURN = np.deg2rad(17.0)  # a frame: neighbours share most of what they see
NEAR = 0.45  # metres from which on a thing is looked at
FAMILIAR = 0.45  # share of the looks at what has been looked at before


def intrinsics_of(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """A camera (3, 3): 58 to 65 degrees across, principal point near the middle."""
    height, width = size
    focal = width / 2 / np.tan(np.deg2rad(random.uniform(58, 65)) / 2)
    shift = random.uniform(-0.01, 0.01, 2) * width
    return np.array(((focal, 0, (width - 1) / 2 + shift[0]), (0, focal, (height - 1) / 2 + shift[1]), (0, 0, 1)))


def camera_path(random: np.random.Generator, room: Room, frames: int) -> Array:
    """Poses ``camera_to_world`` (frames, 4, 4): a walk through the room, past things that are looked at closely, and
    again from other sides. It moves at most ``MOST_STEP`` a frame, and turns little more than ``MOST_TURN``."""
    space = FreeSpace(room)
    steps = np.minimum(random.uniform(*STEP) * _drift(random, frames, 0.3, 1.7), 0.95 * MOST_STEP)
    walked = np.cumsum(steps) - steps[0]
    way = space.way(random, float(walked[-1]))
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))))
    ground = np.stack([np.interp(walked, along, way[:, axis]) for axis in range(2)], -1)
    height = _drift(random, frames, LOW + 0.1, HIGH - 0.15)
    position = np.concatenate((ground, height[:, None]), 1)
    yaw, pitch = _gaze(random, room, space, position)
    yaw += random.normal(0, 0.008, frames)
    pitch = np.clip(pitch + _drift(random, frames, -0.12, 0.1), -0.7, 0.25) + random.normal(0, 0.008, frames)
    roll = _drift(random, frames, -0.05, 0.05) + random.normal(0, 0.005, frames)
    return _poses(position + random.normal(0, 0.004, (frames, 3)), yaw, pitch, roll)


def _gaze(random: np.random.Generator, room: Room, space: FreeSpace, position: Array) -> tuple[Array, Array]:
    """Yaw and pitch (frames,) of looks at things of the room, as fast as a head with a camera turns."""
    things = room.obstacles.mean(1)
    weight = np.linalg.norm(room.obstacles[:, 1] - room.obstacles[:, 0], axis=-1)
    seen = np.zeros(len(things), bool)
    yaw, pitch = np.zeros(len(position)), np.zeros(len(position))
    turn = tilt = speed = 0.0
    until, target = 0, np.zeros(3)
    for frame, eye in enumerate(position):
        if frame >= until:
            until = frame + int(random.integers(2, 6))
            target = _target(random, space, things, weight, seen, eye, turn)
        aim = target - eye
        goal, rise = np.arctan2(aim[1], aim[0]), np.arctan2(aim[2], max(float(np.hypot(aim[0], aim[1])), 0.3))
        if frame == 0:
            turn, tilt = goal, rise
        # the head gains speed and loses it again before it arrives
        missing = (goal - turn + np.pi) % (2 * np.pi) - np.pi
        speed = float(
            np.clip(np.clip(0.5 * missing, speed - MOST_TURN / 2, speed + MOST_TURN / 2), -MOST_TURN, MOST_TURN)
        )
        turn += speed
        tilt += float(np.clip(0.4 * (rise - tilt), -MOST_TURN / 2, MOST_TURN / 2))
        yaw[frame], pitch[frame] = turn, tilt
    return yaw, pitch


def _target(
    random: np.random.Generator,
    space: FreeSpace,
    things: Array,
    weight: Array,
    seen: NDArray[np.bool_],
    eye: Array,
    heading: float,
) -> Array:
    """What to look at next (3,) from an eye (3,): a thing that is not hidden, rather a large one, and a look aside."""
    offset = things - eye
    distance = np.linalg.norm(offset, axis=1)
    level = np.linalg.norm(offset[:, :2], axis=1)
    fit = (distance > np.maximum(NEAR, 0.5 * weight)) & (level > 0.3) & space.sees(eye[:2], things[:, :2])
    if not fit.any():
        heading = random.uniform(0, 2 * np.pi)
        return eye + 2 * np.array((np.cos(heading), np.sin(heading), -0.2))
    familiar = fit & seen
    choice = np.flatnonzero(familiar if familiar.any() and random.uniform() < FAMILIAR else fit)
    share = weight[choice] / (0.5 + distance[choice]) if random.uniform() < 0.4 else weight[choice] * distance[choice]
    aside = np.abs((np.arctan2(offset[choice, 1], offset[choice, 0]) - heading + np.pi) % (2 * np.pi) - np.pi)
    share *= 0.1 + np.minimum(aside, np.pi / 2)
    share *= np.where(things[choice, 2] > 1.9, 0.2, 1.0)  # few people look at ceilings
    index = int(random.choice(choice, p=share / share.sum()))
    seen[index] = True
    return things[index]


def _drift(random: np.random.Generator, frames: int, low: float, high: float, every: int = 7) -> Array:
    """Values (frames,) that wander smoothly between bounds, with a new goal every few frames."""
    knots = np.arange(-2 * every, frames + 3 * every, every)
    spline = CubicSpline(knots, random.uniform(low, high, len(knots)))
    return np.clip(spline(np.arange(frames)), low, high)


def _poses(position: Array, yaw: Array, pitch: Array, roll: Array) -> Array:
    """(N, 4, 4) with OpenCV axes of cameras that look along yaw (from +x, about +z) and pitch (up)."""
    forward = np.stack((np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)), -1)
    level = np.stack((np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)), -1)  # to the right of a camera without roll
    under = np.cross(forward, level)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    right = cosine * level + sine * under
    poses = np.tile(np.eye(4), (len(yaw), 1, 1))
    poses[:, :3, 0], poses[:, :3, 1], poses[:, :3, 2] = right, np.cross(forward, right), forward
    poses[:, :3, 3] = position
    return poses
