"""The sparse network against torch's dense convolutions, numbers worked out by hand and MinkowskiEngine."""

import importlib.util
import math
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pri3d_zoo.training.errors import InputError
from pri3d_zoo.training.networks.sparse import (
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseTensor,
    build_minkowski_unet,
    build_sparse_unet,
    cat,
    maps,
    relu,
)

HALF = 8  # dense grids cover [-HALF, HALF) along each axis


@pytest.fixture(params=[16, 4096], ids=["many blocks", "one block"])
def _block_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(maps.BLOCK_ROWS, "cpu", request.param)
    monkeypatch.setitem(maps.GROUP_PAIRS, "cpu", 2 * request.param)


def random_coordinates(count: int = 300, half: int = HALF, seed: int = 0) -> Tensor:
    """Two samples that share many voxels, in random order, at negative coordinates as well."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(*[torch.arange(-half, half)] * 3)
    samples = []
    for sample in range(2):
        chosen = cells[torch.randperm(len(cells), generator=generator)[:count]]
        samples.append(F.pad(chosen, (1, 0), value=sample))
    coordinates = torch.cat(samples)
    return coordinates[torch.randperm(len(coordinates), generator=generator)]


def random_tensor(channels: int = 3, **options: int) -> SparseTensor:
    torch.manual_seed(1)
    coordinates = random_coordinates(**options)
    return SparseTensor(coordinates, torch.randn(len(coordinates), channels, dtype=torch.float64))


def index(tensor: SparseTensor, half: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, x, y, z = tensor.coordinates.t()
    return batch, x // tensor.stride + half, y // tensor.stride + half, z // tensor.stride + half


def dense(tensor: SparseTensor, half: int = HALF) -> Tensor:
    """(2, C, 2 * half, 2 * half, 2 * half), zero where there is no voxel."""
    grid = tensor.features.new_zeros(2, 2 * half, 2 * half, 2 * half, tensor.features.shape[1])
    grid[index(tensor, half)] = tensor.features
    return grid.permute(0, 4, 1, 2, 3)


def sampled(grid: Tensor, tensor: SparseTensor) -> Tensor:
    return grid.permute(0, 2, 3, 4, 1)[index(tensor, grid.shape[-1] // 2)]


def dense_weight(kernel: Tensor) -> Tensor:
    """(C_in, C_out, k, k, k) over x, y, z of a kernel whose first spatial column is the fastest."""
    size = round(kernel.shape[0] ** (1 / 3))
    return kernel.view(size, size, size, *kernel.shape[1:]).permute(3, 4, 2, 1, 0)


def dense_conv(grid: Tensor, kernel: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    if kernel.ndim == 2:
        kernel = kernel[None]
    weight = dense_weight(kernel).transpose(0, 1)
    size = weight.shape[-1]
    before = size // 2 * dilation if size % 2 else 0
    after = (size - 1) * dilation - before
    return F.conv3d(F.pad(grid, (before, after) * 3), weight, stride=stride, dilation=dilation)


@pytest.mark.usefixtures("_block_rows")
@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (5, 1, 1), (3, 1, 2), (2, 1, 3), (1, 2, 1), (2, 2, 1), (3, 2, 1), (5, 2, 1)],
)
def test_convolution_is_the_dense_one(kernel_size: int, stride: int, dilation: int, in_order: bool) -> None:
    x = random_tensor()
    if in_order:
        x, _ = x.sorted()
    conv = SparseConv3d(3, 4, kernel_size, stride, dilation, bias=True).double()
    y = conv(x)
    expected = sampled(dense_conv(dense(x), conv.kernel, stride, dilation), y) + conv.bias
    torch.testing.assert_close(y.features, expected, rtol=1e-12, atol=1e-12)
    assert y.stride == stride
    if stride == 1:
        assert y.coordinates is x.coordinates


@pytest.mark.usefixtures("_block_rows")
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_transposed_convolution_is_the_dense_one(kernel_size: int) -> None:
    x = random_tensor()
    coarse = SparseConv3d(3, 5, 2, 2).double()(x)
    conv = SparseConvTranspose3d(5, 4, kernel_size, bias=True).double()
    y = conv(coarse)
    padding = kernel_size // 2 if kernel_size % 2 else 0
    grid = F.conv_transpose3d(
        dense(coarse, HALF // 2), dense_weight(conv.kernel), stride=2, padding=padding, output_padding=padding
    )
    torch.testing.assert_close(y.features, sampled(grid, x) + conv.bias, rtol=1e-12, atol=1e-12)
    assert torch.equal(y.coordinates, x.coordinates)


def test_strided_coordinates_are_floored() -> None:
    cells = torch.tensor([[0, -1, -2, 3], [0, -2, -1, 2], [1, -1, -2, 3], [0, 7, 0, -5]])
    y = SparseConv3d(1, 1, 2, 2)(SparseTensor(cells.int(), torch.ones(4, 1)))
    assert {tuple(row) for row in y.coordinates.tolist()} == {(0, -2, -2, 2), (1, -2, -2, 2), (0, 6, 0, -6)}
    y = SparseConv3d(1, 1, 3, 2)(y)
    assert {tuple(row) for row in y.coordinates.tolist()} == {(0, -4, -4, 0), (1, -4, -4, 0), (0, 4, 0, -8)}


def test_kernel_elements_by_hand() -> None:
    # the voxel one step along x is met by element 1 + 1 + 3 * (1 + 3 * 1) = 14, its own by 13, one back along z by 4
    coordinates = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, -1]])
    conv = SparseConv3d(1, 1, 3)
    with torch.no_grad():
        conv.kernel.copy_(torch.arange(27.0).view(27, 1, 1))
    y = conv(SparseTensor(coordinates, torch.tensor([[1.0], [100.0], [10000.0]])))
    # from (1, 0, 0): itself 13, (0, 0, 0) by 12, (0, 0, -1) by 3; from (0, 0, -1): 13, 22 and 23
    assert y.features.flatten().tolist() == [13 + 1400 + 40000, 12 + 1300 + 30000, 22 + 2300 + 130000]


@pytest.mark.usefixtures("_block_rows")
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)])
def test_gradients(kernel_size: int, stride: int) -> None:
    x = random_tensor(channels=2, count=20, half=2)
    conv = SparseConv3d(2, 3, kernel_size, stride, bias=True).double()

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"kernel": kernel}, (x.with_features(features),)).features

    assert torch.autograd.gradcheck(run, (x.features.requires_grad_(), conv.kernel))


@pytest.mark.usefixtures("_block_rows")
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_gradients_of_the_transposed_convolution(kernel_size: int) -> None:
    coarse = SparseConv3d(2, 2, 2, 2).double()(random_tensor(channels=2, count=20, half=2))
    conv = SparseConvTranspose3d(2, 3, kernel_size).double()

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"kernel": kernel}, (coarse.with_features(features),)).features

    assert torch.autograd.gradcheck(run, (coarse.features.detach().requires_grad_(), conv.kernel))


def test_a_block_s_pairs_are_gathered_by_whole_elements() -> None:
    assert maps.group_elements([0, 3, 2, 0, 4, 9, 1, 0], 6) == [[1, 2], [4], [5], [6]]
    x = random_tensor()
    (block,) = x.manager.kernel_map(1, 5, 1, 1).to_output.blocks
    assert len(block.groups) > 1
    assert [group.start for group in block.groups[1:]] == [
        group.start + sum(group.sizes) for group in block.groups[:-1]
    ]
    assert len(block.pairs) == sum(sum(group.sizes) for group in block.groups)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_neighbours_by_way_of_the_parents_are_those_that_a_search_finds(kernel_size: int) -> None:
    manager = random_tensor().manager
    for stride in (1, 2, 4):
        level = manager.level(stride)
        searched = maps.search_map(level, level, kernel_size, 1, manager.scratch).to_output.blocks
        found = manager.kernel_map(stride, kernel_size, 1, 1).to_output.blocks
        for block, expected in zip(found, searched, strict=True):
            for group, other in zip(block.groups, expected.groups, strict=True):
                assert group.elements == other.elements
                assert torch.equal(group.sources, other.sources)
                assert torch.equal(group.targets, other.targets)


def test_kernel_gradient_is_the_dense_one_without_an_input_gradient() -> None:
    x = random_tensor()
    conv = SparseConv3d(3, 4, 3).double()
    weight = torch.randn(len(x.features), 4, dtype=torch.float64)
    (found,) = torch.autograd.grad((conv(x).features * weight).sum(), conv.kernel)
    (expected,) = torch.autograd.grad((sampled(dense_conv(dense(x), conv.kernel), x) * weight).sum(), conv.kernel)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def dense_unet(state: dict[str, Tensor], x: SparseTensor, half: int) -> Tensor:
    """The network in evaluation on dense grids, from the names of the state alone; one block a stage."""
    occupied = [dense(x.with_features(torch.ones_like(x.features[:, :1])), half)]
    for _ in range(4):
        occupied.append(F.max_pool3d(occupied[-1], 2))

    def norm(name: str, grid: Tensor, level: int) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(grid, mean, var, weight, bias) * occupied[level]

    def block(name: str, grid: Tensor, level: int) -> Tensor:
        name += ".0"
        out = F.relu(norm(f"{name}.norm1", dense_conv(grid, state[f"{name}.conv1.kernel"]), level))
        out = norm(f"{name}.norm2", dense_conv(out, state[f"{name}.conv2.kernel"]), level)
        if f"{name}.downsample.0.kernel" in state:
            grid = norm(f"{name}.downsample.1", dense_conv(grid, state[f"{name}.downsample.0.kernel"]), level)
        return F.relu(out + grid)

    skips = [F.relu(norm("bn0", dense_conv(dense(x, half), state["conv0p1s1.kernel"]), 0))]
    for i, name in enumerate(("conv1p1s2", "conv2p2s2", "conv3p4s2", "conv4p8s2"), 1):
        grid = F.relu(norm(f"bn{i}", dense_conv(skips[-1], state[f"{name}.kernel"], stride=2), i))
        skips.append(block(f"block{i}", grid, i))
    grid = skips.pop()
    for i, name in enumerate(("convtr4p16s2", "convtr5p8s2", "convtr6p4s2", "convtr7p2s2"), 4):
        grid = F.conv_transpose3d(grid, dense_weight(state[f"{name}.kernel"]), stride=2)
        grid = F.relu(norm(f"bntr{i}", grid, 7 - i))
        grid = block(f"block{i + 1}", torch.cat((grid, skips.pop()), 1), 7 - i)
    return sampled(dense_conv(grid, state["final.kernel"]), x) + state["final.bias"]


def randomise_statistics(net: nn.Module) -> None:
    """Give batch norms something to do in evaluation."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)


