"""The V4 transformer against its floor: time against its matrix products and attention alone, and peak memory.

    python benchmarks/transformer.py                     # float32, then bfloat16 compiled; one thread
    python benchmarks/transformer.py --dtype bfloat16 --profile
    python benchmarks/transformer.py --memory            # full size on fake tensors, no weights needed

The floor is recorded, not modelled: every matrix product, convolution and attention of one forward pass is run again on
tensors of the same shapes, strides and dtype, and nothing else. Both are timed in turn (CPU time of the one thread);
the minimum of each counts.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import torch
from easyanimate_dit import HunyuanTransformer3DModel, make_rotary_table
from memory import StorageTracker
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLOOR = ("addmm", "mm", "bmm", "baddbmm", "convolution", "scaled_dot_product", "_scaled_dot_product", "linear")
FULL_SIZE = (18, 48, 84)
"""Latent frames, height and width of 384 x 672 pixels and 72 frames."""
ABOUT_3000_ROWS = (9, 36, 36)


class FloorRecorder(TorchDispatchMode):
    """Remembers every matrix product, convolution and attention, to run them again on tensors of the same form."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._stand_ins: dict[tuple[Any, ...], torch.Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and remember it when it belongs to the floor."""
        kwargs = kwargs or {}
        if func.overloadpacket.__name__.startswith(_FLOOR):
            self.calls.append((func, *tree_map_only(torch.Tensor, self._stand_in, (args, kwargs))))
        return func(*args, **kwargs)

    def _stand_in(self, tensor: torch.Tensor) -> torch.Tensor:
        key = (tensor.shape, tensor.stride(), tensor.dtype)
        if key not in self._stand_ins:
            self._stand_ins[key] = torch.empty_strided(*key[:2], dtype=key[2]).normal_()
        return self._stand_ins[key]

    def replay(self) -> None:
        """Run the floor once."""
        for func, args, kwargs in self.calls:
            func(*args, **kwargs)


def build_model(num_layers: int) -> HunyuanTransformer3DModel:
    """Build an official InP transformer of the given depth with random weights, in the default dtype."""
    return HunyuanTransformer3DModel(num_layers=num_layers).eval().requires_grad_(False)


def make_inputs(model: HunyuanTransformer3DModel, latent_size: tuple[int, int, int]) -> dict[str, Any]:
    """Make the inputs of one step, with the condition already encoded, as a pipeline has them."""
    config: Any = model.config
    size = latent_size
    condition = model.encode_condition(
        encoder_hidden_states=torch.randn(1, config.text_len, config.cross_attention_dim),
        text_embedding_mask=torch.ones(1, config.text_len),
        encoder_hidden_states_t5=torch.randn(1, config.text_len_t5, config.cross_attention_dim_t5),
        text_embedding_mask_t5=torch.ones(1, config.text_len_t5),
        image_meta_size=torch.tensor([[1024.0, 1024.0, 384.0, 672.0, 0.0, 0.0]]),
        clip_encoder_hidden_states=torch.randn(1, 256, config.projection_dim),
        clip_attention_mask=torch.ones(1, config.n_query),
    )
    table = make_rotary_table(*size[1:], head_dim=config.attention_head_dim, patch_size=config.patch_size)
    return {
        "hidden_states": torch.randn(1, 4, *size),
        "inpaint_latents": torch.randn(1, 8, *size),
        "timestep": torch.tensor([500.0]),
        "image_rotary_emb": table,
        "condition": condition,
    }


def measure_time(dtype: torch.dtype, *, num_layers: int, compiled: bool, rounds: int, show_profile: bool) -> None:
    """Time forward pass and floor in turn, and print the ratio of their minima."""
    torch.set_default_dtype(dtype)
    model = build_model(num_layers)
    inputs = make_inputs(model, ABOUT_3000_ROWS)
    recorder = FloorRecorder()
    with recorder:
        model(**inputs)
    if compiled:
        model.compile_repeated_blocks()

    def forward() -> None:
        model(**inputs)

    best = {forward: float("inf"), recorder.replay: float("inf")}
    for run in best:
        run()
    for _ in range(rounds):
        for run, shortest in best.items():
            start = time.process_time()
            run()
            best[run] = min(shortest, time.process_time() - start)
    model_time, floor_time = best.values()
    print(
        f"{dtype}, {'compiled' if compiled else 'eager'}: {model_time:.3f} s, floor {floor_time:.3f} s "
        f"({len(recorder.calls)} products), ratio {model_time / floor_time:.3f}"
    )
    if show_profile:
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            forward()
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))


def measure_activations(num_layers: int = 40) -> int:
    """Return the peak bytes above weights and inputs of one full-size forward pass in bfloat16, without guidance."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with StorageTracker() as tracker, torch.no_grad():
            model = build_model(num_layers)
            inputs = make_inputs(model, FULL_SIZE)
            before = tracker.live
            tracker.reset_peak()
            model(**inputs)
            return tracker.peak - before
    finally:
        torch.set_default_dtype(default)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--eager", action="store_true", help="do not compile in bfloat16")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.memory:
        print(f"384x672x72, bfloat16, one sample: activations peak at {measure_activations() / 1e9:.2f} GB")
        return
    torch.set_num_threads(1)
    for name in [options.dtype] if options.dtype else ["float32", "bfloat16"]:
        compiled = name == "bfloat16" and not options.eager
        measure_time(
            getattr(torch, name),
            num_layers=options.layers,
            compiled=compiled,
            rounds=options.rounds,
            show_profile=options.profile,
        )


if __name__ == "__main__":
    main()
