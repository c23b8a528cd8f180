"""A plugin with stages of its own: a column, a rule, and a file."""

import time
from dataclasses import dataclass
from pathlib import Path

from easyanimate_core import MediaError, StageSpec, Work, hookimpl


@dataclass(frozen=True)
class LightSettings:
    levels: int = 10
    seconds: float = 0.0


class MeasureLight(Work):
    def open(self):
        from easyanimate_core.video import read_video

        def measure(row):
            time.sleep(self.settings.seconds)
            if row["file_path"].endswith("n10_0.mp4"):
                return MediaError("This clip cannot be measured.", received="a test")
            mean = read_video(self.context.dataset / row["file_path"]).frames.mean()
            return {"light": f"level {int(mean / 256 * self.settings.levels)}"}

        return lambda rows: [measure(row) for row in rows]


@dataclass(frozen=True)
class OnlyLevels:
    levels: tuple[str, ...] = ("level 4", "level 5")

    def find_dropped(self, table, indices, *, compat):
        del compat
        values = table.column("light")
        return {index: "wrong light" for index in indices if values[index] not in self.levels}

    def gives(self, reason):
        return reason == "wrong light"


def list_levels(_settings, dataset):
    rows = list(dataset.table)
    path = Path(dataset.path, "levels.txt")
    path.write_text("".join(f"{rows[index]['light']}\n" for index in dataset.table.find_kept()), encoding="utf-8")
    return path


@hookimpl
def ea_stages():
    here = "easyanimate_fake_stage"
    yield StageSpec(
        key="light", summary="Names the light.", settings=LightSettings, work=f"{here}:MeasureLight", column="light"
    )
    yield StageSpec(key="only-levels", summary="Keeps some.", settings=OnlyLevels, rule=lambda settings: settings)
    yield StageSpec(key="list-levels", summary="Lists the levels.", write=f"{here}:list_levels")
