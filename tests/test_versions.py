"""A folder of one version given to another model: the error names the version that it holds."""

import json

import pytest
from easyanimate_core import WeightsError
from easyanimate_core.registry import load_plugins

HELD = {
    "v1": {"_class_name": "Transformer3DModel", "motion_module_type": "VanillaGrid"},
    "v2": {"_class_name": "Transformer3DModel", "motion_module_type": "Vanilla", "enable_uvit": True},
    "v3": {"_class_name": "Transformer3DModel", "basic_block_type": "global_motionmodule", "in_channels": 12},
    "v4": {"_class_name": "HunyuanTransformer3DModel", "in_channels": 12},
    "v5": {"_class_name": "EasyAnimateTransformer3DModel"},
}


@pytest.mark.parametrize("asked", ["v1", "v2", "v3", "v4"])
@pytest.mark.parametrize("held", HELD)
def test_every_mix_of_versions(tmp_path, held, asked):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(HELD[held]))
    check = load_plugins().model(asked).check_weights
    assert check is not None
    with pytest.raises(WeightsError) as caught:
        check(tmp_path)
    if held == asked:
        assert "lacks vae" in caught.value.message
    else:
        assert caught.value.received == f"EasyAnimate {held.upper()}"
        assert f"--model {held}" in (caught.value.fix or "")
