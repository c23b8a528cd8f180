"""Runs every golden file under a folder and prints a table: case, largest difference, tolerance, pass.

Usage: python tests/golden/run.py [FOLDER ...]; without one, ../shared/parity beside the repository.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from golden_case import Comparison, GoldenCase
from golden_lora import run_lora, run_older_lora
from golden_model import run_pixart, run_transformer, run_vae
from golden_pipeline import run_pipeline
from golden_pixart import run_pixart_pipeline
from golden_training import run_training_inputs, run_training_step, run_variational_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_FOLDER = Path(__file__).parents[2].parent / "shared" / "parity"

RUNNERS: dict[str, Callable[[GoldenCase], list[Comparison]]] = {
    "HunyuanTransformer3DModel": run_transformer,
    "Transformer3DModel": run_pixart,
    "AutoencoderKLMagvit": run_vae,
    "EasyAnimatePipeline": run_pixart_pipeline,
    "EasyAnimateInpaintPipeline": run_pixart_pipeline,
    "EasyAnimatePipeline_Multi_Text_Encoder": run_pipeline,
    "EasyAnimatePipeline_Multi_Text_Encoder_Inpaint": run_pipeline,
    "LoRANetwork / merge_lora": run_lora,
    "merge_lora": run_older_lora,
    "SpacedDiffusion.training_losses": run_variational_loss,
    "training step": run_training_step,
    "training inputs": run_training_inputs,
}
"""By the original's class name, as the files give it."""


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Args:
        name: Of the case, below the folder.
        state: "pass", "FAIL", "ERROR", "no runner", or "weights" for a file that only holds weights of others.
        worst: The comparison nearest to or furthest beyond its tolerance.
        note: What else there is to say.
        seconds: Time taken.
    """

    name: str
    state: str
    worst: Comparison | None = None
    note: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the numbers are wrong or could not be had."""
        return self.state in {"FAIL", "ERROR"}


def run_case(path: Path, folder: Path) -> Result:
    """Run one file."""
    case = GoldenCase(path)
    name = path.relative_to(folder).with_suffix("").as_posix()
    if all(tensor.startswith("weights/") for tensor in case.names()):
        return Result(name, "weights", note="no case of its own")
    if case.class_name not in RUNNERS:
        return Result(name, "no runner", note=case.class_name)
    start = time.perf_counter()
    try:
        comparisons = RUNNERS[case.class_name](case)
    except Exception as error:  # noqa: BLE001 (the table goes on)
        traceback.print_exc()
        return Result(name, "ERROR", note=f"{type(error).__name__}: {error}".splitlines()[0])
    worst = max(comparisons, key=lambda item: item.difference / max(item.tolerance, 1e-12))
    failed = [item.name for item in comparisons if not item.passed]
    note = f"{len(failed)} of {len(comparisons)}: {', '.join(failed[:3])}" if failed else f"{len(comparisons)} outputs"
    return Result(name, "FAIL" if failed else "pass", worst, note, time.perf_counter() - start)


def run_folder(folder: Path) -> Iterator[Result]:
    """Run every golden file under a folder, or one file."""
    if folder.is_file():
        yield run_case(folder, folder.parent)
        return
    for path in sorted(folder.rglob("*.safetensors")):
        yield run_case(path, folder)


def format_row(result: Result) -> str:
    """A line of the table."""
    worst = result.worst
    numbers = f"{worst.difference:>10.2e} {worst.tolerance:>9.0e}" if worst else " " * 20
    where = f"; worst: {worst.name}" if worst else ""
    return f"{result.name:<48} {numbers}  {result.state:<9} {result.seconds:>5.1f} s  {result.note}{where}"


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a case failed, 2 when there was none."""
    torch.manual_seed(0)
    results: list[Result] = []
    print(f"{'case':<48} {'difference':>10} {'tolerance':>9}  {'result':<9} {'time':>7}  outputs")  # noqa: T201
    for folder in [Path(argument) for argument in arguments] or [DEFAULT_FOLDER]:
        for result in run_folder(folder):
            results.append(result)
            print(format_row(result), flush=True)  # noqa: T201
    states = sorted({result.state for result in results})
    counts = ", ".join(f"{sum(result.state == state for result in results)} {state}" for state in states)
    print(counts or "no golden files found")  # noqa: T201
    if not results:
        return 2
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
