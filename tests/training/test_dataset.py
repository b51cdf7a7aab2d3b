import itertools
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from pri3d_zoo.training.config import load_config
from pri3d_zoo.training.data.batch import collate
from pri3d_zoo.training.data.chunks import Surface
from pri3d_zoo.training.data.dataset import PairDataset, PairMixture, StepSampler, pair_loader
from pri3d_zoo.training.data.frame import Frame
from pri3d_zoo.training.data.scene_writer import SceneWriter
from pri3d_zoo.training.data.store import SceneStore
from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.geometry import frustum_box
from pri3d_zoo.training.matches import voxel_matches
from pri3d_zoo.training.pretrain import training_pairs
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


def test_chunks_of_any_box_against_every_voxel(tiny_store):
    scene = SceneStore(tiny_store).scene("box0")
    cut, voxels, colors = Surface(scene).cut, scene.voxels, scene.voxel_colors
    generator = np.random.default_rng(0)
    corners = generator.uniform(-2.6, 2.6, (200, 2, 3)).astype(np.float32)
    boxes = [*np.sort(corners[:180], 1), *corners[180:]]  # some of them inside out, so empty
    boxes += [np.float32([[-9] * 3, [9] * 3]), np.float32([[3] * 3, [9] * 3]), np.float32([[-9] * 3, [-3] * 3])]
    boxes += [np.float32([(row + 0.5) * 0.1] * 2) for row in voxels[[0, 100, -1]]]  # a single centre
    kept = []
    for number, box in enumerate(boxes):
        scaled = box / 0.1 - 0.5
        inside = ((voxels >= scaled[0]) & (voxels <= scaled[1])).all(1)
        found, found_colors = cut(torch.from_numpy(box), number)
        assert found.dtype == torch.int32
        assert (found[:, 0] == number).all()
        assert np.array_equal(found[:, 1:].numpy(), voxels[inside])  # in the same order
        assert np.array_equal(found_colors.numpy(), colors[inside])
        kept.append(int(inside.sum()))
    assert kept[200:203] == [len(voxels), 0, 0]
    assert 0 in kept[:180]
    assert len(set(kept)) > 30


def test_scenes_without_a_surface(tiny_store, tmp_path):
    """Outdoor sources have none: their pairs serve the view loss, and beside others their chunks are empty."""
    store = SceneStore(tiny_store)
    for name, keeps in (("field", 0), ("box0", None)):
        scene = store.scene("box0")
        with SceneWriter(tmp_path, name) as writer:
            for frame in range(2):
                cameras = scene.intrinsics[frame], scene.camera_to_world[frame]
                writer.add_frame(Frame(str(frame), scene.color(frame), scene.depth(frame), *cameras))
            writer.finish(
                pairs=np.array([(0, 1)], np.int32),
                overlaps=np.array([0.8], np.float32),
                voxels=scene.voxels[:keeps],
                voxel_colors=scene.voxel_colors[:keeps],
                voxel_size=0.1,
                manifest={},
            )
    both = SceneStore(tmp_path)
    assert len(PairDataset(both, SIZE, chunks=False, only=["field"])) == 1
    with pytest.raises(InputError, match=r"no voxels, as its source knows no surface; use loss.method=view"):
        PairDataset(both, SIZE, chunks=True, only=["field"])
    dataset = PairDataset(both, SIZE, chunks=True)
    batch = collate([dataset[1], dataset[0]])  # box0 sorts before the field
    assert torch.equal(batch.voxels[:, 0].unique(), torch.tensor([2, 3], dtype=torch.int32))
    *_, valid = voxel_matches(
        *(part.flatten(0, 1) for part in (batch.depth, batch.intrinsics, batch.camera_to_world)),
        *(batch.voxels, 0.1, 32, 0.1),
    )
    assert not valid[:2].any()
    assert valid[2:].any(1).all()


