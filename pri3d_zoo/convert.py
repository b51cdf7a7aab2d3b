"""Weights from the names of one code base to those of another: pure functions of state dicts.

What can be converted, by part of the network:

- `encoder`, the ResNet, between `pri3d` (`backbone.encoder.*` of the authors' checkpoints and of our own runs), `timm`
  (the zoo's; a dense model gives its encoder), `torchvision` (the same names) and `detectron2` (`stem`, `res2`-`res5`);
- `dense`, encoder and decoder, between `pri3d` (`backbone.*`) and `timm`;
- `unet3d`, the 3D network, between `pri3d` (`backbone3d.*`) and `minkowski`, the names of MinkowskiEngine's MinkUNet.

Tensors are handed over as they are. detectron2 has no `num_batches_tracked`: it is left out on the way there and zero
on the way back, which changes nothing that a network computes, for the momentum of the running means is fixed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .weights import WeightsError

FORMATS = ("pri3d", "timm", "torchvision", "detectron2")
"""Formats of an image encoder."""

PARTS = {"encoder": FORMATS, "dense": ("pri3d", "timm"), "unet3d": ("pri3d", "minkowski")}
"""The parts of a network, each with the formats that it can be converted between."""

_COUNTER = "num_batches_tracked"
_STATISTICS = ("weight", "bias", "running_mean", "running_var", _COUNTER)
_NORM = f"(?:{'|'.join(_STATISTICS)})"
_ENCODER = (
    rf"conv1\.weight|bn1\.{_NORM}|layer[1-4]\.\d+\."
    rf"(?:conv[1-3]\.weight|bn[1-3]\.{_NORM}|downsample\.(?:0\.weight|1\.{_NORM}))"
)
_DECODER = rf"up[1-4]\.(?:conv(?:1|1_2|2)\.weight|bn(?:1|1_2|2)\.{_NORM})|conv0\.(?:weight|bias)"
_UNET3D = (
    rf"conv(?:tr)?\dp\d+s\d\.kernel|bn(?:tr)?\d\.bn\.{_NORM}|final\.(?:kernel|bias)|block[1-8]\.\d+\."
    rf"(?:conv[12]\.kernel|norm[12]\.bn\.{_NORM}|downsample\.(?:0\.kernel|1\.bn\.{_NORM}))"
)
# every tensor that a part may have, by the name that it has inside the part: timm's, or MinkowskiEngine's
_INSIDE = {
    "encoder": re.compile(_ENCODER),
    "dense": re.compile(rf"encoder\.(?:{_ENCODER})|decoder\.(?:{_DECODER})"),
    "unet3d": re.compile(_UNET3D),
}
# one tensor by which the names of a format are known
_MARKS = {"stem.conv1.weight": "detectron2", "conv0p1s1.kernel": "minkowski", "encoder.conv1.weight": "timm"}
_UNET3D_LAYERS = {(1,) * 8, (2,) * 8, (2, 3, 4, 6, 2, 2, 2, 2)}  # MinkUNet14, 18 and 34, by stage
_PRI3D_PREFIX = {"encoder": "backbone.encoder.", "dense": "backbone.", "unet3d": "backbone3d."}
_PRI3D_HEADS = ("w2d.", "w3d.", "headnet.", "headloss.")  # the last a fixed filter, saved with the depth head
# what belongs to a format and not to the part that is asked for
_LEFT_OUT = {
    ("pri3d", "encoder"): ("backbone.decoder.", "backbone3d.", *_PRI3D_HEADS),
    ("pri3d", "dense"): ("backbone3d.", *_PRI3D_HEADS),
    ("pri3d", "unet3d"): ("backbone.encoder.", "backbone.decoder.", *_PRI3D_HEADS),
    ("timm", "encoder"): ("fc.", "decoder.", "head."),
    ("timm", "dense"): ("head.",),
    ("torchvision", "encoder"): ("fc.",),
    ("detectron2", "encoder"): ("stem.fc.",),  # where the converters that come with detectron2 put a classifier
    ("minkowski", "unet3d"): (),
}


@dataclass(frozen=True)
class KeyReport:
    """Which tensors fit those that were expected, by name."""

    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    """Expected and there, but of another shape."""
    left_out: tuple[str, ...] = ()
    """Parts of the source that were not asked for (a classifier, heads, the decoder of an encoder)."""

    @property
    def fits(self) -> bool:
        """Whether every expected tensor is there and no unexpected one."""
        return not (self.missing or self.unexpected or self.mismatched)

    def summary(self) -> str:
        """One line: `318 matched, 0 missing, 2 unexpected (fc.weight, fc.bias)`."""
        facts = [f"{len(self.matched)} matched"]
        for names, what, always in (
            (self.missing, "missing", True),
            (self.unexpected, "unexpected", True),
            (self.mismatched, "of another shape", False),
            (self.left_out, "left out", False),
        ):
            if names or always:
                facts.append(f"{len(names)} {what}{_first_names(names)}")
        return ", ".join(facts)


@dataclass(frozen=True)
class Translation:
    """A state dict under other names, and the source names that did not go into it."""

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]
    unexpected: tuple[str, ...]


def convert_state_dict(
    state_dict: Mapping[str, Tensor], source: str = "pri3d", target: str = "timm", *, part: str = "encoder"
) -> dict[str, Tensor]:
    """The tensors of a part of a network, under the names of another format.

    Args:
        state_dict: Tensors by name. Parts that are not asked for (heads, classifier, decoder) are left out.
        source: The format of its names, one of `PARTS[part]`.
        target: The format wanted, one of the same.
        part: `encoder`, `dense` or `unet3d`.

    Returns:
        The same tensor objects in the same order; `num_batches_tracked` as the module says.

    Raises:
        WeightsError: part or format is unknown, the part has no such format, no tensor is of the part, a name is not
            of the format, or two names stand for one tensor.
    """
    translation = translate(state_dict, source, target, part=part)
    if translation.unexpected:
        raise WeightsError(
            f"{len(translation.unexpected)} of {len(state_dict)} tensors have no name of {source}"
            f"{_first_names(translation.unexpected)}; the state dict seems to hold {describe_state_dict(state_dict)}"
        )
    return translation.tensors


def translate(state_dict: Mapping[str, Tensor], source: str, target: str, *, part: str) -> Translation:
    """`convert_state_dict`, with names that are not of the source format returned rather than raised.

    Raises:
        WeightsError: as there, but for such names.
    """
    _check_direction(source, target, part)
    inside: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    left_out: list[str] = []
    unexpected: list[str] = []
    for name, tensor in state_dict.items():
        key = _inside_name(name, source, part)
        if key is None:
            (left_out if name.startswith(_LEFT_OUT[source, part]) else unexpected).append(name)
        elif key in origins:
            raise WeightsError(f"{origins[key]} and {name} are both {key} of the {part}; remove one of them")
        else:
            inside[key], origins[key] = tensor, name
    if not inside:
        raise WeightsError(
            f"0 of {len(state_dict)} tensors are of the part {part!r} by the names of {source}; "
            f"the state dict seems to hold {describe_state_dict(state_dict)}"
        )
    return Translation(_outside(inside, target, part), tuple(left_out), tuple(unexpected))


def compare_keys(state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> KeyReport:
    """Names and shapes of tensors beside those of a model's state dict, which may be on the meta device."""
    common = [name for name in expected if name in state_dict]
    matched = [name for name in common if state_dict[name].shape == expected[name].shape]
    return KeyReport(
        matched=tuple(matched),
        missing=tuple(name for name in expected if name not in state_dict),
        unexpected=tuple(name for name in state_dict if name not in expected),
        mismatched=tuple(name for name in common if name not in set(matched)),
    )


