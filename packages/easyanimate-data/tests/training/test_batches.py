import json
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from easyanimate_core import MediaError, Video
from easyanimate_core.dataset import BatchRule
from easyanimate_core.shapes import PixelShape
from easyanimate_core.video import write_video
from easyanimate_data.training import batches as module
from easyanimate_data.training.entry import read_entries
from easyanimate_data.training.plan import Batch
from easyanimate_data.training.training_set import TrainingSet

SIZES = {"video_size": 64, "image_size": 96, "num_frames": 16, "chunk_frames": 8}


def write(folder, rows):
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder / "data.json"


def open_batches(folder, *, seed=0, reader="pyav", **options):
    """Items of a list: images come first, then videos."""
    return TrainingSet(folder / "data.json", reader=reader).batched(BatchRule(**{**SIZES, **options}), seed=seed)


@pytest.fixture
def folder(clips):
    return clips[0]


def choose(*indices, kind="video", shape=(16, 64, 64), variant=0):
    return Batch(variant=variant, number=0, indices=indices, kind=kind, shape=PixelShape(*shape))


def load(batches, batch, rows=None):
    return batches.load(batch, range(len(batch.indices)) if rows is None else rows)


def read_numbers(frames):
    """Which frames of their videos these are."""
    return np.round((frames.mean(axis=(2, 3, 4)) - 20) / 5).astype(int)


def check_equal(batch, expected):
    assert batch.keys() == expected.keys()
    for name, value in batch.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_batches_of_an_epoch(folder):
    batches = open_batches(folder, batch_size=2)
    plan = batches.plan(0)
    read = [load(batches, batch) for batch in plan]
    shapes = {tuple(sorted(batch.indices)): item["frames"].shape for batch, item in zip(plan, read, strict=True)}
    assert shapes == {(0, 1): (2, 1, 96, 96, 3), (2, 4): (2, 16, 64, 64, 3), (3,): (1, 16, 48, 80, 3)}
    texts = sorted(text for item in read for text in item["text"])
    assert texts == ["image 0", "image 1", "video 0", "video 1", "video 2"]
    assert all(item["frames"].dtype == np.uint8 and "mask" not in item for item in read)
    assert not batches.bad


@pytest.mark.parametrize("random", [{}, {"random_size": True, "random_ratio": True, "random_frames": True}])
def test_processes_that_share_a_batch_read_the_same(folder, random):
    options = {"batch_size": 3, "mask_rule": "v4", "buckets": False, **random}
    for batch in open_batches(folder, **options).plan(1):
        whole = load(open_batches(folder, **options), batch)
        for rank in range(2):
            rows = range(rank, len(batch.indices), 2)
            expected = {
                "frames": whole["frames"][rank::2],
                "mask": whole["mask"][rank::2],
                "text": whole["text"][rank::2],
                "bad": [],
            }
            if rows:
                check_equal(load(open_batches(folder, **options), batch, rows), expected)


def test_other_rows_count_though_they_are_not_read(folder, tmp_path, monkeypatch):
    write_video(tmp_path / "short.mp4", Video(np.zeros((16, 64, 64, 3), np.uint8), 8))
    rows = [{"file_path": str(folder / "0.mp4"), "text": "", "type": "video"}]
    write(tmp_path, [*rows, {"file_path": "short.mp4", "text": "", "type": "video"}])
    batches = open_batches(tmp_path)
    looked_at, read = spy(monkeypatch, "read_timeline"), spy(monkeypatch, "read_covering")
    for _ in range(2):
        assert load(batches, choose(0, 1), [0])["frames"].shape[1] == 8  # 0.8 of 16, in chunks of 8
    assert looked_at == ["0.mp4", "short.mp4"]
    assert read == ["0.mp4", "0.mp4"]
    assert load(batches, choose(0))["frames"].shape[1] == 16


def spy(monkeypatch, name):
    """Names of the files that a function is called with from now on."""
    called, function = [], getattr(module, name)

    def call(path, *rest, **more):
        called.append(path.name)
        return function(path, *rest, **more)

    monkeypatch.setattr(module, name, call)
    return called


