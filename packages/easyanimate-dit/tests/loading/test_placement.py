"""What is done where memory is short."""

import pytest
import torch
from easyanimate_dit.loading import placement as module
from easyanimate_dit.loading.placement import Placement, choose_placement, offload_layers, place_pipeline

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


class TestPlacePipeline:
    """Where the models of a pipeline go; the GPU is one that only says how much memory it has."""

    class Pipeline:
        """Notes what it is asked for."""

        def __init__(self):
            self.components = {
                "transformer": torch.nn.Linear(4, 4),
                "vae": torch.nn.Linear(2, 2),
                "tokenizer": object(),
            }
            self.asked = []

        def to(self, device):
            self.asked.append(("to", device))

        def enable_model_cpu_offload(self, device):
            self.asked.append(("by model", device))

    def test_on_a_cpu_all_are_there(self):
        pipeline = self.Pipeline()
        assert place_pipeline(pipeline, torch.device("cpu")) is Placement.WHOLE
        assert pipeline.asked == [("to", torch.device("cpu"))]

    @pytest.mark.parametrize(
        ("free", "placement", "asked"),
        [(200, Placement.WHOLE, "to"), (100, Placement.BY_MODEL, "by model"), (50, Placement.BY_LAYER, None)],
    )
    def test_on_a_gpu_by_its_free_memory(self, monkeypatch, free, placement, asked):
        # 20 and 6 float32 numbers: 80 and 24 bytes.
        offloaded = []
        monkeypatch.setattr(module, "_ACTIVATION_BYTES", 0)
        monkeypatch.setattr(module, "offload_layers", lambda models, _: offloaded.extend(models))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, free))
        pipeline, device = self.Pipeline(), torch.device("cuda")
        assert place_pipeline(pipeline, device) is placement
        assert pipeline.asked == ([(asked, device)] if asked else [])
        assert len(offloaded) == (0 if asked else 2)
