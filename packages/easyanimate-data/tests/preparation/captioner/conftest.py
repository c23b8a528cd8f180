import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
WORDS = ["describe", "this", "clip", "rewrite", "a", "red", "blue", "ball", "box", "rolls", "falls", "user", ":"]
WORDS += [f"word{number}" for number in range(11)]
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZE |= {"num_key_value_heads": 2, "vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 4096}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

# As the official templates: a marker for each frame or video, the text, and the start of the answer.
TEMPLATE = (
    "{% for message in messages %}user : {% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}VIDEO"
    "{% else %}{{ part['text'] }}{% endif %} {% endfor %}{% endif %}{% endfor %}"
)
VISION = "<|vision_start|>{}<|vision_end|>"


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, additional_special_tokens=SPECIAL[4:], chat_template=TEMPLATE, **named
    )


@pytest.fixture(scope="session")
def llm_folder(tmp_path_factory):
    """A language model, Qwen2."""
    folder = tmp_path_factory.mktemp("llm")
    torch.manual_seed(1)
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZE, **ENDS)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory):
    """A model for videos, Qwen2.5-VL."""
    folder = tmp_path_factory.mktemp("video")
    torch.manual_seed(2)
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=SIZE | ENDS | {"rope_parameters": rope},
        vision_config=vision,
        vision_start_token_id=4,
        vision_end_token_id=5,
        image_token_id=6,
        video_token_id=7,
    )
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    pixels = {"min_pixels": 28 * 28, "max_pixels": 56 * 56}
    template = TEMPLATE.replace("IMAGE", VISION.format("<|image_pad|>")).replace(
        "VIDEO", VISION.format("<|video_pad|>")
    )
    transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(**pixels),
        make_tokenizer(),
        transformers.Qwen2VLVideoProcessor(**pixels),
        chat_template=template,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A model for images, LLaVA."""
    folder = tmp_path_factory.mktemp("image")
    torch.manual_seed(3)
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision, image_size=32, patch_size=16),
        text_config=transformers.LlamaConfig(**SIZE, **ENDS),
        image_token_index=6,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
        make_tokenizer(),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<|image_pad|>",  # noqa: S106 (a word, no secret)
        chat_template=TEMPLATE.replace("IMAGE", "<|image_pad|>"),
    ).save_pretrained(folder)
    return folder
