"""V2 as a release: its folders, strictly loaded; its clips."""

import json
from pathlib import Path

from easyanimate_core.testing import PipelineContract, PluginContract
from easyanimate_dit.testing import ReleaseContract
from easyanimate_v2.plugin import V2

GOLDEN = Path(__file__).parent / "golden"


class TestPlugin(PluginContract):
    module = "easyanimate_v2.plugin"


class TestPipeline(PipelineContract):
    request_values = {"num_frames": 18, "height": 32, "width": 48}


class TestRelease(ReleaseContract):
    release = V2
    manifests = {
        "transformer": json.loads((GOLDEN / "transformer.json").read_text()),
        "vae": json.loads((GOLDEN / "vae_magvit.json").read_text()),
    }
    extras = {"vae": "loss.logvar"}