def test_frames_are_consecutive_and_away_from_the_ends(folder):
    batches = open_batches(folder)
    starts = set()
    for variant in range(30):
        (places,) = read_numbers(load(batches, choose(2, variant=variant))["frames"])
        assert (np.diff(places) == 1).all()
        starts.add(int(places[0]))
    assert starts <= set(range(3, 21))
    assert len(starts) > 8


def test_stride(folder):
    (places,) = read_numbers(load(open_batches(folder, stride=2), choose(2))["frames"])
    assert (np.diff(places) == 2).all()


def test_an_item_depends_on_seed_epoch_and_row_alone(folder):
    def read(seed, variant, indices, at):
        batches = open_batches(folder, seed=seed, mask_rule="v4", empty_text_share=0.5)
        batch = choose(*indices, variant=variant)
        item, row = load(batches, batch), batches.describe(batch)[at]
        return item["frames"][at].tobytes(), item["text"][at], item["mask"][at].tobytes(), row

    assert read(1, 5, (2, 3, 4), 1) == read(1, 5, (3,), 0) == read(1, 5, (4, 3), 1)
    others = [read(1, 5, (3,), 0), read(2, 5, (3,), 0), read(1, 6, (3,), 0), read(5, 1, (3,), 0)]
    assert len(set(others)) == 4


def test_rows_that_are_left_out_change_nothing_for_others(folder, tmp_path):
    rows = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    write(tmp_path, [rows[0], {"text": "wrong"}, rows[1]])
    first = open_batches(tmp_path)
    write(tmp_path, [rows[0], rows[2], rows[1]])
    check_equal(load(first, choose(1)), load(open_batches(tmp_path), choose(2)))


def test_captions_are_dropped_by_share_and_come_raw(folder):
    batches = open_batches(folder, empty_text_share=0.3)
    variants = [choose(0, 1, kind="image", shape=(1, 16, 16), variant=variant) for variant in range(100)]
    dropped = [row.empty_text for batch in variants for row in batches.describe(batch)]
    assert sum(dropped) / 200 == pytest.approx(0.3, abs=0.1)
    assert dropped == [row.empty_text for batch in variants for row in batches.describe(batch)]
    assert all(load(batches, batch)["text"] == ["image 0", "image 1"] for batch in variants[:5])


def test_masks(folder):
    batches = open_batches(folder, mask_rule="v4")
    masks = [load(batches, choose(2, 4, variant=variant))["mask"] for variant in range(12)]
    assert {mask.shape for mask in masks} == {(2, 16, 64, 64)}
    assert len({mask.tobytes() for mask in masks}) > 8
    image = load(batches, choose(0, kind="image", shape=(1, 32, 32)))["mask"]
    assert image.shape == (1, 1, 32, 32)


def test_videos_are_repeated_from_other_places(folder):
    batches = open_batches(folder, video_repeat=3)
    places = batches.items.entries
    assert places.tolist() == [3, 4] + [0, 1, 2] * 3
    same = np.flatnonzero(places == 0)
    assert len({int(read_numbers(load(batches, choose(index))["frames"])[0, 0]) for index in same}) > 1
    assert len({batches.describe(choose(index))[0].seed for index in same}) == 3


