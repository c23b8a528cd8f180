"""What the plugin and its networks keep, from easyanimate-core."""

import pytest
import torch
from easyanimate_core import LoadOptions, WeightsFolder
from easyanimate_core.testing import (
    AutoencoderCase,
    PipelineContract,
    PluginContract,
    TrainableAutoencoderContract,
    TrainableTransformerContract,
    TransformerCase,
)
from my_network.plugin import MINE
from my_network.start import write_start
from my_network.transformer import PlainTransformer
from my_network.vae import PlainVae


def randomize(network):
    """Weights without zeros, which would hide what depends on them."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter.data, std=0.1)
    return network.eval()


class TestPlugin(PluginContract):
    module = "my_network.plugin"


class TestTransformer(TrainableTransformerContract):
    @pytest.fixture
    def case(self):
        return TransformerCase(
            transformer=randomize(PlainTransformer(width=32, num_heads=2, num_layers=2, text_width=8)),
            latents=torch.randn(2, 8, 2, 4, 6),
            conditions={
                "encoder_hidden_states": torch.randn(2, 5, 8),
                "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
            },
        )


class TestVae(TrainableAutoencoderContract):
    @pytest.fixture
    def case(self):
        clips = torch.randn(2, 3, 4, 16, 24).tanh()
        return AutoencoderCase(vae=randomize(PlainVae(width=8)), shapes=MINE.shapes, clips=clips)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    PlainVae().save_pretrained(folder / "vae")
    write_start(folder / "vae", folder / "weights")
    return MINE.load(LoadOptions(weights=WeightsFolder(folder / "weights"), device="cpu"))


class TestPipeline(PipelineContract):
    request_values = {"height": 32, "width": 32}