def test_pixels_without_a_reading_never_widen_a_chunk(tiny_store):
    scene = SceneStore(tiny_store).scene("box1")
    depth = torch.from_numpy(scene.depth(2))
    camera = torch.from_numpy(scene.intrinsics[2]).float(), torch.from_numpy(scene.camera_to_world[2]).float()
    whole, _ = Surface(scene).cut(frustum_box(depth, *camera), 0)
    farthest = depth == depth.max()
    depth[torch.rand(depth.shape, generator=torch.Generator().manual_seed(0)).lt(0.9) & ~farthest] = 0
    assert torch.equal(Surface(scene).cut(frustum_box(depth, *camera), 0)[0], whole)
    depth[farthest] = 0
    box = frustum_box(depth, *camera)
    assert (box[0] >= frustum_box(torch.from_numpy(scene.depth(2)), *camera)[0]).all()
    assert len(Surface(scene).cut(box, 0)[0]) <= len(whole)
    assert len(Surface(scene).cut(frustum_box(depth * 0, *camera), 0)[0]) == 0


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


def test_changed_colors_come_of_the_seeds_alone(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=True)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    whole = collate([dataset[(3, 11)], dataset[(4, 12)]])
    changed = whole.with_changed_colors()
    assert torch.equal(state, torch.get_rng_state())
    assert changed.color.dtype == torch.float32
    for index, key in enumerate([(3, 11), (4, 12)]):  # whatever else is in the batch
        torch.testing.assert_close(changed.color[index], dataset[key].with_changed_colors().color[0])
    assert not torch.equal(changed.color[0], dataset[(3, 12)].with_changed_colors().color[0])
    assert not torch.equal(changed.color[0], whole.color[0].float())
    assert torch.equal(changed.depth, whole.depth)
    assert torch.equal(changed.voxels, whole.voxels)
    assert len(set(whole.frame_seeds().tolist())) == 4
    assert equal(whole.pair(1), collate([dataset[(4, 12)]]).pair(0))


def test_geometric_augmentation_is_seeded_and_carries_camera_and_chunk(tiny_store):
    store = SceneStore(tiny_store)
    plain = PairDataset(store, SIZE, chunks=True)
    augmented = PairDataset(store, SIZE, chunks=True, geometric=True)
    assert equal(augmented[(3, 11)], augmented[(3, 11)])
    mirrored = 0
    for seed in range(20):
        sample = augmented[(3, seed)]
        assert sample.color.shape == (1, 2, 3, *SIZE)
        assert sample.depth.shape == (1, 2, *SIZE)
        assert torch.equal(sample.camera_to_world, plain[3].camera_to_world)
        for view in range(2):
            k = sample.intrinsics[0, view]
            mirrored += int(k[0, 0] < 0)
            assert 1 <= abs(k[0, 0]) / plain[3].intrinsics[0, view, 0, 0] <= 1 / 0.6 + 0.05
            # a part of a view looks into a part of its chunk
            chunks = [s.voxels[s.voxels[:, 0] == view].tolist() for s in (sample, plain[3])]
            part, whole = ({tuple(row) for row in chunk} for chunk in chunks)
            assert part <= whole
            # each point still lies on a wall of the room, up to the half pixel by which a reading may be moved
            depth, pose = sample.depth[0, view].double().numpy(), sample.camera_to_world[0, view].double().numpy()
            v, u = np.mgrid[: SIZE[0], : SIZE[1]]
            rays = np.stack(
                ((u - k[0, 2].item()) / k[0, 0].item(), (v - k[1, 2].item()) / k[1, 1].item(), 0 * u + 1), -1
            )
            points = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
            off = np.abs(np.abs(points) - [2.0, 1.5, 2.0]).min(-1)
            assert off.mean() < 0.01
            assert np.quantile(off, 0.99) < 0.04
    assert 8 < mirrored < 32


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


def indices(*arguments, **kwargs):
    return [[index for index, _ in batch] for batch in StepSampler(*arguments, **({"seed": 1, "start": 0} | kwargs))]


def test_several_stores_without_weights_are_one():
    assert indices([4, 5, 1], 4, stop=9) == indices(10, 4, stop=9)
    assert indices([10], 4, stop=9, weights=[0.3]) == indices(10, 4, stop=9)


