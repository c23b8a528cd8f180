"""VAE decode against its convolutions alone, in one process and one thread; then a profile of where the rest goes.

    python benchmarks/vae.py [--ch 128] [--size 64] [--latents 4] [--rounds 5] [--dtype float32] [--memory]

The floor runs the same convolutions on inputs of the same shapes. Both take turns, the shortest time of each counts;
it is processor time, so that a busy machine disturbs little.
`--memory` shows instead the peak memory of a full-size 384-pixel tile, counted on fake tensors.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_vae import AutoencoderKLMagvit
from memory import StorageTracker
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CONVOLUTION = torch.ops.aten.convolution.default
_V4 = {"slice_mag_vae": False, "cache_compression_vae": True, "mini_batch_encoder": 8, "mini_batch_decoder": 2}


class ConvolutionRecorder(TorchDispatchMode):
    """Keeps the arguments of every convolution, to run it again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Record and run."""
        if func is _CONVOLUTION:
            # Fresh inputs of the same shape: the real ones would all have to stay in memory.
            self.calls.append((torch.Size(args[0].shape), *args[1:]))
        return func(*args, **(kwargs or {}))

    def replay(self) -> float:
        """Processor seconds of all convolutions, without the time to make their inputs."""
        seconds = 0.0
        for shape, *rest in self.calls:
            x = torch.randn(shape, dtype=rest[0].dtype)
            start = time.process_time()
            _CONVOLUTION(x, *rest)
            seconds += time.process_time() - start
        return seconds


def measure(vae: AutoencoderKLMagvit, z: torch.Tensor, rounds: int) -> None:
    """Print decode, floor and their ratio, then the profile of one decode."""
    with ConvolutionRecorder() as recorder:
        vae.decode(z)
    decodes: list[float] = []
    floors: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        vae.decode(z)
        decodes.append(time.process_time() - start)
        floors.append(recorder.replay())
    decode, floor = min(decodes), min(floors)
    print(f"decode {decode:.3f} s, its convolutions alone {floor:.3f} s: {decode / floor:.3f}x")
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        vae.decode(z)
    print(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=44))


def measure_memory() -> None:
    """Print the peak of decoding one tile, for a first chunk alone and for a clip of 72 frames."""
    torch.set_default_dtype(torch.bfloat16)
    for latents in (2, 18):
        with StorageTracker() as tracker:
            vae = AutoencoderKLMagvit(**_V4).eval()
            z = torch.empty(1, 4, latents, 48, 48)
            tracker.reset_peak()
            vae.decode(z)
            print(f"{latents * 4} frames of 384 x 384 in bfloat16: peak {tracker.peak / 1e9:.2f} GB, at {tracker.at}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ch", type=int, default=128)
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--latents", type=int, default=4, help="latent frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        if args.memory:
            measure_memory()
            return
        dtype = getattr(torch, args.dtype)
        torch.manual_seed(0)
        vae = AutoencoderKLMagvit(ch=args.ch, **_V4).eval().to(dtype)
        measure(vae, torch.randn(1, 4, args.latents, args.size // 8, args.size // 8, dtype=dtype), args.rounds)


if __name__ == "__main__":
    main()
