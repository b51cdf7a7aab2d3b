"""Image backbones that know 3D: Pri3D weights for timm. Importing this registers the models with timm."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    __version__ = _version("pri3d-zoo")
except PackageNotFoundError:  # a plain clone, as torch.hub uses it
    __version__ = "0+clone"

from .convert import convert_state_dict
from .factory import create_model, create_transform, list_models
from .resunet import ResUNet, build_resunet
from .weights import Weights, WeightsError, get_weights, list_pretrained

__all__ = [
    "ResUNet",
    "Weights",
    "WeightsError",
    "__version__",
    "build_resunet",
    "convert_state_dict",
    "create_model",
    "create_transform",
    "get_weights",
    "list_models",
    "list_pretrained",
]
