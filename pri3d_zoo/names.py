"""Model names: `<encoder>_pri3d_<method>` for encoders, with `resunet` for the dense models.

The encoders of the paper have names of their own, `resnet50_pri3d_joint` and `resunet50_pri3d_joint`; any other of
timm goes by its name, `convnext_tiny_pri3d_joint` and `resunet_convnext_tiny_pri3d_joint`.
"""

import re
from dataclasses import dataclass

METHODS = ("view", "geo", "joint")
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")


@dataclass(frozen=True)
class ModelName:
    """What the name of a model says. `str()` of it is the name."""

    encoder: str
    """timm's name of the encoder."""
    method: str
    """The pre-training: `view`, `geo` or `joint`."""
    dense: bool = False
    """Whether the decoder is with it."""

    def __str__(self) -> str:
        if not self.dense:
            network = self.encoder
        elif self.encoder in RESNETS:
            network = self.encoder.replace("resnet", "resunet")
        else:
            network = f"resunet_{self.encoder}"
        return f"{network}_pri3d_{self.method}"


def parse_name(name: str) -> ModelName | None:
    """What a name without a tag says; `None` if it is not of this form. It need not be a model that exists."""
    match = re.fullmatch(rf"(resunet_?)?(.+)_pri3d_({'|'.join(METHODS)})", name)
    if match is None:
        return None
    prefix, encoder, method = match.groups()
    parsed = ModelName(f"resnet{encoder}" if prefix == "resunet" else encoder, method, dense=prefix is not None)
    return parsed if str(parsed) == name and not encoder.startswith("resunet") else None
