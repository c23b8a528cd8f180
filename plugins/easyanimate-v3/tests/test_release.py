"""V3 as a release: its folders, strictly loaded; its clips."""

import json
from pathlib import Path

import pytest
from easyanimate_core import WeightsError, WeightsFolder
from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_dit.testing import ReleaseContract, edit_config
from easyanimate_v3.plugin import V3

GOLDEN = Path(__file__).parent / "golden"


class TestPlugin(PluginContract):
    module = "easyanimate_v3.plugin"


class TestPipeline(PipelineContract):
    request_values = {"num_frames": 16, "height": 32, "width": 48}


class TestRelease(ReleaseContract):
    release = V3
    manifests = {
        "transformer": json.loads((GOLDEN / "transformer_inp.json").read_text()),
        "vae": json.loads((GOLDEN / "vae_magvit.json").read_text()),
    }
    extras = {"vae": "loss.logvar", "image_encoder": "text_projection.weight"}


def test_a_text_transformer_needs_no_image_encoder(own_checkpoint):
    (own_checkpoint / "image_encoder").rename(own_checkpoint / "elsewhere")
    edit_config(own_checkpoint / "transformer", in_channels=4)
    V3.check_weights(WeightsFolder(own_checkpoint))


def test_the_vae_of_v2_is_refused(own_checkpoint):
    edit_config(own_checkpoint / "vae", slice_mag_vae=True, slice_compression_vae=False)
    with pytest.raises(WeightsError, match=r"that of V2[\s\S]*slice_compression_vae: true"):
        V3.check_weights(WeightsFolder(own_checkpoint))
