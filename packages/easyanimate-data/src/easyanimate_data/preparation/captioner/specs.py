"""The captioners that this package offers. Imports nothing heavy."""

from __future__ import annotations

from easyanimate_core.preparation import CaptionerSpec

from easyanimate_data.preparation.captioner import openai_captioner, transformers_captioner

CAPTIONERS = (
    CaptionerSpec(
        key="transformers",
        summary="A model from Hugging Face, on this machine.",
        load=transformers_captioner.load,
    ),
    CaptionerSpec(
        key="openai",
        summary="A server that speaks OpenAI's protocol, such as vLLM, SGLang or Ollama.",
        load=openai_captioner.load,
    ),
)

REWRITE_OPTIONS = {
    "transformers": {"model": transformers_captioner.REWRITE_MODEL, "temperature": 0.7},
    "openai": {"temperature": 0.7},
}
"""What rewriting takes where the user says nothing, by captioner; the original's."""
