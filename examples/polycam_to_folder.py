"""A raw export of Polycam, taken with the LiDAR of an iPhone or iPad, as a scene that `prepare folder` reads.

    python examples/polycam_to_folder.py CAPTURE SCENES/kitchen
    pri3d-train prepare folder SCENES STORE

The layout of the export is that of https://github.com/PolyCam/polyform (README, "Polycam's data format"): keyframes/
with images, cameras (JSON: fx fy cx cy width height t_00 ... t_23), depth (PNG, 16 bit, millimetres, smaller than the
images), confidence (0 low, 127 medium, 255 high) and, unless the session was too long to be optimised, corrected_images
and corrected_cameras. Cameras look along -z with y up (ARKit); those of this package look along +z with y down.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FARTHEST = 5.0  # metres; what the LiDAR says of farther places is a guess
BLACK = 4  # of 255; corrected images have a black border, which is no part of the scene
SPREAD = 0.02  # of the focal lengths; a layout with one camera for all images holds no zoom


def camera_to_world(camera: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4), OpenCV axes, of a camera with ARKit's: the y and the z axis of the camera point the other way."""
    rows = [[camera[f"t_{row}{column}"] for column in range(4)] for row in range(3)]
    return np.array([*rows, [0, 0, 0, 1]], np.float64) @ np.diag([1.0, -1.0, -1.0, 1.0])


def intrinsics(camera: dict[str, Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) of the image at another (height, width), with the centre of the first pixel at (0, 0)."""
    high, wide = size[0] / camera["height"], size[1] / camera["width"]
    center = (camera["cx"] * wide - 0.5, camera["cy"] * high - 0.5)
    return np.array([[camera["fx"] * wide, 0, center[0]], [0, camera["fy"] * high, center[1]], [0, 0, 1]])


def read_depth(keyframes: Path, id: str, color: Image.Image) -> Image.Image:
    """Millimetres for each pixel of the colour image, 0 where the reading is not to be relied on."""
    millimetres = np.array(Image.open(keyframes / "depth" / f"{id}.png")).astype(np.uint16)
    confidence = keyframes / "confidence" / f"{id}.png"
    if confidence.exists():
        millimetres[np.array(Image.open(confidence).resize(millimetres.shape[::-1], Image.Resampling.NEAREST)) == 0] = 0
    millimetres[millimetres > 1000 * FARTHEST] = 0
    registered = np.array(Image.fromarray(millimetres).resize(color.size, Image.Resampling.NEAREST))
    registered[np.array(color).max(-1) < BLACK] = 0
    return Image.fromarray(registered)


def main() -> None:
    """Convert one capture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path, help="the folder that the export unpacks to, with keyframes/ in it")
    parser.add_argument("scene", type=Path, help="folder to write")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="height and width (default: 240 320)")
    options = parser.parse_args()

    keyframes, size = options.capture / "keyframes", tuple(options.size)
    corrected = (keyframes / "corrected_cameras").is_dir() and (keyframes / "corrected_images").is_dir()
    prefix = "corrected_" if corrected else ""
    ids = sorted(file.stem for file in (keyframes / "depth").glob("*.png"))
    if not ids:
        raise SystemExit(f"{keyframes}: no depth in it; export 'raw data' in developer mode, of a LiDAR capture")
    for name in ("color", "depth", "pose"):
        (options.scene / name).mkdir(parents=True, exist_ok=True)
    cameras = []
    for id in ids:
        files = [keyframes / f"{prefix}cameras" / f"{id}.json", keyframes / f"{prefix}images" / f"{id}.jpg"]
        if missing := [file.name for file in files if not file.exists()]:
            print(f"keyframe {id} left out: {missing[0]} is missing")
            continue
        camera = json.loads(files[0].read_text())
        color = Image.open(files[1]).convert("RGB").resize((size[1], size[0]), Image.Resampling.BOX)
        color.save(options.scene / "color" / f"{id}.jpg", quality=95)
        read_depth(keyframes, id, color).save(options.scene / "depth" / f"{id}.png")
        np.savetxt(options.scene / "pose" / f"{id}.txt", camera_to_world(camera))
        cameras.append(intrinsics(camera, size))
    if not cameras:
        raise SystemExit(f"{keyframes}: no keyframe has image, camera and depth; export the capture again")
    middle = np.median(cameras, axis=0)
    if np.abs(np.array(cameras)[:, 0, 0] / middle[0, 0] - 1).max() > SPREAD:
        raise SystemExit(f"{keyframes}: the focal lengths differ by more than {SPREAD:.0%}; split the capture")
    np.savetxt(options.scene / "intrinsics.txt", middle)
    print(f"{len(cameras)} of {len(ids)} keyframes in {options.scene}; {'optimised' if corrected else 'raw'} poses")


if __name__ == "__main__":
    main()
