"""The zoo's encoders in detectron2: `pri3d://` names for `MODEL.WEIGHTS`, configurations, a check of what was loaded.

detectron2 is no dependency and is imported only by `register`. A training then starts like this:

    from pri3d_zoo import d2

    d2.register()
    cfg = detectron2.config.get_cfg()
    cfg.merge_from_file(str(d2.config_file("mask_rcnn_R_50_FPN_scannet")))
    trainer = detectron2.engine.DefaultTrainer(cfg)
    trainer.resume_or_load(resume=False)
    d2.check_loaded(trainer.model)

The names that detectron2's ResNet goes by, and what it assumes about images, are those of its
`detectron2/modeling/backbone/resnet.py`, `config/defaults.py` and `checkpoint/detection_checkpoint.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from .checkpoint_files import read_state_dict
from .convert import convert_state_dict
from .convert_files import save_detectron2
from .files import sha256_of
from .hub import find_weights
from .weights import WeightsError

PREFIX = "pri3d://"
CONFIG_FOLDER = Path(__file__).parent / "configs" / "detectron2"

# detectron2 strips queries from paths by way of urllib, which before Python 3.12.6 made pri3d:/folder of pri3d:///folder
_SCHEME = "pri3d:"
_SHARED = "Base-"
_CACHE = "detectron2-1"  # to be counted up when the same weights are to be converted in another way
_resolved: list[Path] = []  # what detectron2 has asked for in this process, the latest last


def register() -> None:
    """Teach detectron2 to read `pri3d://` in `MODEL.WEIGHTS`; see `local_file` for what may follow. Twice does no harm.

    Raises:
        ImportError: detectron2 is not installed.
    """
    try:
        from detectron2.utils.file_io import PathHandler, PathManager
    except ImportError as error:
        raise ImportError(
            f"detectron2 cannot be imported ({error}); it is in no package index: "
            "install it from its sources, see https://detectron2.readthedocs.io"
        ) from error

    class Pri3DHandler(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return [_SCHEME]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            self._check_kwargs(kwargs)
            _resolved.append(local_file(path))
            return str(_resolved[-1])

    PathManager.register_handler(Pri3DHandler())


def local_file(path: str) -> Path:
    """The file that detectron2 loads for `path`, converted on first use and kept in the cache of the Hub's client.

    Args:
        path: `pri3d://` and the name of a model, with or without a tag, looked for where `create_model` looks; or the
            path of a weight folder or a `.safetensors` file, known by a slash in it. A dense model gives its encoder.

    Returns:
        A `.pth` file that `DetectionCheckpointer` matches to the backbone of any of its models.

    Raises:
        WeightsError: the weights cannot be had, or they are of no ResNet.
    """
    name = path.removeprefix(_SCHEME).removeprefix("//")
    if "/" in name:
        source = find_weights(Path(name).name, path=name)
    else:
        model, _, tag = name.partition(".")
        source = find_weights(model, tag or None)
    target = Path(constants.HF_HOME) / "pri3d-zoo" / _CACHE / f"{sha256_of(source)}.pth"
    if not target.is_file():
        try:
            tensors = convert_state_dict(load_file(source), source="timm", target="detectron2")
        except WeightsError as error:
            raise WeightsError(f"{source} cannot be used in detectron2: {error}") from None
        save_detectron2(tensors, target)
    return target


def config_file(name: str) -> Path:
    """The path of a configuration that comes with the package, e.g. `mask_rcnn_R_50_FPN_scannet`.

    Raises:
        WeightsError: there is none of this name.
    """
    names = sorted(file.stem for file in CONFIG_FOLDER.glob("*.yaml") if not file.stem.startswith(_SHARED))
    if name not in names:
        raise WeightsError(f"there is no detectron2 configuration {name!r}; there are {', '.join(names)}")
    return CONFIG_FOLDER / f"{name}.yaml"


def check_loaded(model: nn.Module, weights: str | None = None) -> None:
    """Raise unless the backbone of a detectron2 model is the pre-trained one, tensor by tensor and bit by bit.

    detectron2 itself only logs tensors that it did not find. To be called after loading and before training.

    Args:
        model: Any model with a ResNet of detectron2's in it; each such ResNet is checked.
        weights: What `MODEL.WEIGHTS` says, as in `local_file`; by default the weights of the zoo that detectron2 has
            asked for last in this process.

    Raises:
        WeightsError: a tensor of the backbone is not that of the file, the file has tensors without a place in it, or
            the model is built for other weights: stride in the 1x1 convolutions, other channels, mean or deviation.
    """
    if weights is None and not _resolved:
        raise WeightsError(
            f"detectron2 has not loaded any weights of the zoo in this process: call pri3d_zoo.d2.register(), set "
            f"MODEL.WEIGHTS to {PREFIX}NAME and load it with DetectionCheckpointer, or name the weights to compare with"
        )
    file = local_file(weights) if weights is not None else _resolved[-1]
    expected, _ = read_state_dict(file)
    # known by its parts, not by its class: detectron2 need not be imported, and classes derived in projects count too
    backbones = {
        name: module
        for name, module in model.named_modules()
        if {"stem", "res2"} <= {child for child, _ in module.named_children()}
    }
    if not backbones:
        raise WeightsError(
            f"{type(model).__name__} has no ResNet of detectron2's in it, with a stem and stages res2..."
        )
    faults = list(_image_faults(model))
    for name, backbone in backbones.items():
        faults += _tensor_faults(backbone, expected, f"{name}." if name else "")
        faults += _stride_faults(backbone, f"{name}." if name else "")
    if faults:
        raise WeightsError(f"the model is not as {weights or 'the weights'} ({file}) want it: {'; '.join(faults)}")


def _tensor_faults(backbone: nn.Module, expected: Mapping[str, Tensor], prefix: str) -> Iterator[str]:
    # counters of batches are no weights, and detectron2's frozen batch norm has none
    state = {key: value for key, value in backbone.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing = [key for key in state if key not in expected]
    different = [
        key
        for key in state
        if key in expected and not torch.equal(state[key].cpu(), expected[key].to(state[key].dtype))
    ]
    # a backbone may stop at an early stage; where it has the stage, blocks must not be too few
    stages = {child for child, _ in backbone.named_children()}
    homeless = [key for key in expected if key not in state and key.split(".")[0] in stages]
    if missing or different:
        listed = _listed(prefix + key for key in (*different, *missing))
        yield f"{len(different) + len(missing)} of {len(state)} tensors of the backbone were not loaded ({listed})"
    if homeless:
        yield f"{len(homeless)} tensors of the file have no place in the backbone ({_listed(homeless)})"


def _stride_faults(backbone: nn.Module, prefix: str) -> Iterator[str]:
    blocks = {name: block for name, block in backbone.named_modules() if hasattr(block, "conv3")}
    wrong = [f"{prefix}{name}.conv1" for name, block in blocks.items() if max(block.conv1.stride) > 1]
    if wrong:
        yield f"{_listed(wrong)} have the stride of their block: set MODEL.RESNETS.STRIDE_IN_1X1 to False"


def _image_faults(model: nn.Module) -> Iterator[str]:
    for name, fractions in (("pixel_mean", IMAGENET_DEFAULT_MEAN), ("pixel_std", IMAGENET_DEFAULT_STD)):
        wanted = [round(255 * fraction, 3) for fraction in fractions]
        found = getattr(model, name, None)  # a detector has both, a bare backbone neither
        if found is not None and [round(value, 3) for value in found.flatten().tolist()] != wanted:
            yield f"{name} is {found.flatten().tolist()}: set MODEL.{name.upper()} to {wanted}"
    if (channels := getattr(model, "input_format", None)) not in (None, "RGB"):
        yield f"its images are {channels}: set INPUT.FORMAT to RGB"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