def test_weights_share_out_each_epoch_and_use_all_pairs_in_turn():
    lengths, weights, epochs = [30, 10, 20], [1, 3, 2], 12
    rows = sum(indices(lengths, 5, stop=12 * epochs, weights=weights), [])
    stores = np.digitize(rows, [30, 40])
    for epoch in range(epochs):
        assert np.bincount(stores[60 * epoch : 60 * epoch + 60]).tolist() == [10, 30, 20]
    # every store goes round its pairs: at the end of an epoch none was seen more than once more than another
    for end in (60, 120, 60 * epochs):
        seen = Counter(rows[:end])
        for first, last in ((0, 30), (30, 40), (40, 60)):
            counts = [seen[index] for index in range(first, last)]
            assert max(counts) - min(counts) <= 1
    assert Counter(rows) == {index: 4 if index < 30 else 36 if index < 40 else 12 for index in range(60)}
    # and they are mixed: the stores do not come one after the other
    assert len(list(itertools.groupby(stores[:60].tolist()))) > 20
    assert rows[:60] != rows[60:120]


def test_a_mixture_is_a_function_of_seed_and_step_and_is_dealt_without_overlap():
    arguments = {"weights": [1, 3], "stop": 20}
    whole = indices([17, 6], 4, **arguments)
    assert indices([17, 6], 4, start=13, **arguments) == whole[13:]
    assert indices([17, 6], 4, seed=2, **arguments) != whole
    halves = [indices([17, 6], 4, processes=2, process=p, **arguments) for p in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_weights_that_do_not_fit():
    for weights, words in (([1], "2 positive numbers"), ([1, 0], "2 positive"), ([1, 1e-9], "too small")):
        with pytest.raises(InputError, match=rf"data.weights=.*{words}"):
            StepSampler([5, 5], 1, seed=0, start=0, stop=1, weights=weights)


@pytest.fixture
def attic(tiny_store, tmp_path):
    """A store of one scene, the second of the tiny store under another name."""
    shutil.copy(tiny_store / "box1.pri3d.zip", tmp_path / "attic.pri3d.zip")
    return tmp_path


def test_a_mixture_holds_the_pairs_of_its_stores(tiny_store, attic):
    config = load_config("demo", ["run=r", f"data.store={tiny_store}", f"data.more_stores=[{attic}]", "size=[48,64]"])
    mixture = training_pairs(config)
    assert (mixture.lengths, len(mixture), mixture.voxel_size) == ([10, 5], 15, 0.1)
    first, second = mixture.parts
    for index in range(15):
        expected = first[index, 3] if index < 10 else second[index - 10, 3]
        assert equal(mixture[index, 3], expected)
    config.data.holdout = ["box0", "attic"]
    with pytest.raises(InputError, match=rf"{attic} has no pair in the scenes \(none\)"):
        training_pairs(config)
    config.data.holdout = ["box0"]
    assert [part.scenes for part in training_pairs(config).parts] == [["box1"], ["attic"]]
    config.data.holdout = ["cellar"]
    with pytest.raises(InputError, match="no scene 'cellar'"):
        training_pairs(config)
    config.data.holdout, config.data.geometric = [], True
    assert all(part.geometric for part in training_pairs(config).parts)


def test_a_mixture_goes_through_the_loader(tiny_store, attic):
    parts = [PairDataset(SceneStore(root), SIZE, chunks=True) for root in (tiny_store, attic)]
    mixture = PairMixture(parts)
    batches = []
    for workers in (0, 2):
        sampler = StepSampler(mixture.lengths, 4, seed=0, start=0, stop=4, weights=[1, 1])
        batches.append(list(pair_loader(mixture, sampler, workers, pin_memory=False)))
    assert all(equal(a, b) for a, b in zip(*batches, strict=True))


def test_stores_of_different_voxels_do_not_mix_where_there_are_chunks(tiny_store, attic):
    other = SceneStore(attic)
    other.voxel_size = 0.05
    with pytest.raises(InputError, match=r"0\.05 m.*0\.1 m; prepare them alike, or use loss.method=view"):
        PairMixture([PairDataset(store, SIZE, chunks=True) for store in (SceneStore(tiny_store), other)])
    PairMixture([PairDataset(store, SIZE, chunks=False) for store in (SceneStore(tiny_store), other)])


def test_loader_is_the_same_for_any_number_of_workers(tiny_store):
    dataset = PairDataset(SceneStore(tiny_store), SIZE, chunks=True, geometric=True)
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