class TestIdentity:
    def identify(self, path, *indices, kind="video", **options):
        options = {"passes": 1, **options}
        return [row.identity for row in open_batches(path, **options).describe(choose(*indices, kind=kind))]

    @pytest.fixture
    def copied(self, folder, tmp_path):
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        rows = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        write(tmp_path, [{**row, "file_path": row["file_path"].rsplit("/", 1)[1]} for row in rows])
        return tmp_path

    def test_is_of_the_row(self, folder):
        first = self.identify(folder, 2, 4)
        assert first == self.identify(folder, 2, 4)
        assert len(set(first)) == 2
        path = folder / "0.mp4"
        for part in (str(path), str(path.stat().st_size), str(path.stat().st_mtime_ns), "video 0"):
            assert part in first[0]

    def test_changes_with_what_decides_the_frames(self, folder):
        changed = [{}, {"seed": 1}, {"stride": 2}, {"mask_rule": "v3"}, {"chunk_frames": 4}, {"reader": "decord"}]
        assert len({self.identify(folder, 2, 4, **options)[0] for options in changed}) == len(changed)
        batches = open_batches(folder, passes=2)
        batch = choose(2, 4)
        others = [batch, choose(2, 3), choose(2, 4, variant=1), choose(2, 4, shape=(8, 64, 64))]
        assert len({batches.describe(other)[0].identity for other in others}) == len(others)

    def test_stays_when_only_shares_and_orders_change(self, folder):
        assert self.identify(folder, 2, 4) == self.identify(folder, 2, 4, empty_text_share=0.5, passes=3, batch_size=2)

    def test_changes_with_the_files_of_all_rows(self, copied):
        before = self.identify(copied, 2, 4)
        os.utime(copied / "2.mp4", ns=(1, 1))
        after = self.identify(copied, 2, 4)
        assert not set(before) & set(after)

    def test_of_an_image_does_not_depend_on_others(self, copied):
        before = self.identify(copied, 0, 1, kind="image")
        os.utime(copied / "1.png", ns=(1, 1))
        after = self.identify(copied, 0, 1, kind="image")
        assert before[0] == after[0]
        assert before[1] != after[1]

    def test_of_a_file_that_is_gone_is_another(self, copied):
        batches = open_batches(copied, passes=1)
        before = batches.describe(choose(2, 4))
        (copied / "2.mp4").unlink()
        assert batches.describe(choose(2, 4))[0].identity != before[0].identity

    def test_is_empty_where_every_epoch_is_new(self, folder):
        assert self.identify(folder, 2, 4, passes=None) == ["", ""]


@pytest.fixture
def damaged(folder, tmp_path):
    """The rows of `folder` and a video that breaks after it was looked at."""
    rows = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    (tmp_path / "bad.mp4").write_bytes((folder / "2.mp4").read_bytes())
    write(tmp_path, [*rows, {"file_path": "bad.mp4", "text": "bad", "type": "video"}])
    return tmp_path


def test_a_bad_sample_is_replaced_by_one_of_its_kind(damaged):
    batches = open_batches(damaged)
    (damaged / "bad.mp4").write_bytes(b"no video")
    batch = load(batches, choose(2, 5))
    assert batch["frames"].shape == (2, 16, 64, 64, 3)
    assert batch["text"][1] in {"video 0", "video 1", "video 2"}
    (line,) = batch["bad"]
    assert line.startswith("row 5 (")
    assert "bad.mp4" in line
    assert batches.bad == [line]
    again = load(batches, choose(5))
    np.testing.assert_array_equal(again["frames"][0], batch["frames"][1])
    replacements = {load(batches, choose(5, variant=variant))["text"][0] for variant in range(12)}
    assert replacements == {"video 0", "video 1", "video 2"}


def test_processes_replace_a_bad_sample_alike(damaged):
    batches = open_batches(damaged, mask_rule="v4")
    (damaged / "bad.mp4").write_bytes(b"no video")
    whole = load(batches, choose(2, 5))
    for row in range(2):
        part = load(batches, choose(2, 5), [row])
        for name in ("frames", "mask", "text"):
            np.testing.assert_array_equal(part[name][0], whole[name][row])
        assert part["bad"] == whole["bad"]  # it may have decided the frames, so nothing made of this batch is kept


