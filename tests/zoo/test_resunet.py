import re

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import pri3d_zoo
from pri3d_zoo import ResUNet, build_resunet
from pri3d_zoo.decoder import Decoder, LightUpProjection
from pri3d_zoo.resunet import choose_stages

NAMES = [f"resunet{depth}_pri3d_{objective}" for depth in (18, 34, 50, 101) for objective in ("view", "geo", "joint")]
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def authors_keys(blocks: tuple[int, ...], convolutions: int) -> set[str]:
    """The keys of `backbone.*` in the authors' checkpoints, with the prefix taken off; written out from their names."""

    def batch_norm(name: str) -> set[str]:
        return {f"{name}.{field}" for field in BATCH_NORM}

    keys = {"encoder.conv1.weight"} | batch_norm("encoder.bn1") | {"decoder.conv0.weight", "decoder.conv0.bias"}
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            prefix = f"encoder.layer{layer}.{block}"
            for i in range(1, convolutions + 1):
                keys |= {f"{prefix}.conv{i}.weight"} | batch_norm(f"{prefix}.bn{i}")
            if block == 0 and (layer > 1 or convolutions == 3):
                keys |= {f"{prefix}.downsample.0.weight"} | batch_norm(f"{prefix}.downsample.1")
    for up in range(1, 5):
        for i in ("1", "1_2", "2"):
            keys |= {f"decoder.up{up}.conv{i}.weight"} | batch_norm(f"decoder.up{up}.bn{i}")
    return keys


def restated_decoder(state: dict[str, torch.Tensor], stages: list[torch.Tensor]) -> torch.Tensor:
    """The decoder of the authors from its formulas: functional calls on a state dict, in evaluation mode."""

    def convolution(x, name, padding):
        return functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=padding)

    def batch_norm(x, name):
        mean, variance, weight, bias = (
            state[f"{name}.{field}"].reshape(1, -1, 1, 1) for field in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x1, x2, x3, x4 = stages
    double = (2 * x1.shape[2], 2 * x1.shape[3])
    x = x4
    for up, (size, skip) in enumerate([(x3.shape[2:], x3), (x2.shape[2:], x2), (x1.shape[2:], x1), (double, 0)], 1):
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
        one = batch_norm(convolution(x, f"up{up}.conv1", 2), f"up{up}.bn1").clamp(min=0)
        one = batch_norm(convolution(one, f"up{up}.conv1_2", 1), f"up{up}.bn1_2")
        two = batch_norm(convolution(x, f"up{up}.conv2", 2), f"up{up}.bn2")
        x = (one + two).clamp(min=0) + skip
    return convolution(x, "conv0", 0)


def randomise_batch_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.5, 0.5)


def test_the_twelve_names_are_registered_with_timm():
    assert sorted(timm.list_models("resunet*_pri3d_*")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_the_authors(name):
    depth = int(re.search(r"\d+", name)[0])
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    with torch.device("meta"):
        model = timm.create_model(name)
    state = model.state_dict()
    assert set(state) == authors_keys(blocks, 3 if depth >= 50 else 2)
    channels = 128 if depth >= 50 else 32
    assert state["decoder.up1.conv1.weight"].shape == (channels * 8, channels * 16, 5, 5)
    assert state["decoder.up4.conv1_2.weight"].shape == (channels, channels, 3, 3)
    assert state["decoder.conv0.weight"].shape == (channels, channels, 1, 1)
    assert model.num_features == channels
    expected = [(channels, 2), (2 * channels, 4), (4 * channels, 8), (8 * channels, 16), (16 * channels, 32)]
    assert [(info["num_chs"], info["reduction"]) for info in model.feature_info] == expected
    assert model.pretrained_cfg["first_conv"] == "encoder.conv1"


def test_decoder_agrees_with_the_formulas():
    torch.manual_seed(0)
    decoder = Decoder((8, 16, 32, 64)).double().eval()
    randomise_batch_norms(decoder)
    # sizes of an image that nothing divides
    sizes = [(17, 23), (9, 12), (5, 6), (3, 3)]
    stages = [torch.randn(2, 8 * 2**i, *size, dtype=torch.float64) for i, size in enumerate(sizes)]
    with torch.no_grad():
        result = decoder(stages)[0]
    assert result.shape == (2, 4, 34, 46)
    torch.testing.assert_close(result, restated_decoder(decoder.state_dict(), stages), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resunet18_pri3d_joint", pytest.param("resunet50_pri3d_view", marks=pytest.mark.slow)]
)
def test_forward_is_decoder_of_the_stages(name):
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    randomise_batch_norms(model)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        stages = model.encoder.forward_intermediates(x, intermediates_only=True)[1:]
        result = model(x)
        expected = restated_decoder(model.decoder.state_dict(), stages)
    assert result.shape == (1, model.num_features, 32, 48)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(("size", "half"), [((64, 96), (32, 48)), ((70, 101), (36, 52)), ((33, 47), (18, 24))])
def test_any_size(size, half):
    model = build_resunet("resnet18").eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *size)).shape == (1, 32, *half)


