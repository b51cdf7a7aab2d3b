import torch
from torch import nn

from pri3d_zoo.training.networks.batch_norm import batch_norm_momentum, set_batch_norm_momentum
from pri3d_zoo.training.networks.two_branch import TwoBranch


def test_the_authors_schedule_by_hand():
    momentum = [batch_norm_momentum(step, 0.5, 20, 0.001) for step in (0, 19, 20, 39, 40, 100, 179, 180, 65_000)]
    assert momentum == [0.5, 0.5, 0.25, 0.25, 0.125, 0.5 / 2**5, 0.5 / 2**8, 0.001, 0.001]


def test_it_reaches_every_batch_norm_of_both_networks():
    model = TwoBranch("resnet18", "minkunet14s")
    set_batch_norm_momentum(model, 0.25)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len([norm for norm in norms if isinstance(norm, nn.BatchNorm1d)]) > 10
    assert {norm.momentum for norm in norms} == {0.25}
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(2)))
    set_batch_norm_momentum(synchronised, 0.5)
    assert synchronised[0].momentum == 0.5


def test_the_running_mean_follows_by_the_momentum():
    norm = nn.BatchNorm1d(1)
    set_batch_norm_momentum(norm, 0.25)
    norm(torch.tensor([[1.0], [3.0]]))
    assert norm.running_mean.item() == 0.5
