"""Memory: nothing outlives a call, and a full-size tile fits where the original's did not."""

import gc
import importlib.util
import itertools
from pathlib import Path

import psutil
import pytest
import torch
from easyanimate_vae import AutoencoderKLMagvit

TRACKER = Path(__file__).parents[3] / "benchmarks" / "memory.py"


def count_live_bytes() -> int:
    gc.collect()
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if type(tensor) in {torch.Tensor, torch.nn.Parameter}
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided  # tests of other files leave sparse ones behind
    }
    return sum(storages.values())


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("flavour", ["v2", "v3", "v4"])
def test_nothing_outlives_a_call(build_random, flavour):
    vae = build_random(flavour)
    z, pixels = torch.randn(1, 4, 4, 2, 2), torch.randn(1, 3, 9, 8, 8)
    before = count_live_bytes()
    for _ in range(2):
        vae.decode(z)
        vae.encode(pixels)
        assert count_live_bytes() == before


@pytest.mark.usefixtures("no_grad")
def test_an_abandoned_clip_is_freed(build_random):
    vae = build_random("v4")
    z = torch.randn(1, 4, 4, 2, 2)
    before = count_live_bytes()
    chunks = vae.decode_chunks(z)
    next(chunks)
    assert count_live_bytes() > before  # the frames that the next chunk continues from
    del chunks
    assert count_live_bytes() == before


@pytest.mark.usefixtures("no_grad")
def test_a_second_run_takes_no_more_memory(build_random):
    vae = build_random("v4")
    z = torch.randn(1, 4, 4, 8, 8)
    process = psutil.Process()

    def resident_after(runs: int) -> int:
        for _ in range(runs):
            vae.decode(z)
        gc.collect()
        return process.memory_info().rss

    # What a run keeps, it keeps every time; what the allocator keeps for later comes once, at any time.
    resident = [resident_after(4) for _ in range(4)]
    growth = min(later - earlier for earlier, later in itertools.pairwise(resident))
    assert growth < 4e6  # the frames that are remembered of one clip are 2 MB


@pytest.mark.usefixtures("no_grad")
@pytest.mark.skipif(not TRACKER.is_file(), reason="the tracker lies in the repository, not in the package")
def test_a_full_size_tile_decodes_within_4_5_gigabytes():
    spec = importlib.util.spec_from_file_location("memory", TRACKER)
    memory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with memory.StorageTracker() as tracker:
            vae = AutoencoderKLMagvit(
                slice_mag_vae=False, cache_compression_vae=True, mini_batch_encoder=8, mini_batch_decoder=2
            )
            z = torch.empty(1, 4, 4, 48, 48)
            weights = tracker.live
            decoded = vae.decode(z).sample
            assert decoded.shape == (1, 3, 16, 384, 384)
            assert decoded.dtype == torch.bfloat16
            assert 1.5e9 < tracker.peak <= 4.5e9
            assert tracker.live - weights < 2 * decoded.nbytes
    finally:
        torch.set_default_dtype(torch.float32)
