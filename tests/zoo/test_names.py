import pytest

from pri3d_zoo.names import ModelName, parse_name


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("resnet50_pri3d_joint", ModelName("resnet50", "joint")),
        ("resunet50_pri3d_view", ModelName("resnet50", "view", dense=True)),
        ("convnext_tiny_pri3d_geo", ModelName("convnext_tiny", "geo")),
        ("resunet_convnext_tiny_pri3d_geo", ModelName("convnext_tiny", "geo", dense=True)),
        ("resunet_resnet26_pri3d_joint", ModelName("resnet26", "joint", dense=True)),
        ("resnet26_pri3d_joint", ModelName("resnet26", "joint")),
    ],
)
def test_names_and_what_they_say(name, parsed):
    assert parse_name(name) == parsed
    assert str(parsed) == name


@pytest.mark.parametrize(
    "name",
    [
        *("resnet50", "resnet50_pri3d", "resnet50_pri3d_both", "_pri3d_geo"),
        *("resunet_pri3d_geo", "resunet26_pri3d_joint", "resunet_resnet50_pri3d_joint"),
    ],
)
def test_other_names(name):
    assert parse_name(name) is None
