"""Hand-held camera paths: a person walks through the free space of a room and looks around."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .rooms import Room

Array = NDArray[np.float64]
CLEARANCE = 0.4  # metres to walls and to what is as high as the camera, where there is room
LEAST_CLEARANCE = 0.15
TURN = np.deg2rad(11.0)  # mean turn between frames: neighbours share most of what they see
LOW, HIGH = 1.2, 1.8  # heights of a camera in the hand


def intrinsics_of(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """A camera (3, 3): 58 to 65 degrees across, principal point near the middle."""
    height, width = size
    focal = width / 2 / np.tan(np.deg2rad(random.uniform(58, 65)) / 2)
    shift = random.uniform(-0.01, 0.01, 2) * width
    return np.array(((focal, 0, (width - 1) / 2 + shift[0]), (0, focal, (height - 1) / 2 + shift[1]), (0, 0, 1)))


def camera_path(random: np.random.Generator, room: Room, frames: int) -> Array:
    """Poses ``camera_to_world`` (frames, 4, 4): a walk around the room, mostly looking across it."""
    angle = TURN * np.arange(frames) * random.uniform(0.85, 1.15) * random.choice((-1, 1)) + random.uniform(
        0, 2 * np.pi
    )
    position = np.concatenate((_walk(random, room, angle), _drift(random, frames, LOW + 0.1, HIGH - 0.1)[:, None]), 1)
    # looks across the room, past its middle; in some rooms outward, as people do who stand in the middle
    inward = random.uniform() < 0.75
    heading = angle + (np.pi if inward else 0.0) + _drift(random, frames, -0.6, 0.6)
    reach = _drift(random, frames, 0.2, 0.9)
    target = reach[:, None] * room.size[:2] / 2 * np.stack((np.cos(heading), np.sin(heading)), -1)
    aim = np.concatenate((target, _drift(random, frames, 0.15, 1.3)[:, None]), 1) - position
    # a target may come near the camera: there the angle of the walk decides where to look
    ahead = np.stack((np.cos(heading), np.sin(heading), np.zeros(frames)), -1)
    aim = aim / np.linalg.norm(aim, axis=1, keepdims=True) + 0.7 * ahead
    yaw = np.unwrap(np.arctan2(aim[:, 1], aim[:, 0])) + random.normal(0, 0.008, frames)
    pitch = np.clip(np.arctan2(aim[:, 2], np.linalg.norm(aim[:, :2], axis=1)), -0.65, 0.3)
    pitch = pitch + _drift(random, frames, -0.1, 0.12) + random.normal(0, 0.008, frames)
    roll = _drift(random, frames, -0.05, 0.05) + random.normal(0, 0.005, frames)
    return _poses(position + random.normal(0, 0.004, (frames, 3)), yaw, pitch, roll)


def _drift(random: np.random.Generator, frames: int, low: float, high: float, every: int = 7) -> Array:
    """Values (frames,) that wander smoothly between bounds, with a new goal every few frames."""
    knots = np.arange(-2 * every, frames + 3 * every, every)
    spline = CubicSpline(knots, random.uniform(low, high, len(knots)))
    return np.clip(spline(np.arange(frames)), low, high)


def _walk(random: np.random.Generator, room: Room, angle: Array) -> Array:
    """Positions (frames, 2) on a loop of changing width, pushed out of furniture like a stretched band."""
    frames = len(angle)
    half = room.size[:2] / 2 - CLEARANCE
    wide = _drift(random, frames, 0.3, 0.95, 9)[:, None]
    path = wide * half * np.stack((np.cos(angle), np.sin(angle)), -1)
    walls = room.size[:2] / 2
    tall = room.obstacles[(room.obstacles[:, 1, 2] > LOW - 0.25) & (room.obstacles[:, 0, 2] < HIGH)][:, :, :2]
    low = room.obstacles[(room.obstacles[:, 1, 2] > 0.3) & (room.obstacles[:, 0, 2] < 0.5)][:, :, :2]
    for _ in range(60):
        path = path + 0.5 * _push(path, tall, CLEARANCE) + 0.15 * _push(path, low, 0.25)
        path[1:-1] += 0.25 * (path[:-2] + path[2:] - 2 * path[1:-1])
        path = np.clip(path, -half, half)
    # a walk that is still too near to something, as in narrow gaps, shrinks towards the roomiest spot
    ticks = np.linspace(-1, 1, 25)
    spots = np.stack(np.meshgrid(ticks * half[0], ticks * half[1]), -1).reshape(-1, 2)
    roomiest = spots[_clearance(spots, tall, walls).argmax()]
    for scale in np.arange(1.0, 0.0, -0.1):
        shrunk = roomiest + scale * (path - roomiest)
        if _clearance(shrunk, tall, walls).min() > LEAST_CLEARANCE:
            return shrunk
    return np.broadcast_to(roomiest, path.shape)


def _clearance(points: Array, boxes: Array, walls: Array) -> Array:
    """Distance (N,) of points (N, 2) to the nearest of the boxes (B, 2, 2) and walls, 0 in a box."""
    gap = np.maximum(boxes[:, 0] - points[:, None], points[:, None] - boxes[:, 1])
    outside = np.linalg.norm(np.maximum(gap, 0), axis=-1).min(1, initial=np.inf)
    return np.minimum(outside, (walls - np.abs(points)).min(1))


def _push(points: Array, boxes: Array, clearance: float) -> Array:
    """Steps (N, 2) that take points (N, 2) ``clearance`` away from boxes (B, 2, 2), out of the nearest side."""
    low, high = boxes[None, :, 0] - clearance, boxes[None, :, 1] + clearance
    below, above = points[:, None] - low, high - points[:, None]
    inside = ((below > 0) & (above > 0)).all(-1)
    exits = np.concatenate((-below, above), -1)  # to the left, down, right, up
    nearest = np.abs(exits).argmin(-1)
    amount = np.take_along_axis(exits, nearest[..., None], -1)[..., 0] * inside
    step = np.zeros((*nearest.shape, 2))
    np.put_along_axis(step, (nearest % 2)[..., None], amount[..., None], -1)
    return step.sum(1) / np.maximum(inside.sum(1), 1)[:, None]


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
