"""What a cheap camera makes of the light: motion blur, exposure, white balance, tone curve, noise, JPEG."""

import io
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from ..light.lighting import MIDDLE_GREY
from ..light.vectors import Array

Float = NDArray[np.float64]
MOST_TAPS = 7  # of a blurred pixel
MIDDLE = 0.47  # of the tone curve, which contrast leaves where it is
PLAIN = 0.2  # share of cameras that do not compress


@dataclass(frozen=True, eq=False)
class Camera:
    """How a room's camera sets itself, frame by frame.

    Args:
        exposure: (frames,) factor on the room's own exposure.
        balance: (frames, 3) factor on each channel.
        shutter: (frames,) share of the time to the next frame that the shutter is open.
        quality: (frames,) of the JPEG, 0 = not compressed.
        vignette: Share of the light lost in the corners.
        contrast: Steepness of the tone curve about its middle, 1 for none; what it lifts beyond white, or below
            black, is lost, as in a cheap camera.
        saturation: 1 leaves colours as they are.
        shot, read: Deviation of the noise at full scale that grows with the root of the light, and that does not.
    """

    exposure: Float
    balance: Float
    shutter: Float
    quality: NDArray[np.int64]
    vignette: float
    contrast: float
    saturation: float
    shot: float
    read: float


def make_camera(random: np.random.Generator, frames: int) -> Camera:
    """A camera and its settings for a walk: they wander, and now and then they jump."""
    wander = scipy.ndimage.gaussian_filter1d(random.standard_normal((frames, 4)), 3.0, axis=0, mode="nearest") * 3
    jump = random.standard_normal((frames, 4)) * np.where(random.random((frames, 1)) < 0.15, 2.0, 0.5)
    # brightness, then from warm to cold, from green to magenta
    base = random.normal(0, (0.28, 0.08, 0.025))
    values = base + (0.1 * wander + 0.08 * jump)[:, :3] * (1.0, 0.35, 0.12)
    temperature, tint = values[:, 1], values[:, 2]
    balance = np.exp(np.stack((temperature, tint, -temperature), -1))
    still = random.random(frames) < 0.35
    plain = random.random() < PLAIN
    return Camera(
        exposure=np.exp(values[:, 0]),
        balance=balance,
        shutter=np.where(still, 0.0, random.uniform(0.0, 0.1) * random.uniform(0.3, 1.0, frames)),
        quality=np.zeros(frames, int) if plain else random.integers(55, 96) + random.integers(-5, 5, frames),
        vignette=float(random.uniform(0.0, 0.3)),
        contrast=float(random.uniform(1.2, 2.2)),
        saturation=float(random.uniform(0.5, 1.0)),
        shot=float(random.uniform(0.01, 0.035)),
        read=float(random.uniform(0.002, 0.012)),
    )


def expose(random: np.random.Generator, color: Array, exposure: float, camera: Camera, index: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of linear light (3, H, W), by the room's exposure and the camera's settings."""
    _, height, width = color.shape
    # the camera follows the brightness of what it sees, not fully
    brightness = exposure * float(np.median(color[:, ::4, ::4].mean(0)))
    gain = exposure * camera.exposure[index] * (MIDDLE_GREY / max(brightness, 0.02)) ** 0.6 * camera.balance[index]
    v, u = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    falloff = (1 - camera.vignette * 0.5 * (u * u + v * v)).astype(np.float32)
    light = color * falloff
    light *= gain.astype(np.float32)[:, None, None]
    deviation = light * np.float32(camera.shot**2)
    deviation += np.float32(camera.read**2)
    np.sqrt(deviation, out=deviation)
    deviation *= random.standard_normal(light.shape, dtype=np.float32)
    light += deviation
    np.maximum(light, 0, out=light)
    # highlights roll off; the square root stands for the gamma curve
    light *= np.float32(-1.25)
    np.exp(light, out=light)
    np.subtract(1, light, out=light)
    np.sqrt(light, out=light)
    light *= np.float32(camera.contrast)
    light += np.float32(MIDDLE * (1 - camera.contrast))
    grey = light.mean(0) * np.float32(1 - camera.saturation)
    light *= np.float32(camera.saturation)
    light += grey
    light *= 255
    light += np.float32(0.5)
    np.clip(light, 0, 255.5, out=light)
    picture = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        picture[..., channel] = light[channel]
    return compressed(picture, int(camera.quality[index]))


def compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """What is left of a picture (H, W, 3) after JPEG of a quality; 0 leaves it alone."""
    if quality == 0:
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))


def motion(pose: Float, following: Float, share: float) -> Float:
    """The motion (4, 4) of the scene as the camera sees it during a share of its way from one pose to another."""
    step = np.linalg.inv(following) @ pose
    part = np.eye(4)
    part[:3, :3] = Rotation.from_rotvec(Rotation.from_matrix(step[:3, :3]).as_rotvec() * share).as_matrix()
    part[:3, 3] = step[:3, 3] * share
    return part


def blurred(color: Array, depth: Array, intrinsics: Float, moved: Float) -> Array:
    """Light (3, H, W) as it is when the scene makes a motion (4, 4) while the shutter is open.

    Each pixel is the mean along the way that its point makes in the picture, half of it before and half after.
    """
    _, height, width = color.shape
    across = ((np.arange(width) - intrinsics[0, 2]) / intrinsics[0, 0]).astype(np.float32)
    down = ((np.arange(height)[:, None] - intrinsics[1, 2]) / intrinsics[1, 1]).astype(np.float32)
    matrix = moved.astype(np.float32)
    nearness = 1 / np.maximum(depth, np.float32(0.05))
    x, y, z = (row[0] * across + (row[1] * down + row[2]) + row[3] * nearness for row in matrix[:3])
    x = (x / z - across) * np.float32(intrinsics[0, 0])
    y = (y / z - down) * np.float32(intrinsics[1, 1])
    longest = float(np.sqrt((x[::4, ::4] ** 2 + y[::4, ::4] ** 2).max()))
    if longest < 0.5:
        return color
    taps = min(int(np.ceil(longest)) + 1, MOST_TAPS)
    columns, lines = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros((3, height * width), np.float32)
    for share in (np.arange(taps, dtype=np.float32) + np.float32(0.5)) / np.float32(taps) - np.float32(0.5):
        column = np.clip(columns + (share * x + np.float32(0.5)), 0, width - 1).astype(np.intp)
        line = np.clip(lines + (share * y + np.float32(0.5)), 0, height - 1).astype(np.intp)
        index = (line * width + column).reshape(-1)
        for channel, target in zip(color.reshape(3, -1), total, strict=True):
            target += np.take(channel, index, mode="clip")
    total *= np.float32(1 / taps)
    return total.reshape(color.shape)
