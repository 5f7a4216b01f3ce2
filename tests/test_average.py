"""Averaged weights: what is averaged, what is shared, and what it costs."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from gapfill.checkpoint import save
from gapfill.train import Trainer, Training
from gapfill.train.average import Average
from gapfill.types import Batch, Update

SHARES = [0.25, torch.tensor(0.25)]


class Players(nn.Module):
    """A network and its critic, with buffers and weights of every kind."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2).double()
        )
        self.critic = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))


class Operators(TorchDispatchMode):
    """Names the operators that are called, views apart."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def moved(module):
    """Change all that a training step changes, in place."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.add_(1)


@pytest.mark.parametrize("share", SHARES, ids=["number", "tensor"])
def test_weights_follow_and_the_rest_is_the_modules_own(share):
    module = Players().to(memory_format=torch.channels_last)
    average = Average(module, ("critic",))
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    moved(module)
    average.follow(share)
    followed = {name for name, _ in module.network.named_parameters(prefix="network")}
    assert len(followed) == 6
    for name, tensor in average.module.state_dict().items():
        if name in followed:
            torch.testing.assert_close(tensor, before[name] + 0.25)
        else:
            assert torch.equal(tensor, before[name] + 1), name


def test_an_average_leaves_the_module_as_it_was():
    module = Players()
    average = Average(module, ("critic",))
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())
    assert not average.module.training
    assert not any(weight.requires_grad for weight in average.module.parameters())


@pytest.mark.parametrize("share", SHARES, ids=["number", "tensor"])
def test_to_follow_is_one_operator_for_each_dtype(share):
    average = Average(Players(), ("critic",))
    with Operators() as called:
        average.follow(share)
    assert len(called.names) == 2  # float32 and float64


def test_a_weight_that_critic_and_network_share_is_averaged():
    module = nn.ModuleDict({"critic": nn.Linear(2, 2), "network": nn.Linear(2, 2)})
    module["network"].weight = module["critic"].weight
    average = Average(module, ("critic",))
    before = module["network"].weight.detach().clone()
    moved(module)
    average.follow(0.5)
    torch.testing.assert_close(average.module["network"].weight.detach(), before + 0.5)
    assert torch.equal(average.module["critic"].bias, module["critic"].bias)


def test_a_checkpoint_with_averaged_critics_goes_on_with_those_that_learned(tmp_path):
    def trainer():
        module = nn.ModuleDict({"network": nn.Linear(1, 1), "critic": nn.Linear(1, 1)})
        updates = [
            Update(
                name,
                torch.optim.SGD(module[name].parameters(), 0.1),
                lambda batch, name=name: {"x": module[name].weight.sum()},
            )
            for name in module
        ]
        batch = Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
        settings = Training(steps=4, precision="fp32", device="cpu", ema=0.5)
        return Trainer(
            module,
            updates,
            lambda _: batch,
            settings,
            folder=tmp_path,
            quiet=True,
            critics=("critic",),
        )

    first = trainer()
    first.run()
    path = tmp_path / "checkpoint-00000004.pt"
    state = vars(first._latest())
    learned = state["module"]["critic.weight"].clone()
    state["ema"] = {name: value + 7 for name, value in state["ema"].items()}
    save(path, state)
    again = trainer()
    again.run()
    assert torch.equal(again.module["critic"].weight, learned)
    assert torch.equal(again.module["network"].weight, state["ema"]["network.weight"])