def detect_format(state_dict: Mapping[str, Tensor]) -> str:
    """The format of the names: one of `FORMATS`, or `minkowski`.

    timm and torchvision differ in nothing but the classifier: names with one are torchvision's.

    Raises:
        WeightsError: they are of none of them.
    """
    if any(name.startswith(("backbone.encoder.", "backbone3d.")) for name in state_dict):
        return "pri3d"
    if "conv1.weight" in state_dict and "layer1.0.conv1.weight" in state_dict:
        return "torchvision" if "fc.weight" in state_dict else "timm"
    for name, found in _MARKS.items():
        if name in state_dict:
            return found
    raise WeightsError(
        f"the names of its {len(state_dict)} tensors are of none of {', '.join((*FORMATS, 'minkowski'))}; "
        f"it seems to hold {describe_state_dict(state_dict)}"
    )


def describe_state_dict(state_dict: Mapping[str, Tensor]) -> str:
    """What a file seems to hold, judged by its keys, for the eyes of a person."""
    first = f"(first key {next(iter(state_dict), 'none')!r})"
    if any(name.startswith("backbone.bottom_up.") for name in state_dict):
        return "a whole model of detectron2's, of which the backbone would have to be taken out"
    if any(name.startswith(("backbone.encoder.", "backbone.decoder.", "backbone3d.")) for name in state_dict):
        return "a pre-training checkpoint with its heads, which has to be exported first"
    if "backbone.conv1.weight" in state_dict:
        return f"a ResNet under `backbone.`, where the checkpoints of Pri3D have it under `backbone.encoder.` {first}"
    if "conv0p1s1.kernel" in state_dict:
        return "a sparse 3D network, MinkowskiEngine's MinkUNet"
    if "stem.conv1.weight" in state_dict:
        depth = resnet_depth(filter(None, (_inside_name(name, "detectron2", "encoder") for name in state_dict)))
        return f"a backbone of detectron2's, resnet{depth}"
    names = {name.removeprefix("encoder.") for name in state_dict}
    depth = resnet_depth(names)
    if depth == 0 or "conv1.weight" not in names:
        return f"something other than a ResNet {first}"
    dense = any(name.startswith("decoder.") for name in state_dict)
    kind = f"a dense model, resunet{depth}" if dense else f"an encoder, resnet{depth}"
    if "decoder.up4.conv3.weight" in state_dict:
        kind += ' with decoder="light"'
    return kind + (", with a classifier" if "fc.weight" in names else "")


