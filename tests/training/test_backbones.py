import json

import timm
import torch
from safetensors.torch import save_file

from pri3d_zoo.training.data.augment import normalize
from pri3d_zoo.training.evaluate.backbones import load_backbone


def test_colours_are_normalised_as_the_weights_want_them(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=0).eval()
    cfg = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.6, 0.7]}
    save_file(network.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_efficientnet", "pretrained_cfg": cfg}))
    color = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(cfg[name])[:, None, None] for name in ("mean", "std"))
    expected = network.forward_intermediates((color / 255 - mean) / std, intermediates_only=True)[-1]
    backbone = load_backbone(str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(backbone.maps(normalize(color))["stride 32"], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(backbone.random(0).shift, backbone.maps.shift)