def test_what_is_found_damaged_late_does_not_change_the_number_of_frames(folder, tmp_path, monkeypatch):
    for number in (1, 2):
        frames = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.full((12, 64, 64, 3), 5, np.uint8) + 20
        write_video(tmp_path / f"short{number}.mp4", Video(frames.astype(np.uint8), 8))
    rows = [{"file_path": f"short{number}.mp4", "text": "short", "type": "video"} for number in (1, 2)]
    write(tmp_path, [{"file_path": str(folder / "0.mp4"), "text": "long", "type": "video"}, *rows])

    def fail_late(path, *rest, read=module.read_covering, **more):
        if path.name == "0.mp4":
            raise MediaError("A frame cannot be decoded.", received=path)
        return read(path, *rest, **more)

    monkeypatch.setattr(module, "read_covering", fail_late)
    batch = load(open_batches(tmp_path), choose(0))
    assert batch["text"] == ["short"]
    (places,) = read_numbers(batch["frames"])
    assert len(places) == 16  # what the other processes take as well; 0.8 of 12 are 9
    assert (np.diff(places) >= 0).all()
    assert len(set(places.tolist())) == 9


def test_where_nothing_can_be_read_the_file_is_named(folder, tmp_path):
    (tmp_path / "bad.mp4").write_bytes((folder / "2.mp4").read_bytes())
    write(tmp_path, [{"file_path": "bad.mp4", "text": "", "type": "video"}])
    batches = open_batches(tmp_path)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        load(batches, choose(0))


def test_a_video_that_is_too_short_is_named(tmp_path):
    write_video(tmp_path / "one.mp4", Video(np.zeros((1, 64, 64, 3), np.uint8), 8))
    write(tmp_path, [{"file_path": "one.mp4", "text": "", "type": "video"}])
    with pytest.raises(MediaError, match=r"too short.*\n.*one\.mp4: 1 frames"):
        load(open_batches(tmp_path), choose(0))


def test_a_slow_sample_is_replaced(folder, monkeypatch):
    batches = TrainingSet(folder / "data.json", seconds=3).batched(BatchRule(**SIZES), seed=0)
    done = threading.Event()

    def wait(path, *rest, read=module.read_covering, **more):
        if path.name == "0.mp4":
            done.wait(60)
        return read(path, *rest, **more)

    monkeypatch.setattr(module, "read_covering", wait)
    batch = load(batches, choose(2))
    done.set()
    assert "over 3 seconds" in batch["bad"][0]
    assert batch["text"][0] in {"video 1", "video 2"}


def test_decord_reads_the_same(folder):
    pytest.importorskip("decord")
    read = [load(open_batches(folder, reader=reader), choose(2, 3)) for reader in ("pyav", "decord")]
    np.testing.assert_allclose(read[0]["frames"].astype(int), read[1]["frames"], atol=3)


def test_a_list_in_csv_gives_the_same(folder, tmp_path):
    entries = read_entries(folder / "data.json").entries
    lines = ["file_path,text,type", *(f"{entry.file},{entry.text},{entry.kind}" for entry in entries)]
    (tmp_path / "data.csv").write_text("\n".join(lines), encoding="utf-8")
    batches = TrainingSet(tmp_path / "data.csv").batched(BatchRule(**SIZES), seed=0)
    check_equal(load(batches, choose(2, 4)), load(open_batches(folder), choose(2, 4)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_worker_reads_the_same(folder, start):
    batches = open_batches(folder, mask_rule="v3", passes=1)
    batch = choose(2, 4)
    read, described = load(batches, batch), batches.describe(batch)
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool:
        check_equal(pool.submit(batches.load, batch, [0, 1]).result(), read)
        assert pool.submit(batches.describe, batch).result() == described


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_stream_of_a_trainer_gives_the_rows_of_every_batch(folder, num_workers, rank):
    stream = pytest.importorskip("easyanimate_train.stream")
    batches = open_batches(folder, batch_size=2, mask_rule="v3", passes=2)
    opened = stream.BatchStream(batches, Load(batches), workers=num_workers, rank=rank, num_ranks=2)
    read = iter(opened)
    for epoch in range(3):
        for batch in batches.plan(epoch):
            shard, loaded = next(read)
            assert shard.epoch == epoch
            check_equal(loaded, load(batches, batch, shard.rows))
            assert list(shard.descriptions) == [batches.describe(batch)[row] for row in shard.rows]


class Load:
    def __init__(self, batches):
        self.batches = batches

    def __call__(self, batch, shard):
        return self.batches.load(batch, shard.rows)
