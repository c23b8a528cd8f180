"""Writes captions with a vision language model of Hugging Face, and rewrites them with any language model.

Axes: B clips, T frames, H height, W width, V tokens known.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (read_options reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

from easyanimate_core.errors import MediaError, RequestError, WeightsError
from easyanimate_core.number_range import NOT_NEGATIVE, Range

from easyanimate_data.preparation.captioner.answer import MOST_TOKENS, cut_off, drop_thoughts
from easyanimate_data.preparation.network import load_whole, loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from easyanimate_data.frames import Frames

CAPTION_MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"

ASSUMED_RATE = 2.0
"""Frames per second that models for video are told; a captioner gets frames without their times."""


def load(  # noqa: PLR0913 (keyword-only)
    *,
    model: str | Path = CAPTION_MODEL,
    device: str | None = None,
    dtype: str = "bfloat16",
    max_tokens: Annotated[int, Range(1)] = 1024,
    temperature: Annotated[float, NOT_NEGATIVE] = 1.0,
    top_p: Annotated[float, Range(above=0, most=1)] = 1.0,
    seed: int = 1,
) -> TransformersCaptioner:
    """Load a model that writes.

    Args:
        model: Folder or Hugging Face id of a model that reads images or videos, or, to rewrite, of a language model;
            its chat template is needed.
        device: Name of the device; None takes the best there is.
        dtype: Number format of the model: "bfloat16", "float16" or "float32".
        max_tokens: Length of an answer at the most; one that is cut off is asked for again with up to 8 times this.
        temperature: 0 takes the likeliest word each time.
        top_p: Share of the likeliest words that are drawn from, above 0, at most 1.
        seed: The same seed, instruction and frames give the same answer, up to rounding whatever they are batched with.

    Raises:
        PluginError: When torch or transformers is not installed.
        WeightsError: When the model cannot be loaded or is none of these.
    """
    if temperature < 0 or not 0 < top_p <= 1 or max_tokens < 1:
        raise RequestError(
            "temperature must be at least 0, top_p above 0 and at most 1, and max_tokens at least 1.",
            received=f"temperature {temperature}, top_p {top_p}, max_tokens {max_tokens}",
        )
    with loading(model, expected="a Hugging Face id or a folder of a model that follows instructions", extra="caption"):
        import transformers
        from easyanimate_torch.device import choose_device
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

        kind = transformers.AutoConfig.from_pretrained(model).model_type
        reads_frames = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        network_class = transformers.AutoModelForImageTextToText if reads_frames else transformers.AutoModelForCausalLM
        processor_class = transformers.AutoProcessor if reads_frames else transformers.AutoTokenizer
        processor: Any = processor_class.from_pretrained(model)
        if not processor.chat_template:
            raise WeightsError(
                "The model has no chat template, so it cannot follow instructions.",
                received=model,
                expected="a model trained to follow instructions",
            )
        network = load_whole(network_class, model, dtype, choose_device(device))
    tokenizer = processor.tokenizer if reads_frames else processor
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    network.generation_config.update(
        do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, pad_token_id=tokenizer.pad_token_id
    )
    return TransformersCaptioner(network, processor, reads_frames, max_tokens, temperature, top_p, seed)


@dataclass(frozen=True)
class TransformersCaptioner:
    """A loaded model; `load` explains the parameters."""

    network: Any
    processor: Any
    reads_frames: bool
    max_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __call__(self, instructions: Sequence[str], clips: Sequence[Frames | None]) -> list[str | MediaError]:
        """Answer each instruction; a clip that the model cannot take gives an error in its stead.

        Raises:
            RequestError: When there are frames and the model reads none.
        """
        if not self.reads_frames and any(clip is not None for clip in clips):
            raise RequestError(
                "The model cannot read frames.",
                received=self.network.name_or_path,
                expected=f"a model for images or videos, such as {CAPTION_MODEL}",
            )
        answers: dict[int, str | MediaError] = {}
        for seeing in (True, False):
            indices = [index for index, clip in enumerate(clips) if (clip is not None) is seeing]
            if indices:
                answered = self._answer([instructions[i] for i in indices], [clips[i] for i in indices])
                answers.update(zip(indices, answered, strict=True))
        return [answers[index] for index in range(len(clips))]

    def _answer(self, instructions: Sequence[str], clips: Sequence[Frames | None]) -> list[str | MediaError]:
        """Together; where that fails, one by one, so that a clip too small, or memory, costs only what it must."""
        try:
            return self._complete(instructions, clips, self.max_tokens)
        except (ValueError, RuntimeError) as error:
            if len(clips) == 1:
                shape = None if clips[0] is None else list(clips[0].shape)
                line = next(iter(str(error).strip().splitlines()), "")
                return [
                    MediaError("The model failed on this clip.", received=f"{shape} ({type(error).__name__}: {line})")
                ]
            alone = zip(instructions, clips, strict=True)
            return [self._answer([instruction], [clip])[0] for instruction, clip in alone]

    def _complete(
        self, instructions: Sequence[str], clips: Sequence[Frames | None], max_tokens: int
    ) -> list[str | MediaError]:
        """The answers without their thoughts; what is cut off is asked for again with twice the tokens."""
        answers: list[str | MediaError] = []
        written = self._generate(instructions, clips, max_tokens)
        for instruction, clip, (text, whole) in zip(instructions, clips, written, strict=True):
            if whole:
                answers.append(drop_thoughts(text))
            elif max_tokens < MOST_TOKENS * self.max_tokens:
                answers += self._complete([instruction], [clip], 2 * max_tokens)
            else:
                answers.append(cut_off(text, max_tokens))
        return answers

    def _generate(
        self, instructions: Sequence[str], clips: Sequence[Frames | None], max_tokens: int
    ) -> list[tuple[str, bool]]:
        """What the model writes to each, and whether it came to an end."""
        import torch

        inputs = self._inputs(instructions, clips).to(self.network.device)
        for name in [name for name in inputs if name.startswith("pixel_values")]:
            inputs[name] = inputs[name].to(self.network.dtype)
        draw = []
        if self.temperature:
            seeds = [self._row_seed(*row) for row in zip(instructions, clips, strict=True)]
            draw = [_Draw(seeds, self.temperature, self.top_p, self.network.device)]
        with torch.inference_mode():
            tokens = self.network.generate(**inputs, max_new_tokens=max_tokens, logits_processor=draw)
        written = tokens[:, inputs["input_ids"].shape[1] :]
        answers = self.processor.batch_decode(written, skip_special_tokens=True)
        ends = self.network.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list | tuple) else [ends])
        whole = [written.shape[1] < max_tokens or bool(ends & set(row)) for row in written.tolist()]
        return list(zip(answers, whole, strict=True))

    def _inputs(self, instructions: Sequence[str], clips: Sequence[Frames | None]) -> Any:
        """Tokens [B, L] and pixels, as the model wants them; clips are all frames or all None."""
        how: dict[str, Any] = {
            "add_generation_prompt": True,
            "tokenize": True,
            "return_dict": True,
            "return_tensors": "pt",
        }
        if not self.reads_frames:
            chats: list[Any] = [[{"role": "user", "content": text}] for text in instructions]
            return self.processor.apply_chat_template(chats, padding=True, **how)
        as_video = getattr(self.processor, "video_processor", None) is not None
        chats = [
            [{"role": "user", "content": [*_seen(clip, as_video=as_video), {"type": "text", "text": text}]}]
            for text, clip in zip(instructions, clips, strict=True)
        ]
        details: dict[str, Any] = {"padding": True}
        if as_video and clips[0] is not None:
            details |= {"do_sample_frames": False, "video_metadata": [_metadata(clip) for clip in clips]}
        return self.processor.apply_chat_template(chats, processor_kwargs=details, **how)

    def _row_seed(self, instruction: str, clip: Frames | None) -> int:
        content = zlib.crc32(instruction.encode())
        return self.seed + (content if clip is None else zlib.crc32(clip.tobytes(), content))


class _Draw:
    """Draws the next word of each row from noise of its own, so that an answer does not depend on the batch.

    The largest of score + Gumbel noise is a draw from the softmax of the scores: greedy search then samples.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float, device: torch.device) -> None:
        import torch
        from transformers import TopPLogitsWarper

        self.noise = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.temperature = temperature
        self.keep_likely: Any = TopPLogitsWarper(top_p) if top_p < 1 else None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [B, V] with temperature, `top_p` and noise."""
        import torch

        scores = scores.float() / self.temperature
        if self.keep_likely:
            scores = self.keep_likely(input_ids, scores)
        return (
            scores
            - torch.stack(
                [
                    torch.empty_like(row).exponential_(generator=noise)
                    for row, noise in zip(scores, self.noise, strict=True)
                ]
            ).log()
        )


def _seen(clip: Frames | None, *, as_video: bool) -> list[dict[str, Any]]:
    import numpy as np
    from PIL import Image

    if clip is None:
        return []
    if as_video:
        return [{"type": "video", "video": np.ascontiguousarray(clip)}]
    return [{"type": "image", "image": Image.fromarray(frame)} for frame in clip]


def _metadata(clip: Frames | None) -> Any:
    from transformers.video_utils import VideoMetadata

    count = 0 if clip is None else len(clip)
    return VideoMetadata(total_num_frames=count, fps=ASSUMED_RATE, frames_indices=list(range(count)))