def test_unet_is_the_dense_one() -> None:
    half = 16
    x = random_tensor(count=900, half=half)
    net = build_sparse_unet("minkunet14s", 3, 6).double().eval()
    randomise_statistics(net)
    with torch.no_grad():
        y = net(x)
        torch.testing.assert_close(y.features, dense_unet(net.state_dict(), x, half), rtol=1e-10, atol=1e-10)
    assert y.coordinates is x.coordinates


def minkunet34c_names() -> list[str]:
    """The names in MinkowskiEngine's example, written down from reading it: (stage, blocks, changes channels)."""
    statistics = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    def norm(name: str) -> list[str]:
        return [f"{name}.bn.{key}" for key in statistics]

    def blocks(stage: int, count: int, changes: bool) -> list[str]:
        names = []
        for i in range(count):
            block = f"block{stage}.{i}"
            names += [
                f"{block}.conv1.kernel",
                *norm(f"{block}.norm1"),
                f"{block}.conv2.kernel",
                *norm(f"{block}.norm2"),
            ]
            if i == 0 and changes:
                names += [f"{block}.downsample.0.kernel", *norm(f"{block}.downsample.1")]
        return names

    return [
        *("conv0p1s1.kernel", *norm("bn0")),
        *("conv1p1s2.kernel", *norm("bn1"), *blocks(1, 2, False)),
        *("conv2p2s2.kernel", *norm("bn2"), *blocks(2, 3, True)),
        *("conv3p4s2.kernel", *norm("bn3"), *blocks(3, 4, True)),
        *("conv4p8s2.kernel", *norm("bn4"), *blocks(4, 6, True)),
        *("convtr4p16s2.kernel", *norm("bntr4"), *blocks(5, 2, True)),
        *("convtr5p8s2.kernel", *norm("bntr5"), *blocks(6, 2, True)),
        *("convtr6p4s2.kernel", *norm("bntr6"), *blocks(7, 2, True)),
        *("convtr7p2s2.kernel", *norm("bntr7"), *blocks(8, 2, True)),
        *("final.kernel", "final.bias"),
    ]


