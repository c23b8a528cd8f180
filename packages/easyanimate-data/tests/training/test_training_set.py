import json

import numpy as np
import pytest
from easyanimate_core import MediaError, RequestError, Video
from easyanimate_core.shapes import PixelShape
from easyanimate_core.video import write_image, write_video
from easyanimate_data.training.sampler import Batch, BatchSampler
from easyanimate_data.training.size_rule import SizeRule
from easyanimate_data.training.training_set import TrainingSet

RULE = SizeRule(video_size=64, image_size=96, num_frames=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three videos of 40 frames, whose brightness counts the frames, and two images."""
    folder = tmp_path_factory.mktemp("training set")
    rows = []
    for number, (height, width) in enumerate([(64, 64), (72, 128), (64, 64)]):
        frames = np.empty((40, height, width, 3), np.uint8)
        frames[:] = (20 + 5 * np.arange(40, dtype=np.uint8))[:, None, None, None]
        write_video(folder / f"{number}.mp4", Video(frames, 8))
        rows.append({"file_path": f"{number}.mp4", "text": f"video {number}", "type": "video"})
    for number in range(2):
        write_image(folder / f"{number}.png", np.full((128, 128, 3), 100 + number, np.uint8))
        rows.append({"file_path": f"{number}.png", "text": f"image {number}"})
    write_rows(folder, rows)
    return folder


def write_rows(folder, rows):
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")


def read_rows(folder):
    return json.loads((folder / "data.json").read_text(encoding="utf-8"))


def plan(*indices, kind="video", shape=(16, 64, 64), epoch=0):
    return Batch(epoch=epoch, number=0, indices=indices, kind=kind, shape=PixelShape(*shape), chunk_frames=8)


def numbers(frames):
    """Which frames of their videos these are."""
    return np.round((frames.mean(axis=(2, 3, 4)) - 20) / 5).astype(int)


def test_batches_of_a_sampler(folder):
    training_set = TrainingSet(folder / "data.json")
    assert training_set.kinds == ("image", "image", "video", "video", "video")
    batches = list(BatchSampler(items=training_set, rule=RULE, batch_size=2))
    read = [training_set[batch] for batch in batches]
    shapes = {batch.indices: item["frames"].shape for batch, item in zip(batches, read, strict=True)}
    assert {tuple(sorted(indices)): shape for indices, shape in shapes.items()} == {
        (0, 1): (2, 1, 96, 96, 3),
        (2, 4): (2, 16, 64, 64, 3),
        (3,): (1, 16, 48, 80, 3),
    }
    texts = sorted(text for item in read for text in item["text"])
    assert texts == ["image 0", "image 1", "video 0", "video 1", "video 2"]
    assert all(item["frames"].dtype == np.uint8 and "mask" not in item for item in read)
    assert not training_set.bad


def test_frames_are_consecutive_and_away_from_the_ends(folder):
    training_set = TrainingSet(folder / "data.json")
    starts = set()
    for epoch in range(30):
        (places,) = numbers(training_set[plan(2, epoch=epoch)]["frames"])
        assert (np.diff(places) == 1).all()
        starts.add(int(places[0]))
    assert starts <= set(range(3, 21))
    assert len(starts) > 8


def test_stride(folder):
    (places,) = numbers(TrainingSet(folder / "data.json", stride=2)[plan(2)]["frames"])
    assert (np.diff(places) == 2).all()


def test_an_item_depends_on_seed_epoch_and_index_alone(folder):
    def read(seed, epoch, indices, at):
        batch = TrainingSet(folder / "data.json", seed=seed, empty_text_share=0.5, mask_rule="v4")[
            plan(*indices, epoch=epoch)
        ]
        return batch["frames"][at].tobytes(), batch["text"][at], batch["mask"][at].tobytes()

    assert read(1, 5, (2, 3, 4), 1) == read(1, 5, (3,), 0) == read(1, 5, (4, 3), 1)
    others = [read(1, 5, (3,), 0), read(2, 5, (3,), 0), read(1, 6, (3,), 0), read(5, 1, (3,), 0)]
    assert len(set(others)) == 4


def test_clips_are_cut_to_the_shortest_by_chunks(folder, tmp_path):
    write_video(tmp_path / "short.mp4", Video(np.zeros((16, 64, 64, 3), np.uint8), 8))
    rows = [{"file_path": str(folder / "0.mp4"), "text": "", "type": "video"}]
    write_rows(tmp_path, [*rows, {"file_path": "short.mp4", "text": "", "type": "video"}])
    training_set = TrainingSet(tmp_path / "data.json")
    assert training_set[plan(0, 1)]["frames"].shape[1] == 8  # 0.8 of 16, in chunks of 8
    assert training_set[plan(0)]["frames"].shape[1] == 16


def test_captions_are_dropped_by_share(folder):
    batches = [plan(0, 1, kind="image", shape=(1, 16, 16), epoch=epoch) for epoch in range(100)]
    training_set = TrainingSet(folder / "data.json", empty_text_share=0.3)
    texts = [text for batch in batches for text in training_set[batch]["text"]]
    assert texts.count("") / 200 == pytest.approx(0.3, abs=0.1)


def test_masks(folder):
    training_set = TrainingSet(folder / "data.json", mask_rule="v4")
    masks = [training_set[plan(2, 4, epoch=epoch)]["mask"] for epoch in range(12)]
    assert {mask.shape for mask in masks} == {(2, 16, 64, 64)}
    assert len({mask.tobytes() for mask in masks}) > 8
    image = training_set[plan(0, kind="image", shape=(1, 32, 32))]["mask"]
    assert image.shape == (1, 1, 32, 32)


def test_videos_are_repeated_from_other_places(folder):
    training_set = TrainingSet(folder / "data.json", video_repeat=3)
    assert len(training_set) == 2 + 9
    same = [index for index, entry in enumerate(training_set.entries) if entry.path.name == "0.mp4"]
    assert len(same) == 3
    assert len({int(numbers(training_set[plan(index)]["frames"])[0, 0]) for index in same}) > 1


def test_repeating_videos_never_is_for_compat(folder):
    with pytest.raises(RequestError, match="video_repeat 0"):
        TrainingSet(folder / "data.json", video_repeat=0)
    assert TrainingSet(folder / "data.json", video_repeat=0, compat=True).kinds == ("image", "image")


def test_compat_may_leave_nothing(folder, tmp_path):
    write_rows(tmp_path, [{"file_path": str(folder / "0.mp4"), "text": "", "type": "video"}])
    with pytest.raises(RequestError, match="no images"):
        TrainingSet(tmp_path / "data.json", video_repeat=0, compat=True)


@pytest.fixture
def damaged(folder, tmp_path):
    """The rows of `folder` and a video that is none."""
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    rows = [{**row, "file_path": str(folder / row["file_path"])} for row in read_rows(folder)]
    write_rows(tmp_path, [*rows, {"file_path": "bad.mp4", "text": "bad", "type": "video"}])
    return tmp_path / "data.json"


def test_a_bad_sample_is_replaced_by_one_of_its_kind(damaged):
    training_set = TrainingSet(damaged)
    batch = training_set[plan(2, 5)]
    assert batch["frames"].shape == (2, 16, 64, 64, 3)
    assert batch["text"][1] in {"video 0", "video 1", "video 2"}
    (line,) = batch["bad"]
    assert "bad.mp4" in line
    assert training_set.bad == [line]
    again = TrainingSet(damaged)[plan(5)]
    np.testing.assert_array_equal(again["frames"][0], batch["frames"][1])
    replacements = {TrainingSet(damaged)[plan(5, epoch=epoch)]["text"][0] for epoch in range(12)}
    assert replacements == {"video 0", "video 1", "video 2"}


def test_a_bad_sample_still_has_a_place_in_the_batches(damaged):
    training_set = TrainingSet(damaged)
    indices = [index for batch in BatchSampler(items=training_set, rule=RULE) for index in batch.indices]
    assert sorted(indices) == list(range(6))


def test_where_nothing_can_be_read_the_file_is_named(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    write_rows(tmp_path, [{"file_path": "bad.mp4", "text": "", "type": "video"}])
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        TrainingSet(tmp_path / "data.json")[plan(0)]


def test_decord_reads_the_same(folder):
    pytest.importorskip("decord")
    batches = [TrainingSet(folder / "data.json", reader=reader)[plan(2, 3)] for reader in ("pyav", "decord")]
    np.testing.assert_allclose(batches[0]["frames"].astype(int), batches[1]["frames"], atol=3)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_loader_of_torch_reads_what_is_left(folder, num_workers):
    data = pytest.importorskip("torch.utils.data")
    training_set = TrainingSet(folder / "data.json", mask_rule="v3")
    sampler = BatchSampler(items=training_set, rule=RULE)
    whole = [training_set[batch] for batch in sampler]
    loader = data.DataLoader(
        training_set,
        sampler=sampler.at(epoch=0, start=2),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=lambda batch: batch,
        multiprocessing_context="fork" if num_workers else None,
    )
    read = list(loader)
    assert len(read) == len(whole) - 2
    for batch, expected in zip(read, whole[2:], strict=True):
        assert batch["text"] == expected["text"]
        np.testing.assert_array_equal(batch["frames"], expected["frames"])
        np.testing.assert_array_equal(batch["mask"], expected["mask"])
