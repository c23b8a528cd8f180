"""Journals survive being cut off at any byte."""

from easyanimate_data.preparation.journal import Journal, Outcome


def test_what_was_noted_is_read(tmp_path):
    journal = Journal(tmp_path / "journal" / "motion.jsonl")
    assert journal.read() == {}
    outcomes = {"a.mp4": Outcome({"score": 1.5}, None, 0.25), "视频.mp4": Outcome({}, "broken", 0.0)}
    with journal:
        for key, outcome in outcomes.items():
            journal.add(key, outcome)
    assert journal.read() == outcomes


def test_a_line_counts_when_it_ends(tmp_path):
    journal = Journal(tmp_path / "motion.jsonl")
    with journal:
        for k in range(3):
            journal.add(f"{k}.mp4", Outcome({"score": float(k)}))
    whole = journal.path.read_bytes()
    lengths = [len(line) + 1 for line in whole.split(b"\n")[:-1]]
    for size in range(len(whole) + 1):
        journal.path.write_bytes(whole[:size])
        num_whole = sum(size >= sum(lengths[: k + 1]) for k in range(3))
        assert list(journal.read()) == [f"{k}.mp4" for k in range(num_whole)]
        with journal:
            journal.add("new.mp4", Outcome())
        assert list(journal.read()) == [*(f"{k}.mp4" for k in range(num_whole)), "new.mp4"]


def test_some_or_all_can_be_forgotten(tmp_path):
    journal = Journal(tmp_path / "motion.jsonl")
    with journal:
        journal.add("a", Outcome(error="broken"))
        journal.add("b", Outcome({"score": 1.0}))
    journal.forget({"a"})
    assert list(journal.read()) == ["b"]
    journal.forget()
    assert journal.read() == {}