def test_minkunet34c_is_minkowskiengines() -> None:
    net = build_sparse_unet("minkunet34c", 3, 20)
    assert sum(parameter.numel() for parameter in net.parameters()) == 37_856_052
    state = net.state_dict()
    assert list(state) == minkunet34c_names()
    assert state["conv0p1s1.kernel"].shape == (125, 3, 32)
    assert state["conv2p2s2.kernel"].shape == (8, 32, 32)
    assert state["block5.0.conv1.kernel"].shape == (27, 384, 256)
    assert state["block8.0.downsample.0.kernel"].shape == (128, 96)
    assert state["convtr7p2s2.kernel"].shape == (8, 96, 96)
    assert state["final.kernel"].shape == (96, 20)
    assert state["final.bias"].shape == (1, 20)


def test_initialisation() -> None:
    torch.manual_seed(0)
    net = build_sparse_unet("minkunet34c", 3, 20)
    state = net.state_dict()
    assert state["block4.1.conv1.kernel"].std().item() == pytest.approx(math.sqrt(2 / (27 * 256)), rel=0.02)
    assert state["block8.0.downsample.0.kernel"].std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.02)
    assert state["convtr4p16s2.kernel"].abs().max().item() == pytest.approx(1 / math.sqrt(8 * 256), rel=0.01)
    assert (state["block3.0.norm1.bn.weight"] == 1).all()


