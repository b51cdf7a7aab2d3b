"""Synthetic rooms, what their surfaces look like: textures, patterns and which of them are held out."""

import numpy as np
import pytest

from pri3d_zoo.training.data.sources.synthrooms.looks import materials, oddities
from pri3d_zoo.training.data.sources.synthrooms.looks.textures import TexturePool, pyramid

# ---- textures


def test_textures_are_read_at_texel_centres_and_averaged_from_afar() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.9, (2, 256, 256, 3)).astype(np.float32)
    pool = TexturePool([pyramid(part) for part in image], np.ones((256, 256), np.float32))
    column, row = 37, 201
    uv = np.array([[(column + 0.5) / 256 + 3], [1 - (row + 0.5) / 256 - 2]], np.float32)  # repeats do not matter
    near = pool.sample(np.array([1]), uv, np.array([1 / 1024], np.float32))
    np.testing.assert_allclose(near[:, 0], image[1, row, column] ** 2, atol=0.01)
    halfway = uv + np.array([[0.5 / 256], [0.0]], np.float32)
    between = pool.sample(np.array([1]), halfway, np.array([1 / 1024], np.float32))
    np.testing.assert_allclose(between[:, 0], image[1, row, column : column + 2].mean(0) ** 2, atol=0.02)
    far = pool.sample(np.array([1]), uv, np.array([1.0], np.float32))
    np.testing.assert_allclose(far[:, 0], pool.mean[1], atol=0.02)
    np.testing.assert_allclose(pool.mean[1], (image[1].astype(np.float64) ** 2).mean((0, 1)), atol=0.01)


def test_every_pattern_is_an_image_without_a_seam() -> None:
    noise = materials.Noise(np.random.default_rng(0))
    seamless = {"weave", "carpet", "bricks", "paint", "marble", "terrazzo", "plastic", "metal", "leather", "wood"}
    for kind in materials.KINDS.values():
        for pattern in (*kind.textures, *kind.held_out):
            image = pattern(noise)
            assert image.shape == (256, 256, 3)
            assert image.min() >= 0
            assert image.max() <= 1
            assert image.std() > 1e-3
            if pattern.__name__ in seamless:  # its last row is followed by its first as any row by the next
                inside = np.abs(np.diff(image, axis=0)).mean((1, 2))
                assert np.abs(image[0] - image[-1]).mean() < 2 * inside.max() + 1e-3


# ---- splits


@pytest.mark.slow
def test_what_is_held_out_is_shown_by_shifted_rooms_alone() -> None:
    held_out = {name for name, made in vars(oddities).items() if getattr(made, "__module__", "") == oddities.__name__}
    for split in ("train", "val", "shifted"):
        shown: set[str] = set()
        for seed in range(6):
            made = materials.Materials(np.random.default_rng(seed), split)
            for kind in materials.KINDS:
                made.pick(kind)
            shown |= set(made.patterns)
        assert bool(shown & held_out) == (split == "shifted")
