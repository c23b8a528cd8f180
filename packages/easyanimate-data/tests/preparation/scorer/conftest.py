import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "red", "blue", "ball", "box", "rolls", "falls"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_tokenizer(folder, longest):
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    named = {"pad_token": "<pad>", "bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=longest, **named).save_pretrained(
        folder
    )


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(1)
    text = TOWER | {"vocab_size": len(WORDS), "max_position_embeddings": 12, "pad_token_id": 0}
    text |= {"bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION | {"projection_dim": 24}, projection_dim=24)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    save_tokenizer(folder, 12)
    return folder


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(2)
    text = TOWER | {"vocab_size": len(WORDS), "max_position_embeddings": 8, "pad_token_id": 0}
    text |= {"bos_token_id": 1, "eos_token_id": 2}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    transformers.SiglipModel(config).save_pretrained(folder)
    transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder, 10**30)
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(3)
    transformers.Dinov2Model(transformers.Dinov2Config(**VISION)).save_pretrained(folder)
    transformers.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture
def clips():
    """Two clips of different size and length."""
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in [(4, 40, 64, 3), (3, 48, 36, 3)]]
