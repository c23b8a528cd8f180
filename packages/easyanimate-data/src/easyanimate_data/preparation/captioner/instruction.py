"""The instructions that models are given: captions, rewritten captions, richer prompts."""

from __future__ import annotations

ANSWER_KEY = "rewritten description"
"""Name of the one entry in the JSON that rewriting asks for; that of the original."""

PLACEHOLDER = "the new text"
"""Stands for the text where the form of the answer is shown; some models send it back."""

_FORM = f'Answer with JSON of this form and nothing else: {{"{ANSWER_KEY}": "{PLACEHOLDER}"}}'

CAPTION_INSTRUCTION = (
    "Write a detailed description of this video. Cover what can be seen (people, animals and things, how they look "
    "and where they are, the surroundings, colours, light and style, the camera's view and its motion) as well as the "
    "story it tells: what happens, in which order, and the mood. Only describe what is there. One paragraph, no "
    "introduction."
)
"""Asked about frames of a clip."""

REWRITE_INSTRUCTION = (
    "The text below describes a video. Rewrite it as a fluent, direct description that could itself be used to "
    "make the video: start with the subject, keep every visible fact, action and camera motion, drop phrases such as "
    '"the video shows", doubts, interpretation and anything not to be seen. Invent nothing. ' + _FORM
)
"""Asked about a caption before it becomes a training text."""

ENHANCE_INSTRUCTION = (
    "The text below is a short request for a video. Write the full description of such a video in the language of the "
    "request: keep all that is asked for, and add fitting details of subject, action, surroundings, light, style and "
    "camera, in one paragraph of at most 150 words. " + _FORM
)
"""Asked about a user's prompt before a video is generated from it."""


def ask_about(instruction: str, text: str) -> str:
    """The instruction, followed by the text that it speaks of."""
    return f"{instruction}\n\n{text}"
