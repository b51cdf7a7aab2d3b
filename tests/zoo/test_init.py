import subprocess
import sys
from pathlib import Path

import pytest

import pri3d_zoo

REPOSITORY = Path(__file__).parents[2]


def test_everything_public_is_there():
    assert all(hasattr(pri3d_zoo, name) for name in pri3d_zoo.__all__)


@pytest.mark.slow
def test_import_needs_no_network_and_nothing_optional():
    code = """
import socket, sys
def refuse(*arguments, **options): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
for name in ("accelerate", "detectron2", "MinkowskiEngine", "omegaconf", "open3d", "scipy", "trimesh"):
    sys.modules[name] = None  # an import of it fails
import pri3d_zoo, timm
assert "pri3d_zoo.training" not in sys.modules
assert timm.is_model("resunet101_pri3d_geo")
assert pri3d_zoo.__version__
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
