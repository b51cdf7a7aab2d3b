"""A store: the prepared scenes of a folder."""

from pathlib import Path

from ..errors import InputError
from .scene import SUFFIX, Scene


class SceneStore:
    """The prepared scenes of a folder, sorted by name.

    Args:
        root: The folder.

    Raises:
        InputError: There is no scene, one is broken or of another version, or they differ in image or voxel size.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scenes = {scene.id: scene for scene in map(Scene, scene_files(root))}
        if not self._scenes:
            raise InputError(f"{root}: no prepared scene here (*{SUFFIX}); run prepare, or name another store")
        first = next(iter(self._scenes.values()))
        self.size, self.voxel_size = first.size, first.voxel_size
        for scene in self._scenes.values():
            if (scene.size, scene.voxel_size) != (self.size, self.voxel_size):
                raise InputError(
                    f"{scene.path}: images of {scene.size} and voxels of {scene.voxel_size} m, where {first.path.name} "
                    f"has {self.size} and {self.voxel_size} m; prepare them alike, or in two stores"
                )

    @property
    def scene_ids(self) -> list[str]:
        """Names of the scenes, sorted."""
        return list(self._scenes)

    def scene(self, scene: str) -> Scene:
        """The scene of that name."""
        if scene not in self._scenes:
            raise InputError(f"{self.root}: no scene {scene!r} here; there are {', '.join(self._scenes)}")
        return self._scenes[scene]

    def __len__(self) -> int:
        return len(self._scenes)

    def __reduce__(self) -> tuple[type["SceneStore"], tuple[Path]]:
        return SceneStore, (self.root,)


def scene_files(root: Path) -> list[Path]:
    """Files of the prepared scenes in a folder, sorted by scene; those half-written are hidden and not among them."""
    found = (path for path in root.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    return sorted(found, key=lambda path: path.name.removesuffix(SUFFIX))
