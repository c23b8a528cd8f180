"""What is done where memory is short."""

import pytest
import torch
from easyanimate_dit.loading.placement import Placement, choose_placement, offload_layers

GB = 1_000_000_000
OFFICIAL = [3.9 * GB, 3.3 * GB, 0.7 * GB, 0.6 * GB, 0.5 * GB]


@pytest.mark.parametrize(
    ("free", "placement"), [(24, Placement.WHOLE), (11, Placement.BY_MODEL), (7.5, Placement.BY_LAYER)]
)
def test_the_official_weights_fit_small_gpus(free, placement):
    assert choose_placement(OFFICIAL, free * GB) is placement


def test_layers_come_and_go_without_changing_the_result():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    x = torch.ones(1, 4)
    expected = model(x)
    offload_layers([model], torch.device("cpu"))
    assert torch.equal(model(x), expected)
