"""Entries for torch.hub: `torch.hub.load(REPOSITORY, "resnet50_pri3d_joint")`. `list_models` names them all."""

from typing import Any as _Any

import pri3d_zoo as _zoo

dependencies = ["torch", "timm", "huggingface_hub", "safetensors"]


def _entry(name: str) -> _Any:
    def entry(pretrained: bool = True, **kwargs: _Any) -> _Any:
        return _zoo.create_model(name, pretrained, **kwargs)

    if name.startswith("resunet"):
        kind, output = "Dense model", "Returns (B, C, H/2, W/2) features, or class scores with num_classes."
    else:
        kind, output = "Encoder", "Other arguments are timm's: features_only, out_indices, output_stride ..."
    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"""{kind} {name} of pri3d-zoo; the arguments are those of `pri3d_zoo.create_model`.

    pretrained (bool): load weights, and fail with the reason if there are none; False for a random initialisation.
    checkpoint_path (str): a weight folder or .safetensors file to load instead of what is published.
    num_classes (int): channels of a new head; 0 for none.
    in_chans (int): channels of the image.
    {output}
    """
    return entry


globals().update({_name: _entry(_name) for _name in _zoo.list_models()})
