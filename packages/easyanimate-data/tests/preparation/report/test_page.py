import re
from html.parser import HTMLParser

import numpy as np
import pytest
from easyanimate_core.request import Video
from easyanimate_core.video import write_video
from easyanimate_data.preparation.duplicate import Unalike
from easyanimate_data.preparation.report.chart import BOTTOM, LEFT, RIGHT, TOP, draw_histogram
from easyanimate_data.preparation.report.count import count_totals, count_values, describe_shape
from easyanimate_data.preparation.report.funnel import follow_clips
from easyanimate_data.preparation.report.page import write_report
from easyanimate_data.preparation.report.sheet import choose_evenly, cut_text, make_sheets
from easyanimate_data.preparation.rule import Threshold

VOID = {"meta", "img", "br"}
HOSTILE = 'it\'s "<script>alert(1)</script>" & <b>'
HOSTILE_FILE = HOSTILE.replace("/", "_")
CHINESE = "夜晚的市场里灯火通明" * 40
RULES = {
    "text": Threshold("text_score", maximum=0.02),
    "motion": Threshold("motion_score", minimum=2, maximum=20),
    "duplicate": Unalike(12),
}


class Page(HTMLParser):
    """Checks that tags are balanced; collects tags, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def clip(name, **values):
    row = {"source": "raw.mp4", "file_path": name, "start": 0.0, "end": 4.0, "num_frames": 8, "fps": 8.0, "height": 48}
    row |= {"width": 64, "duration": 4.0, "error": None, "reason": None, "motion_score": 5.0, "text_score": 0.0}
    return row | {"frame_scores": [1.0, 2.0], "caption": None} | values


def source(name, **values):
    return dict.fromkeys(clip("")) | {"source": name} | values


def report(folder, rows, rules=RULES, **options):
    path = write_report(
        folder, rows=rows, rules=rules, timings=options.pop("timings", {"split": [], "motion": []}), **options
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A folder with moving waves in clips/a.mp4, something broken, and a hostile name."""
    folder = tmp_path_factory.mktemp("data set")
    y, x = np.mgrid[:270, :480]
    waves = [128 + 60 * np.sin(x / 9 + k) + 40 * np.sin(y / 7 - k) for k in range(8)]
    noise = np.random.default_rng(0).normal(0, 6, (8, 270, 480, 3))
    frames = (np.stack(waves)[..., None] + noise).clip(0, 255).astype(np.uint8)
    for name in ("a.mp4", HOSTILE_FILE + ".mp4"):
        write_video(folder / "clips" / name, Video(frames=frames, fps=8.0), crf=28)
    (folder / "clips/broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def rows():
    return [
        clip("clips/a.mp4", caption=CHINESE),
        clip(f"clips/{HOSTILE.replace('/', '_')}.mp4", caption=HOSTILE, source=HOSTILE),
        clip("clips/a.mp4", motion_score=1.0, reason="motion_score < 2"),
        clip("clips/a.mp4", motion_score=30.0, reason="motion_score > 20"),
        clip("clips/a.mp4", text_score=0.5, motion_score=1.0, reason="text_score > 0.02"),
        clip("clips/a.mp4", reason="looks like another clip", duplicate_of="clips/a.mp4"),
        clip("clips/broken.mp4", motion_score=None, error="motion: cannot be read", reason="error in motion"),
        source("empty.mp4", error="split: no frames", reason="error in split"),
        source("short.mp4", reason="every scene is too short"),
    ]


def test_the_page_is_whole_and_loads_nothing(dataset, rows):
    timings = {"split": [(HOSTILE, 3.0)], "motion": [("clips/a.mp4", 1.0), ("clips/b.mp4", 61.0)]}
    html = report(dataset, rows, timings=timings, input_folder="raw videos", date="2026-11-20")
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(
        value.startswith(("data:image/jpeg;base64,", "#")) for name, value in page.attributes if name in ("src", "href")
    )
    assert "url(" not in html
    for text in ("raw videos · 2026-11-20", "61.00 s", "split: no frames", "every scene is too short"):
        assert text in page.text


def test_hostile_names_and_captions_are_text(dataset, rows):
    page = Page(report(dataset, rows, timings={"split": [(HOSTILE, 3.0)]}))
    assert page.text.count(HOSTILE) >= 3  # its time, its caption on the sheet and among the samples
    assert HOSTILE_FILE + ".mp4" in page.text


def test_long_captions_are_folded(dataset, rows):
    html = report(dataset, rows)
    assert f"<summary>{CHINESE[:80]}…</summary><p>{CHINESE}</p>" in html


def test_equal_input_gives_equal_bytes(dataset, rows, tmp_path):
    first, second = (write_report(dataset, rows=rows, rules=RULES, timings={}, out=tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_clips_are_shown_or_say_why_not(dataset, rows):
    page = Page(report(dataset, rows))
    assert page.tags.count("img") == 4 * 6
    assert "The file cannot be read" in page.text
    assert "motion: cannot be read" in page.text
    assert "Looks like clips/a.mp4" in page.text


@pytest.mark.parametrize("rows", [[], [source("a.mp4", reason="every scene is too short")]])
def test_tables_without_clips(rows, tmp_path):
    page = Page(report(tmp_path, rows))
    assert "img" not in page.tags
    assert f"{len(rows)} of {len(rows)} source" in page.text


def test_everything_dropped_shows_where_the_numbers_lie(dataset):
    rows = [clip("clips/a.mp4", motion_score=0.1 * k, reason="motion_score < 2") for k in range(5)]
    page = Page(report(dataset, rows))
    assert "Every clip was dropped" in page.text
    assert "0 of 5 in the range (0 %)" in page.text
    assert "min 2" in page.text


@pytest.mark.parametrize("value", [None, float("nan")])
def test_columns_without_a_number(dataset, value):
    rows = [clip("clips/a.mp4", motion_score=value, text_score=value, other_score=value) for _ in range(2)]
    page = Page(report(dataset, rows))
    assert "no numbers; 2 without a number" in page.text
    assert "in the range" not in page.text
    assert "other_score" in page.text or value is None


def test_lists_and_texts_are_no_scores(dataset, rows):
    html = report(dataset, rows)
    assert "motion_score" in html
    assert "frame_scores" not in html
    assert not re.search(r"\bnan\b", Page(html).text)


def test_pictures_are_small(dataset):
    path = write_report(
        dataset, rows=[clip("clips/a.mp4")] * 10, rules={}, timings={}, max_clips=10, out=dataset / "big.html"
    )
    assert path.read_text().count("<img") == 40
    assert path.stat().st_size < 500_000  # 100 clips in 5 MB


def test_not_more_clips_than_asked_for(dataset):
    page = Page(report(dataset, [clip("clips/a.mp4")] * 5, max_clips=2))
    assert "5 clips, 2 of them shown" in page.text
    assert page.tags.count("img") == 8


def test_clips_are_chosen_evenly():
    assert choose_evenly(range(9), 3) == [0, 4, 8]
    assert choose_evenly(range(2), 3) == [0, 1]
    assert choose_evenly([], 3) == []


def test_sheets_begin_with_what_is_kept(dataset, rows):
    rows = [*rows[:7], *rows[2:3] * 2]
    sheets = make_sheets(dataset, rows, ["motion_score"], [RULES["text"], RULES["motion"]], 1)
    assert [(sheet.title, sheet.total) for sheet in sheets[:3]] == [
        ("kept", 2),
        ("motion_score < 2", 3),
        ("error in motion", 1),
    ]
    low = next(sheet for sheet in sheets if sheet.title == "motion_score < 2").cards[0].scores
    assert [(score.value, score.outside) for score in low] == [("1", True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("a" * 12, "a" * 12), ("a" * 13, "a" * 10), ("市" * 6, "市" * 6), ("市" * 7, "市" * 5)],
)
def test_texts_are_cut_by_the_room_they_take(text, expected):
    assert cut_text(text, 10) == expected


def test_totals(rows):
    totals = count_totals(rows)
    assert (totals.sources, totals.empty, totals.clips, totals.kept) == (4, 2, 7, 2)
    assert (totals.dropped, totals.broken) == (4, 2)
    assert (totals.seconds, totals.kept_seconds) == (28.0, 8.0)


def test_values_are_counted_and_rare_ones_added_up():
    rows = [clip("a", height=9, width=16), clip("b", height=90, width=160, reason="x"), clip("c", height=None)]
    assert [(one.value, one.clips, one.kept) for one in count_values(rows, describe_shape)] == [("16:9 (1.78)", 2, 1)]
    counts = count_values([clip("a", height=1, width=3 * k) for k in range(1, 15)], describe_shape)
    assert len(counts) == 13
    assert (counts[-1].value, counts[-1].clips) == ("2 others", 2)


def test_the_funnel_gives_each_reason_to_its_stage(rows):
    rows = [*rows, clip("clips/z.mp4", reason="by hand")]
    steps = follow_clips(rows, RULES, ["split", "text", "motion", "caption"])
    assert [(step.stage, step.left) for step in steps] == [
        ("split", 8),
        ("text", 7),
        ("motion", 4),
        ("caption", 4),
        ("duplicate", 3),
        ("other rules", 2),
    ]
    assert steps[0].reasons == [("error in split", 1), ("every scene is too short", 1)]
    assert steps[2].reasons == [("error in motion", 1), ("motion_score < 2", 1), ("motion_score > 20", 1)]


class TestHistogram:
    def test_bars_hold_every_number_once(self):
        values = np.random.default_rng(1).lognormal(1, 1, 200)
        drawn = draw_histogram(list(values[:150]), list(values[150:]), minima=[2])
        pairs = [re.search(r": (\d+) kept, (\d+) dropped", bar.title).groups() for bar in drawn.bars]
        assert sum(int(kept) for kept, _ in pairs) == 150
        assert sum(int(dropped) for _, dropped in pairs) == 50
        for bar in drawn.bars:
            assert bar.x >= LEFT
            assert bar.x + bar.width <= RIGHT
            assert TOP <= bar.dropped_y <= bar.kept_y <= BOTTOM
            assert bar.dropped_y + bar.dropped_height == pytest.approx(bar.kept_y, abs=0.02)

    def test_a_number_on_a_threshold_is_on_its_kept_side(self):
        drawn = draw_histogram([0.3, 2.0], [0.0, 0.1, 0.2], minima=[0.3])  # 0.3 / 0.1 is a little less than 3
        kept = [bar for bar in drawn.bars if bar.kept_height]
        assert kept[0].x == pytest.approx(drawn.bounds[0].position)
        assert len(kept) == 2

    @pytest.mark.parametrize("value", [0.0, 3.0, -2.5, 1e-12, 1e9, 7])
    def test_one_value(self, value):
        drawn = draw_histogram([value] * 3, [])
        assert [bar.kept_y for bar in drawn.bars] == [TOP]
        assert LEFT <= drawn.bars[0].x < RIGHT
        assert 2 <= len(drawn.x_ticks) <= 10

    def test_no_values(self):
        assert draw_histogram([], [], minima=[1]) is None

    def test_a_near_threshold_is_on_the_axis_and_a_far_one_points_there(self):
        near = draw_histogram([], [0.1, 0.9], minima=[4]).bounds[0]
        assert near.label == "min 4"
        assert LEFT < near.position <= RIGHT
        far = draw_histogram([], [0.1, 0.9], minima=[400], maxima=[-400])
        assert [(mark.position, mark.outside) for mark in far.bounds] == [(RIGHT, True), (LEFT, True)]
        assert far.bounds[0].label == "min 400 →"
        assert len(far.bars) == 2

    def test_a_threshold_at_the_end_of_the_axis_is_on_it(self):
        drawn = draw_histogram([0.4, 2.5], [], minima=[0.3])  # the axis begins at 3 * 0.1, a little more than 0.3
        assert not drawn.bounds[0].outside

    def test_ticks_of_counts_are_whole(self):
        drawn = draw_histogram([1, 2, 3], [])
        assert [tick.label for tick in drawn.y_ticks] == ["0", "1"]