def resnet_depth(names: Iterable[str]) -> int:
    """The number in the name of a ResNet whose tensors have these names of timm's (50 of resnet50); 0 for no ResNet."""
    names = set(names)
    blocks = {tuple(name.split(".")[:2]) for name in names if name.startswith("layer")}
    # three convolutions a block or two, one before the blocks, one classifier after them: the customary count
    return len(blocks) * (3 if "layer1.0.conv3.weight" in names else 2) + 2 if blocks else 0


def expected_unet3d(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a MinkUNet with as many blocks has, under the names of MinkowskiEngine.

    The zoo has no such network to compare with: a tensor that is there stands for itself, and only names are checked.

    Raises:
        WeightsError: no MinkUNet has such blocks.
    """
    blocks = {tuple(name.split(".")[:2]) for name in tensors if name.startswith("block")}
    layers = tuple(sum(block == f"block{stage}" for block, _ in blocks) for stage in range(1, 9))
    if layers not in _UNET3D_LAYERS:
        raise WeightsError(f"its stages of {layers} blocks are those of no MinkUNet (14, 18 or 34)")
    convolutions = {"conv0p1s1": "bn0"}
    for level in range(1, 5):
        convolutions[f"conv{level}p{2 ** (level - 1)}s2"] = f"bn{level}"
        convolutions[f"convtr{level + 3}p{2 ** (5 - level)}s2"] = f"bntr{level + 3}"
    for stage, count in enumerate(layers, start=1):
        for block in (f"block{stage}.{index}" for index in range(count)):
            convolutions |= {f"{block}.conv1": f"{block}.norm1", f"{block}.conv2": f"{block}.norm2"}
        if stage > 1:  # the first stage alone has as many channels as come into it
            convolutions[f"block{stage}.0.downsample.0"] = f"block{stage}.0.downsample.1"
    names = ["final.kernel", "final.bias"]
    for convolution, norm in convolutions.items():
        names += [f"{convolution}.kernel", *(f"{norm}.bn.{statistic}" for statistic in _STATISTICS)]
    return {name: tensors.get(name, torch.empty(0)) for name in names}


def printable(name: str) -> str:
    """A name out of a file as it may be shown: with no line break, and with nothing that a terminal would obey."""
    return name if name.isprintable() else ascii(name)


def _check_direction(source: str, target: str, part: str) -> None:
    if part not in PARTS:
        raise WeightsError(f"there is no part {part!r} of a network; the parts are {', '.join(PARTS)}")
    for name in (source, target):
        if name not in PARTS[part]:
            others = "; ".join(f"{other} between {', '.join(formats)}" for other, formats in PARTS.items())
            raise WeightsError(
                f"{part} cannot be converted from {source} to {target}: {name!r} is no format of it; there is {others}"
            )


def _inside_name(name: str, source: str, part: str) -> str | None:
    """The name that a tensor has inside its part, or None if it is not of the part."""
    key = name
    if source == "pri3d":
        prefix = _PRI3D_PREFIX[part]
        key = name.removeprefix(prefix) if name.startswith(prefix) else ""
    elif source == "detectron2":
        key = name.removeprefix("stem.")
        key = re.sub(r"^res([2-5])", lambda match: f"layer{int(match[1]) - 1}", key)
        key = re.sub(r"\bconv(\d)\.norm\b", r"bn\1", key)
        key = key.replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
        key = key if _to_detectron2(key) == name else ""  # torchvision's names would have come through unchanged
    elif (source, part) == ("timm", "encoder"):
        key = name.removeprefix("encoder.")
    return key if _INSIDE[part].fullmatch(key) else None


def _outside(inside: Mapping[str, Tensor], target: str, part: str) -> dict[str, Tensor]:
    """The tensors of a part under the names of a format, with or without the counters of batches, as it has them."""
    if target == "detectron2":
        return {_to_detectron2(key): value for key, value in inside.items() if not key.endswith(_COUNTER)}
    prefix = _PRI3D_PREFIX[part] if target == "pri3d" else ""
    tensors = {}
    for key, value in inside.items():
        tensors[prefix + key] = value
        counter = key.removesuffix("running_var") + _COUNTER
        if key.endswith(".running_var") and counter not in inside:
            tensors[prefix + counter] = torch.zeros((), dtype=torch.int64, device=value.device)
    return tensors


def _to_detectron2(key: str) -> str:
    key = re.sub(r"^layer([1-4])", lambda match: f"res{int(match[1]) + 1}", key)
    key = re.sub(r"\bbn(\d)", r"conv\1.norm", key)
    key = key.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return key if key.startswith("res") else f"stem.{key}"


def _first_names(names: Sequence[str]) -> str:
    return f" ({', '.join(map(printable, names[:3]))}{', ...' if len(names) > 3 else ''})" if names else ""
