"""Contract suites for plugin authors: subclass one in a pytest file, and its tests run against what you made.

    class TestMyPlugin(PluginContract):
        module = "my_package.plugin"

    class TestMyPipeline(PipelineContract):
        @pytest.fixture
        def pipeline(self):
            return load(LoadOptions(device="cpu"))

    class TestMyTransformer(TransformerContract):
        @pytest.fixture
        def case(self):
            return TransformerCase(transformer=..., latents=..., conditions=...)

Needs pytest, nothing heavy.
"""

from easyanimate_core.testing.network import (
    AutoencoderCase,
    AutoencoderContract,
    ImageEncoderCase,
    ImageEncoderContract,
    SchedulerCase,
    SchedulerContract,
    SmoothingAutoencoderContract,
    TextEncoderCase,
    TextEncoderContract,
    TransformerCase,
    TransformerContract,
)
from easyanimate_core.testing.plugin import PipelineContract, PluginContract
from easyanimate_core.testing.training import TrainableAutoencoderContract, TrainableTransformerContract

__all__ = [
    "AutoencoderCase",
    "AutoencoderContract",
    "ImageEncoderCase",
    "ImageEncoderContract",
    "PipelineContract",
    "PluginContract",
    "SchedulerCase",
    "SchedulerContract",
    "SmoothingAutoencoderContract",
    "TextEncoderCase",
    "TextEncoderContract",
    "TrainableAutoencoderContract",
    "TrainableTransformerContract",
    "TransformerCase",
    "TransformerContract",
]