@pytest.mark.parametrize("training", [False, True])
def test_rows_keep_the_order_of_the_input(training: bool) -> None:
    x = random_tensor()
    net = build_sparse_unet("minkunet14s", 3, 4).double()
    shuffle = torch.randperm(len(x.features))
    shuffled = SparseTensor(x.coordinates[shuffle].int(), x.features[shuffle])
    net.train(training)
    with torch.no_grad():
        torch.testing.assert_close(net(shuffled).features, net(x).features[shuffle], rtol=1e-8, atol=1e-8)


def test_samples_do_not_see_each_other() -> None:
    x = random_tensor()
    net = build_sparse_unet("minkunet14s", 3, 4).double().eval()
    second = x.coordinates[:, 0] == 1
    moved = x.coordinates[second] + torch.tensor([4, 0, 0, 0])  # leaves samples 0 to 4 empty
    with torch.no_grad():
        alone = net(SparseTensor(moved, x.features[second])).features
        torch.testing.assert_close(alone, net(x).features[second], rtol=1e-10, atol=1e-10)


def test_single_voxel() -> None:
    x = SparseTensor(torch.tensor([[0, -3, 5, 7]]), torch.ones(1, 3))
    net = build_sparse_unet("minkunet14s", 3, 4)
    assert net.eval()(x).features.shape == (1, 4)
    with pytest.raises(InputError, match="one voxel is left at stride 1"):
        net.train()(x)


def test_training_step_reaches_every_parameter_and_the_maps_are_shared() -> None:
    x = random_tensor()
    net = build_sparse_unet("minkunet14s", 3, 4).double()
    net(x).features.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())
    manager = x.manager.sorted[0]
    assert manager.kernel_map(4, 3, 1, 1) is manager.kernel_map(4, 3, 1, 1)
    assert manager.scratch.size() > 0


