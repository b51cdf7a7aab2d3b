import pickle

import numpy as np
import pytest
import torch

from pri3d_zoo.training.data.dataset import PairDataset, StepSampler, collate, pair_loader
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.seeds import mix_seeds

SIZE = (48, 64)


def fields(batch):
    return [getattr(batch, name) for name in batch.__dataclass_fields__]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(fields(a), fields(b), strict=True))


def test_a_pair_is_what_the_store_holds(tiny_store):
    store = SceneStore(tiny_store)
    dataset = PairDataset(store, SIZE, chunks=True)
    assert len(dataset) == 10
    sample = dataset[7]  # the third pair of the second scene: frames 1 and 2
    scene = store.scene("box1")
    for view, frame in enumerate((1, 2)):
        assert np.array_equal(sample.color[0, view].permute(1, 2, 0).numpy(), scene.color(frame))
        assert np.array_equal(sample.depth[0, view].numpy(), scene.depth(frame))
        np.testing.assert_allclose(sample.camera_to_world[0, view].numpy(), scene.camera_to_world[frame], rtol=1e-6)
        np.testing.assert_allclose(sample.intrinsics[0, view].numpy(), scene.intrinsics[frame], rtol=1e-6)


def test_chunk_is_the_voxels_in_the_box_of_the_frustum(tiny_store):
    store = SceneStore(tiny_store)
    sample = PairDataset(store, SIZE, chunks=True)[1]  # frames 0 and 2 of box0
    scene = store.scene("box0")
    for view, frame in enumerate((0, 2)):
        depth = scene.depth(frame)
        far = depth.max()
        k, pose = scene.intrinsics[frame], scene.camera_to_world[frame]
        corners = [pose[:3, 3]]
        for u in (-0.5, 63.5):
            for v in (-0.5, 47.5):
                ray = np.array([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], 1.0])
                corners.append(pose[:3, :3] @ ray * far + pose[:3, 3])
        low, high = np.min(corners, 0), np.max(corners, 0)
        expected = set()
        for voxel, color in zip(scene.voxels.tolist(), scene.voxel_colors.tolist(), strict=True):
            center = (np.array(voxel) + 0.5) * 0.1
            if (center >= low - 1e-6).all() and (center <= high + 1e-6).all():
                expected.add((*voxel, *color))
        mine = sample.voxels[:, 0] == view
        found = torch.cat((sample.voxels[mine, 1:], sample.voxel_colors[mine].int()), 1)
        assert 100 < len(expected) < len(scene.voxels)
        assert {tuple(row) for row in found.tolist()} == expected
        assert len(found) == len(expected)


def test_collate_numbers_samples_consecutively(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=True)
    one, two = dataset[0], dataset[8]
    batch = collate([one, two])
    assert batch.color.shape == (2, 2, 3, *SIZE)
    assert batch.voxels[:, 0].unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(batch.voxels[batch.voxels[:, 0] >= 2][:, 1:], two.voxels[:, 1:])
    assert equal(collate([one]), one)


def test_resizing_keeps_the_camera(tiny_store):
    store = SceneStore(tiny_store)
    full = PairDataset(store, SIZE, chunks=False)[0]
    half = PairDataset(store, (24, 32), chunks=False)[0]
    assert half.color.shape == (1, 2, 3, 24, 32)
    assert half.depth.shape == (1, 2, 24, 32)
    # the ray through the centre of the image is the same one
    for sample, center in ((full, (31.5, 23.5)), (half, (15.5, 11.5))):
        k = sample.intrinsics[0, 0]
        assert (center[0] - k[0, 2]) / k[0, 0] == pytest.approx(0, abs=1e-6)
    assert half.intrinsics[0, 0, 0, 0] == full.intrinsics[0, 0, 0, 0] / 2
    assert half.depth.max() <= full.depth.max()


