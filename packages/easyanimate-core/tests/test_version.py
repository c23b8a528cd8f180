import json

import numpy as np
import pytest
from easyanimate_core import WeightsError
from easyanimate_core.version import name_version, refuse_other_version
from safetensors.numpy import save_file

BLOCK = "transformer_blocks.0.attn1.to_q.weight"
MOTION = "transformer_blocks.0.attn_temporal.temporal_transformer.proj_in.weight"
SKIP = "long_connect_fc.0.weight"
IMAGE_VAE, VIDEO_VAE = {"encoder.conv_in.weight": (8, 3, 3, 3)}, {"encoder.conv_in.weight": (8, 3, 3, 3, 3)}
EARLY = {"_class_name": "Transformer3DModel", "in_channels": 4}
OLD_VAE = {"_class_name": "AutoencoderKL"}
"""What stands in the official video VAEs' files, too."""


def write(folder, config, names, vae_config, vae_shapes):
    """A folder whose headers and configurations are what matters."""
    for name, written, shapes in (
        ("transformer", config, dict.fromkeys(names, (1,))),
        ("vae", vae_config, vae_shapes),
    ):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(written))
        tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
        save_file(tensors, folder / name / "diffusion_pytorch_model.safetensors")
    return folder


CASES = {
    "v1, PixArt's own folder": ({"_class_name": "Transformer2DModel"}, [BLOCK], OLD_VAE, IMAGE_VAE),
    "v1, motion module within": (EARLY, [BLOCK, MOTION], OLD_VAE, IMAGE_VAE),
    "v1, by its settings": (EARLY | {"motion_module_type": "VanillaGrid"}, [BLOCK, MOTION], {}, {}),
    "v2, official": (EARLY, [BLOCK, MOTION, SKIP], OLD_VAE, VIDEO_VAE),
    "v2, class of the image model": ({"_class_name": "Transformer2DModel"}, [BLOCK, MOTION, SKIP], OLD_VAE, VIDEO_VAE),
    "v2, without long skips": (
        EARLY | {"enable_uvit": False, "motion_module_type": "Vanilla"},
        [BLOCK, MOTION],
        {"slice_mag_vae": True},
        VIDEO_VAE,
    ),
    "v2, without settings": (EARLY, [BLOCK, MOTION], {}, VIDEO_VAE),
    "v3, official": (EARLY | {"in_channels": 12}, [BLOCK, MOTION, SKIP], OLD_VAE, VIDEO_VAE),
    "v3, by its picture projection": (EARLY, [BLOCK, MOTION, "clip_projection.linear_1.weight"], {}, VIDEO_VAE),
    "v3, without pictures": (EARLY | {"basic_block_type": "global_motionmodule"}, [BLOCK, MOTION, SKIP], {}, VIDEO_VAE),
    "v3, without pictures, by its vae": (EARLY, [BLOCK, MOTION, SKIP], {"slice_compression_vae": True}, VIDEO_VAE),
    "v4, class of the image model": (
        {"_class_name": "HunyuanDiT2DModel", "in_channels": 12},
        [BLOCK],
        OLD_VAE,
        VIDEO_VAE,
    ),
    "v5, official": ({"_class_name": "EasyAnimateTransformer3DModel"}, [BLOCK], {}, VIDEO_VAE),
}


@pytest.mark.parametrize("case", CASES)
def test_the_version_of_a_folder(tmp_path, case):
    assert name_version(write(tmp_path, *CASES[case])) == case[:2]


@pytest.mark.parametrize("asked", ["v1", "v2", "v3", "v4"])
@pytest.mark.parametrize("case", CASES)
def test_every_other_version_is_refused_by_name(tmp_path, case, asked):
    folder, held = write(tmp_path, *CASES[case]), case[:2]
    if held == asked:
        refuse_other_version(folder, asked)
        return
    with pytest.raises(WeightsError) as caught:
        refuse_other_version(folder, asked)
    assert f"received: EasyAnimate {held.upper()}" in str(caught.value)
    assert f"ea run --model {held} --weights {folder}" in str(caught.value)


def test_what_cannot_be_told(tmp_path):
    assert name_version(tmp_path) is None
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text('{"_class_name": "Flux"}')
    assert name_version(tmp_path) is None
    refuse_other_version(tmp_path, "v3")