def test_classes_and_channels():
    model = timm.create_model("resunet18_pri3d_geo", num_classes=13, in_chans=4).eval()
    x = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        features = model.forward_features(x)
        assert features.shape == (1, 32, 32, 32)
        assert model(x).shape == (1, 13, 32, 32)
        torch.testing.assert_close(model(x), model.get_classifier()(features))
        assert model.forward_head(features, pre_logits=True) is features
        model.reset_classifier(2)
        assert (model.num_classes, model(x).shape) == (2, (1, 2, 32, 32))
        model.reset_classifier(0)
        torch.testing.assert_close(model(x), features)


def test_every_parameter_is_trained():
    torch.manual_seed(0)
    model = build_resunet("resnet18", num_classes=3)
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["convnext_atto", "tf_efficientnet_lite0", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("size", [(64, 96), (120, 160)])
def test_other_encoders_of_timm(encoder, size):
    torch.manual_seed(0)
    model = build_resunet(encoder)
    stages = {info["reduction"]: info["num_chs"] for info in timm.create_model(encoder).feature_info}
    result = model(torch.randn(2, 3, *size))
    assert result.shape == (2, stages[min(stages, key=lambda s: abs(s - 4))] // 2, size[0] // 2, size[1] // 2)
    result.square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_stages_are_chosen_by_the_nearest_stride():
    assert choose_stages([2, 4, 8, 16, 32]) == [1, 2, 3, 4]  # ResNet
    assert choose_stages([2, 4, 8, 8, 16, 32, 32]) == [1, 3, 4, 6]  # the last of one reduction
    assert choose_stages([16] * 12) == [2, 5, 8, 11]  # ViT-B
    assert choose_stages([14] * 24) == [5, 11, 17, 23]
    assert choose_stages([8, 16, 32]) == [0, 0, 1, 2]


def test_features_of_a_transformer_lie_where_the_image_is():
    """A black image with one bright patch: the features that change most are those at the patch, at the border too."""
    torch.manual_seed(0)
    model = build_resunet("vit_tiny_patch16_224").eval()
    for block in model.encoder.blocks:
        nn.init.zeros_(block.attn.proj.weight)  # else every token sees the patch
    image = torch.zeros(2, 3, 120, 160)  # 7.5 x 10 patches
    image[1, :, 112:, 144:] = 3.0
    with torch.no_grad():
        black, bright = model(image)
    change = (bright - black).norm(dim=0)
    v, u = divmod(int(change.argmax()), change.shape[1])
    assert change.shape == (60, 80)
    assert v >= 52
    assert u >= 68


def test_an_encoder_with_classifier_loses_it():
    assert not any(".fc." in key for key in ResUNet(timm.create_model("resnet18")).state_dict())


def test_what_is_no_encoder_is_refused():
    with pytest.raises(ValueError, match="feature_info and forward_intermediates, which Linear is not"):
        ResUNet(nn.Linear(2, 2))


@pytest.mark.parametrize("indices", [None, (0, 4), (1, 3), (4,)])
def test_features_only_gives_the_levels_of_the_decoder(indices):
    torch.manual_seed(0)
    whole = timm.create_model("resunet18_pri3d_joint").eval()
    randomise_batch_norms(whole)
    arguments = {} if indices is None else {"out_indices": indices}
    model = pri3d_zoo.create_model("resunet18_pri3d_joint", pretrained=False, features_only=True, **arguments).eval()
    kept = {f"model.{key}": value for key, value in whole.state_dict().items()}
    model.load_state_dict({key: kept[key] for key in model.state_dict()})
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features, (output, levels) = model(x), whole.forward_intermediates(x)
        stages = whole.encoder.forward_intermediates(x, intermediates_only=True)
        torch.testing.assert_close(output, whole(x))
    chosen = indices or (0, 1, 2, 3, 4)
    assert model.feature_info.reduction() == [2 ** (1 + index) for index in chosen]
    assert model.feature_info.channels() == [feature.shape[1] for feature in features]
    assert [feature.shape[-1] for feature in features] == [96 // 2 ** (1 + index) for index in chosen]
    for index, feature in zip(chosen, features, strict=True):
        assert torch.equal(feature, levels[index])
    assert torch.equal(levels[0], output)
    assert torch.equal(levels[4], stages[-1])


def test_levels_that_nobody_wants_are_not_there():
    model = timm.create_model("resunet18_pri3d_joint", features_only=True, out_indices=(2, 3))
    names = {name.split(".")[2] for name, _ in model.named_parameters() if name.startswith("model.decoder")}
    assert names == {"up1", "up2"}
    sum(feature.sum() for feature in model(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    with pytest.raises(ValueError, match="5 levels, 0 to 4; there is no 5"):
        timm.create_model("resunet18_pri3d_joint", features_only=True, out_indices=(5,))
    whole = timm.create_model("resunet18_pri3d_joint")
    with pytest.raises(ValueError, match="NCHW only"):
        whole.forward_intermediates(torch.randn(1, 3, 64, 64), output_fmt="NHWC")


@pytest.mark.parametrize("encoder", ["resnet18", "vit_tiny_patch16_224"])
def test_learning_rates_decay_from_the_head_to_the_stem(encoder):
    model = build_resunet(encoder, num_classes=3)
    groups = param_groups_layer_decay(model, layer_decay=0.5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scale = {names[id(parameter)]: group["lr_scale"] for group in groups for parameter in group["params"]}
    assert set(scale) == set(names.values())
    assert scale["head.weight"] == 1
    first, last = ("conv1", "layer4.1.conv1") if encoder == "resnet18" else ("patch_embed.proj", "blocks.11.attn.qkv")
    order = [f"encoder.{first}", f"encoder.{last}", *(f"decoder.up{i}.conv1" for i in range(1, 5)), "decoder.conv0"]
    scales = [scale[f"{name}.weight"] for name in order]
    assert scales == sorted(scales)
    assert scales[1:] == [2.0**-i for i in range(6, 0, -1)]
    if encoder != "resnet18":
        assert "encoder.pos_embed" in model.no_weight_decay()
    assert set(model.group_matcher(coarse=True)("decoder.up3.conv1.weight")) == {0, 1}


@pytest.mark.slow
def test_checkpointing_changes_memory_and_not_gradients():
    gradients = []
    for enable in (False, True):
        torch.manual_seed(0)
        model = build_resunet("resnet18").double()
        model.set_grad_checkpointing(enable)
        model(torch.randn(2, 3, 64, 64, dtype=torch.float64)).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def cost(encoder: str, decoder: str) -> tuple[float, float]:
    """GFLOP of encoder and decoder for a 240x320 image, a multiplication and an addition counted as two."""
    with torch.device("meta"):
        model = build_resunet(encoder, decoder=decoder).eval()
        image = torch.empty(1, 3, 240, 320)
    with FlopCounterMode(display=False) as counter:
        model(image)
    part = sum(counter.get_flop_counts()["ResUNet.decoder"].values())
    return (counter.get_total_flops() - part) / 1e9, part / 1e9


@pytest.mark.parametrize(("depth", "total", "encoder"), [(18, 23, 6), (50, 288, 13)])
def test_cost_is_that_of_the_published_network(depth, total, encoder):
    first, second = cost(f"resnet{depth}", "authors")
    assert (round(first + second), round(first)) == (total, encoder)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "convnext_tiny", "deit_small_patch16_224", "efficientnet_lite0"]
)
def test_the_light_decoder_costs_at_most_what_the_encoder_does(name):
    encoder, decoder = cost(name, "light")
    assert 0 < decoder <= encoder


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("size", [(64, 96), (70, 101)])
def test_the_light_decoder_gives_the_same_levels(encoder, size):
    torch.manual_seed(0)
    one, other = build_resunet(encoder).eval(), build_resunet(encoder, decoder="light").eval()
    assert one.num_features == other.num_features
    assert one.feature_info == other.feature_info
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        levels = [model.forward_intermediates(x, intermediates_only=True) for model in (one, other)]
    assert [level.shape for level in levels[0]] == [level.shape for level in levels[1]]
    other.train()(torch.randn(2, 3, *size)).square().mean().backward()
    assert [name for name, parameter in other.named_parameters() if parameter.grad is None] == []


def test_light_up_projection_agrees_with_its_formula():
    torch.manual_seed(0)
    up = LightUpProjection(6, 4).double().eval()
    randomise_batch_norms(up)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)

    def normed(x, norm):
        return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)

    reduced = normed(torch.einsum("oi,bihw->bohw", up.conv1.weight[:, :, 0, 0], x), up.bn1).clamp(min=0)
    # half-pixel centres: twice the size, each new pixel 3/4 of the nearer and 1/4 of the farther old one
    for axis in (2, 3):
        length = reduced.shape[axis]
        before = reduced.index_select(axis, torch.tensor([max(i - 1, 0) for i in range(length)]))
        after = reduced.index_select(axis, torch.tensor([min(i + 1, length - 1) for i in range(length)]))
        both = torch.stack((0.75 * reduced + 0.25 * before, 0.75 * reduced + 0.25 * after), axis + 1)
        reduced = both.flatten(axis, axis + 1)
    middle = normed(functional.conv2d(reduced, up.conv2.weight, padding=1), up.bn2).clamp(min=0)
    expected = normed(torch.einsum("oi,bihw->bohw", up.conv3.weight[:, :, 0, 0], middle), up.bn3).clamp(min=0)
    with torch.no_grad():
        torch.testing.assert_close(up(x, (6, 10)), expected)


def test_a_decoder_that_is_not_there():
    with pytest.raises(ValueError, match="no decoder 'heavy'; there are authors, light"):
        build_resunet("resnet18", decoder="heavy")