def test_augmentation_is_seeded_and_leaves_geometry_alone(tiny_store):
    store = SceneStore(tiny_store)
    plain = PairDataset(store, SIZE, chunks=True)
    augmented = PairDataset(store, SIZE, chunks=True, augment=True)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = augmented[(3, 11)], augmented[(3, 11)], augmented[(3, 12)]
    assert torch.equal(state, torch.get_rng_state())
    assert equal(first, again)
    assert not torch.equal(first.color, other.color)
    assert not torch.equal(first.color, plain[3].color)
    assert torch.equal(first.depth, plain[3].depth)
    assert torch.equal(first.voxels, plain[3].voxels)


def test_sampler_covers_each_epoch_once_and_depends_on_the_step_alone():
    def pairs(**kwargs):
        arguments = {"seed": 1, "start": 0, "stop": 5} | kwargs
        return [[index for index, _ in batch] for batch in StepSampler(10, 4, **arguments)]

    whole = pairs()
    assert sorted(sum(whole, [])[:10]) == list(range(10))
    assert sorted(sum(whole, [])[10:]) == list(range(10))
    assert sum(whole, [])[:10] != sum(whole, [])[10:]
    assert pairs(start=3) == whole[3:]
    assert pairs(seed=2) != whole
    halves = [pairs(processes=2, process=p) for p in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    parts = pairs(accumulate=2)
    assert [parts[i] + parts[i + 1] for i in range(0, 10, 2)] == whole
    assert len(StepSampler(10, 4, seed=0, start=2, stop=5, accumulate=2)) == 6
    with pytest.raises(InputError, match="batch_size=4 cannot be dealt evenly to 3 processes"):
        StepSampler(10, 4, seed=0, start=0, stop=1, processes=3)


def test_loader_is_the_same_for_any_number_of_workers(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=True, augment=True)
    batches = []
    for workers in (0, 2):
        sampler = StepSampler(len(dataset), 3, seed=4, start=1, stop=4)
        batches.append(list(pair_loader(dataset, sampler, workers, pin_memory=False)))
    assert len(batches[0]) == 3
    assert all(equal(a, b) for a, b in zip(*batches, strict=True))
    assert equal(pickle.loads(pickle.dumps(dataset))[(2, 5)], dataset[(2, 5)])


def test_scenes_held_out_or_chosen(tiny_store):
    store = SceneStore(tiny_store)
    assert len(PairDataset(store, SIZE, chunks=False, holdout=["box0"])) == 5
    assert PairDataset(store, SIZE, chunks=False, only=["box1"]).scenes == ["box1"]
    with pytest.raises(InputError, match=r"no scene 'kitchen'.*box0, box1"):
        PairDataset(store, SIZE, chunks=False, holdout=["kitchen"])
    with pytest.raises(InputError, match="no pair"):
        PairDataset(store, SIZE, chunks=False, holdout=["box0", "box1"])


def test_pairs_of_little_overlap_are_left_out(tiny_store):
    store = SceneStore(tiny_store)
    dataset = PairDataset(store, SIZE, chunks=False, min_overlap=0.7)
    assert len(dataset) == 6  # (0, 1), (1, 2) and (2, 3) of both scenes, at 0.8; the others share 0.6
    for index, (scene, first, second) in enumerate([(s, f, f + 1) for s in (0, 1) for f in (0, 1, 2)]):
        poses = store.scene(f"box{scene}").camera_to_world
        expected = torch.from_numpy(poses[[first, second]]).float()
        assert torch.equal(dataset[index].camera_to_world[0], expected)
    with pytest.raises(InputError, match=r"no pair that shares at least 0\.9 in the scenes box0, box1"):
        PairDataset(store, SIZE, chunks=False, min_overlap=0.9)


def test_mixed_seeds_are_reproducible_strangers():
    seeds = [mix_seeds(a, b) for a in range(20) for b in range(20)]
    assert len(set(seeds)) == 400
    assert seeds[21] == mix_seeds(1, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seeds(1, 2) != mix_seeds(2, 1)
