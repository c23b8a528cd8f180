"""Hostile files end as a mistake on one screen or do no harm: never a bug, never a hang, never all memory."""

import json
import os
import random
import shutil
import struct
import sys
import tarfile
from pathlib import Path

import easyanimate_demo
import pytest
from hostile import VALUES, Commands, spoil_bytes, spoil_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes and limits their memory")
WEIGHTS = Path(easyanimate_demo.__file__).parent / "weights" / "v4"
FEW, MANY = range(6), range(6, 30)
SLOW = pytest.mark.slow  # hundreds of loads take minutes

FITTING = {
    "dtype": ["I8", "F8_E4M3", "F4", "I32", "C64"],
    "shape": [[10**12], [-1], [0]],
    "data_offsets": [[0, 4], [4, 0], [-4, 0], [0, 10**15]],
}
"""What belongs in the fields of a header by its kind, but not there."""
VOCABULARY = "tokenizer/vocab.txt"
ENDS = ("lora_A.weight", "lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w2", "dora_scale", "diff", "diff_b", "alpha")
MODULES = ("proj_out", "blocks.0.attn1.to_q", "x" * 500, "\x1b[2J", "lora_te_x", "base_model.model." * 50)
MEMBERS = ("V4/x", "../x", "/x", "V4/../../x", "V4/" + "x" * 300, "V4/vae", "V4/\x1b[31m")
KINDS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


@pytest.fixture(scope="module")
def commands():
    with Commands() as started:
        yield started


@pytest.fixture
def folder(tmp_path):
    """A copy of the demo weights whose files are replaced, not written to: they are links."""
    shutil.copytree(WEIGHTS, tmp_path / "weights", copy_function=os.link)
    return tmp_path


def make_random(kind, seed):
    return random.Random(f"{kind} {seed}")  # noqa: S311 (cases that come again)


def replace(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def load(commands, folder, *loras, case):
    before = sorted(path for path in folder.rglob("*") if path.name != ".said")
    outcome = commands.run(["load", "v4", "weights", *loras], folder)
    outcome.check(case)
    assert sorted(folder.rglob("*")) == before
    if outcome.code == 0:  # what loads is called whole; the reverse is for the tests of loading
        assert commands.run(["weights", "verify", "v4", "weights"], folder).code == 0, case
    return outcome


def split_header(path):
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def join_header(text, tensors):
    text = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + tensors


def with_seeds(*names):
    def mark(test):
        cases = [*((name, seed) for name in names for seed in FEW), *((name, seed) for name in names for seed in MANY)]
        few = len(names) * len(FEW)
        marked = [pytest.param(*case, marks=() if i < few else SLOW) for i, case in enumerate(cases)]
        return pytest.mark.parametrize(("kind", "seed"), marked)(test)

    return mark


def test_whole_weights_load_and_spoilt_ones_are_told_from_them(commands, folder):
    assert load(commands, folder, case="").code == 0
    replace(folder / "weights" / "transformer" / "config.json", "{")
    assert load(commands, folder, case="").code == 2
    assert commands.run(["weights", "verify", "v4", "weights"], folder).code == 2


@with_seeds("config")
def test_configurations(commands, folder, kind, seed):
    rng = make_random(kind, seed)
    path = rng.choice(sorted((folder / "weights").rglob("*.json")))
    spoilt = spoil_json(rng, json.loads(path.read_text(encoding="utf-8")))
    replace(path, spoilt)
    load(commands, folder, case=f"{path}: {spoilt[:3000]}")


@with_seeds("header")
def test_headers(commands, folder, kind, seed):
    rng = make_random(kind, seed)
    path = rng.choice(sorted((folder / "weights").rglob("*.safetensors")))
    header, tensors = split_header(path)
    deed = rng.randrange(4)
    if deed == 0:
        content = spoil_bytes(rng, path.read_bytes(), 8 + len(json.dumps(header)))
    elif deed == 1:
        content = join_header(spoil_json(rng, header), tensors)
    else:
        for name in rng.sample(sorted(set(header) - {"__metadata__"}), 2):
            field = rng.choice(["dtype", "shape", "data_offsets"])
            header[name][field] = rng.choice([*FITTING[field], *VALUES])
        content = join_header(json.dumps(header), tensors)
    replace(path, content)
    load(commands, folder, case=f"{path}: {json.dumps(header)[:500]}")


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "endless", "empty", "pointer"])
@pytest.mark.parametrize(
    "name", ["transformer/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/vocab.txt"]
)
def test_what_is_no_file(commands, folder, kind, name):
    path = folder / "weights" / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("loop", "endless"):
        path.symlink_to(path.name if kind == "loop" else "/dev/zero")
    else:
        path.write_text("version https://git-lfs.github.com/spec/v1\n" if kind == "pointer" else "")
    # Any text is a vocabulary of its lines.
    assert load(commands, folder, case=f"{kind} {name}").code == (0 if (kind, name) == ("pointer", VOCABULARY) else 2)


@with_seeds("lora")
def test_lora_files(commands, folder, kind, seed):
    import torch
    from safetensors.torch import save

    rng = make_random(kind, seed)
    torch.manual_seed(seed)
    dtypes = [torch.float32] * 5 + [torch.int8, torch.float16, torch.float8_e4m3fn, torch.bool]
    down, up = torch.randn(2, 128), torch.randn(32, 2)
    tensors = {"transformer.proj_out.lora_A.weight": down, "transformer.proj_out.lora_B.weight": up}
    for _ in range(rng.choice([0, 1, 2])):
        name = rng.choice(MODULES)
        shape = rng.choice([(2, 128), (32, 2), (0, 2), (2,), (), (2, 2, 1, 1), (1, 1, 1, 1, 1)])
        value = torch.full(shape, rng.choice([0.0, 1.0, float("nan"), float("inf"), 1e38]))
        tensors[f"transformer.{name}.{rng.choice(ENDS)}"] = value.to(rng.choice(dtypes))
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "alpha_pattern": {"proj_out": 4}, "use_rslora": False}
    lora = folder / "lora"
    lora.mkdir()
    content = save(tensors, {"lora_adapter_metadata": spoil_json(rng, config)} if rng.random() < 0.5 else None)
    replace(lora / "adapter_model.safetensors", spoil_bytes(rng, content, 300) if rng.random() < 0.3 else content)
    if rng.random() < 0.5:
        replace(lora / "adapter_config.json", spoil_json(rng, config))
    load(commands, folder, "lora", case=f"{list(tensors)}")


@with_seeds("archive")
def test_archives(commands, folder, kind, seed):
    rng = make_random(kind, seed)
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / "weights" / "vae" / "config.json", "V4/vae/config.json")
        for _ in range(3):
            info = tarfile.TarInfo(rng.choice(MEMBERS))
            info.type = rng.choice(KINDS)
            info.linkname = rng.choice(["/etc/passwd", "../../x", "x", ""])
            tar.addfile(info)
    if rng.random() < 0.6:
        replace(folder / "a.tar", spoil_bytes(rng, (folder / "a.tar").read_bytes()))
    before = sorted(folder.rglob("*"))
    outcome = commands.run(["weights", "pull", "v4", "official", "--from", "a.tar"], folder)
    outcome.check(f"seed {seed}")
    assert outcome.code == 2
    assert sorted(folder.rglob("*")) == before