def test_bfloat16_and_autocast() -> None:
    x = random_tensor()
    x = x.with_features(x.features.float())
    conv = SparseConv3d(3, 4, 3)
    exact = conv(x).features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = conv(x).features
        half.sum().backward()
    assert half.dtype == torch.bfloat16
    assert conv.kernel.grad is not None
    assert conv.kernel.grad.dtype == torch.float32
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)
    taken = conv(x.with_features(x.features.bfloat16())).features  # computed in the kernel's float32
    assert taken.dtype == torch.float32
    torch.testing.assert_close(taken, exact, rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = build_sparse_unet("minkunet14s", 3, 4)(x).features.float().square().mean()
    loss.backward()
    assert loss.isfinite()


def test_grad_checkpointing_changes_memory_and_nothing_else() -> None:
    torch.manual_seed(0)
    plain = build_sparse_unet("minkunet14s", 3, 4).double()
    again = build_sparse_unet("minkunet14s", 3, 4).double()
    again.load_state_dict(plain.state_dict())
    again.set_grad_checkpointing()
    kept = []
    for model in (plain, again):
        octets = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal octets
            octets += tensor.nbytes
            return tensor

        x = random_tensor(count=2000)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(x).features
        kept.append(octets)
        out.square().sum().backward()
    assert kept[1] < kept[0] / 3
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad), name
    for (name, one), other in zip(plain.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(one, other), name


def test_small_modules() -> None:
    x = random_tensor()
    assert torch.equal(cat(x, x).features, torch.cat((x.features, x.features), 1))
    assert torch.equal(relu(x).features, x.features.clamp(min=0))
    norm = SparseBatchNorm(3).double()
    assert "bn.weight" in norm.state_dict()
    torch.testing.assert_close(norm(x).features.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


ORIGIN = torch.zeros(1, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SparseTensor(ORIGIN.float(), torch.ones(1, 3)), r"int32 or int64.*float32"),
        (lambda: SparseTensor(ORIGIN[:, :3], torch.ones(1, 3)), r"\(N, 4\).*\(1, 3\)"),
        (lambda: SparseTensor(ORIGIN, torch.ones(1, 3, dtype=torch.int64)), "floating point"),
        (lambda: SparseTensor(ORIGIN, torch.ones(3)), r"\(N, C\)"),
        (lambda: SparseTensor(ORIGIN, torch.ones(2, 3)), "2 features .* 1 coordinates"),
        (lambda: SparseTensor(ORIGIN[:0], torch.ones(0, 3)), "at least one voxel"),
        (lambda: SparseTensor(ORIGIN.repeat(3, 1), torch.ones(3, 3)), "2 of 3 voxels repeat"),
        (lambda: SparseTensor(ORIGIN - 1, torch.ones(1, 3)), "sample in the batch"),
        (lambda: SparseTensor(ORIGIN + 70_000, torch.ones(1, 3)), "sample in the batch"),
        (lambda: SparseTensor(torch.tensor([[0, 0, -70_000, 0]]), torch.ones(1, 3)), "70000 voxels from the origin"),
        (lambda: SparseConv3d(3, 4, 3, stride=3), "stride 3"),
        (lambda: SparseConvTranspose3d(3, 4, stride=1), "stride 2, not 1"),
        (lambda: SparseConvTranspose3d(3, 4)(SparseTensor(ORIGIN, torch.ones(1, 3))), "stride 1"),
        (lambda: SparseConv3d(4, 4, 3)(SparseTensor(ORIGIN, torch.ones(1, 3))), "4 channels .* 3"),
        (
            lambda: build_sparse_unet("minkunet14s", 4, 4)(
                SparseConv3d(3, 4, 2, 2)(SparseTensor(ORIGIN, torch.ones(1, 3)))
            ),
            "stride 2",
        ),
        (lambda: cat(random_tensor(), random_tensor()), "come of one input"),
        (lambda: build_sparse_unet("minkunet18", 3, 4), "minkunet18.*minkunet34c, minkunet14a, minkunet14s"),
    ],
)
def test_errors(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_against_minkowskiengine(dtype: torch.dtype, tolerance: float) -> None:
    if importlib.util.find_spec("MinkowskiEngine") is None:
        pytest.skip("MinkowskiEngine is not installed")
    torch.manual_seed(0)
    ours = build_sparse_unet("minkunet34c", 3, 20).to(dtype).eval()
    randomise_statistics(ours)
    theirs = build_minkowski_unet("minkunet34c", 3, 20).to(dtype).eval()
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = random_tensor(count=4000, half=16)
    x = x.with_features(x.features.to(dtype))
    with torch.no_grad():
        found, expected = ours(x).features, theirs(x).features
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


def test_without_minkowskiengine_its_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MinkowskiEngine", None)
    with pytest.raises(InputError, match=r"pri3d-zoo\[minkowski\]"):
        build_minkowski_unet("minkunet14s", 3, 4)
