import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from pri3d_zoo import list_models

REPOSITORY = Path(__file__).parents[2]

# In a process of its own that looks like one without the installed package: neither its finder nor its metadata.
PLAIN_FOLDER = """
import importlib.metadata, sys
import timm, torch, torchvision
from safetensors.torch import load_file

def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version = version
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
sys.path = [path for path in sys.path if "editable" not in path]
model = torch.hub.load(
    sys.argv[1], "resnet18_pri3d_joint", source="local", pretrained=True, checkpoint_path="weights", num_classes=4
)
state = model.state_dict()
for key, value in load_file("weights/model.safetensors").items():
    assert torch.equal(state[key], value), key
print(sys.modules["pri3d_zoo"].__version__, model.fc.out_features, sys.modules["pri3d_zoo"].__file__)
"""


@pytest.mark.slow
def test_a_plain_folder_loads_weights(tmp_path):
    save_for_hf(timm.create_model("resnet18", num_classes=0), tmp_path / "weights", safe_serialization=True)
    result = subprocess.run(
        [sys.executable, "-c", PLAIN_FOLDER, str(REPOSITORY)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split(maxsplit=2) == ["0+clone", "4", f"{REPOSITORY / 'pri3d_zoo' / '__init__.py'}\n"]


@pytest.fixture
def as_if_downloaded(monkeypatch):
    """torch.hub lists and explains repositories of GitHub only; this is the part of it that fetches them."""
    monkeypatch.setattr(torch.hub, "_get_cache_or_reload", lambda *arguments, **options: str(REPOSITORY))


def test_every_model_is_listed_and_documented(as_if_downloaded):
    assert sorted(torch.hub.list("someone/pri3d-zoo")) == sorted(list_models())
    for name, kind in (("resnet50_pri3d_view", "Encoder"), ("resunet50_pri3d_view", "Dense model")):
        text = torch.hub.help("someone/pri3d-zoo", name)
        assert text.startswith(f"{kind} {name} ")
        assert "checkpoint_path" in text


def test_random_initialisation(as_if_downloaded):
    model = torch.hub.load(str(REPOSITORY), "resunet18_pri3d_geo", source="local", pretrained=False, num_classes=3)
    assert model.head.out_channels == 3
