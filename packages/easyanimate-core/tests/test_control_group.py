import sys

import psutil
import pytest
from easyanimate_core import machine
from easyanimate_core.control_group import read_memory_limits, read_processor_limit
from easyanimate_core.machine import count_processors, free_memory, read_machine

GB = 10**9
NO_LIMIT_1 = 9223372036854771712
"""What version 1 says where there is no limit."""


@pytest.fixture
def make_tree(tmp_path):
    """Writes `proc` and `sys` of a process in the group that is given; files by their path below `sys/fs/cgroup`."""

    def make(cgroup: str, mountinfo: str, files: dict[str, str | int]):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
        (tmp_path / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mountinfo)
        for name, content in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return make


VERSION_2 = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
VERSION_1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def test_limits_of_a_scope_of_systemd_and_of_the_slices_around_it(make_tree):
    scope = "user.slice/user-1000.slice/run-9.scope"
    root = make_tree(
        f"0::/{scope}\n",
        VERSION_2,
        {
            f"{scope}/memory.max": 2 * GB,
            f"{scope}/memory.high": "max",
            f"{scope}/memory.current": GB,
            f"{scope}/memory.stat": "anon 400000000\nfile 600000000\nactive_file 100000000\ninactive_file 500000000",
            f"{scope}/cpu.max": "max 100000",
            "user.slice/user-1000.slice/memory.max": "max",
            "user.slice/user-1000.slice/memory.high": 3 * GB,
            "user.slice/user-1000.slice/memory.current": 2 * GB,
            "user.slice/user-1000.slice/cpu.max": "150000 100000",
            "user.slice/memory.max": "max",
            "user.slice/cpu.max": "400000 100000",
        },
    )
    assert read_memory_limits(root) == [(2 * GB, 400_000_000), (3 * GB, 2 * GB)]
    assert read_processor_limit(root) == 1.5


def test_limits_inside_a_container_that_sees_its_group_as_the_top(make_tree):
    files = {"memory.max": 2 * GB, "memory.current": 500, "cpu.max": "200000 100000"}
    root = make_tree("0::/\n", VERSION_2, files)
    assert read_memory_limits(root) == [(2 * GB, 500)]
    assert read_processor_limit(root) == 2


def test_limits_where_only_the_own_group_is_mounted(make_tree):
    """Docker without a namespace of control groups; the pod around it is seen in `hierarchical_memory_limit` only."""
    root = make_tree(
        "5:cpu,cpuacct:/pod/box\n4:memory:/pod/box\n0::/pod/box\n",
        VERSION_1.replace(" / ", " /pod/box "),
        {
            "memory/memory.limit_in_bytes": NO_LIMIT_1,
            "memory/memory.usage_in_bytes": GB,
            "memory/memory.stat": (
                "inactive_file 1\nactive_file 1\nhierarchical_memory_limit 2000000000\n"
                "total_inactive_file 200000000\ntotal_active_file 300000000"
            ),
            "cpu,cpuacct/cpu.cfs_quota_us": 50_000,
            "cpu,cpuacct/cpu.cfs_period_us": 100_000,
        },
    )
    assert read_memory_limits(root) == [(2 * GB, 500_000_000)]
    assert read_processor_limit(root) == 0.5


def test_limits_of_nested_groups_of_version_1(make_tree):
    root = make_tree(
        "9:name=systemd:/\n4:memory:/batch/job 7\n2:cpu,cpuacct:/batch\n0::/\n",
        VERSION_1,
        {
            "memory/batch/job 7/memory.limit_in_bytes": NO_LIMIT_1,
            "memory/batch/job 7/memory.usage_in_bytes": 100,
            "memory/batch/memory.limit_in_bytes": 2 * GB,
            "memory/batch/memory.usage_in_bytes": 300,
            "memory/memory.limit_in_bytes": NO_LIMIT_1,
            "memory/memory.usage_in_bytes": 900,
            "cpu,cpuacct/batch/cpu.cfs_quota_us": -1,
            "cpu,cpuacct/batch/cpu.cfs_period_us": 100_000,
        },
    )
    assert read_memory_limits(root) == [(NO_LIMIT_1, 100), (2 * GB, 300), (NO_LIMIT_1, 900)]
    assert read_processor_limit(root) is None


@pytest.mark.parametrize(
    ("cgroup", "mountinfo"),
    [
        ("", ""),
        ("0::/\n", ""),
        ("nonsense\n\n", "nonsense\n- \n"),
        ("4:memory:/\n", VERSION_2),
        # The group has been left by way of a namespace: what is mounted is all that can be asked.
        ("0::/../../other\n", VERSION_2),
    ],
)
def test_what_tells_nothing_limits_nothing(make_tree, cgroup, mountinfo):
    root = make_tree(cgroup, mountinfo, {"memory.max": "max", "cpu.max": "max 100000"})
    assert read_memory_limits(root) == []
    assert read_processor_limit(root) is None


def test_no_control_groups(tmp_path):
    assert read_memory_limits(tmp_path) == []
    assert read_processor_limit(tmp_path) is None


def test_a_path_with_a_blank_is_found(make_tree):
    mountinfo = VERSION_2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/my\\040groups ")
    root = make_tree("0::/a\n", mountinfo, {"my groups/a/memory.max": 7})
    assert read_memory_limits(root) == [(7, 0)]


def test_everything_that_asks_for_memory_or_processors_hears_of_the_limits(monkeypatch):
    total = psutil.virtual_memory().total
    monkeypatch.setattr(machine, "read_memory_limits", lambda: [(total * 2, 9), (3000, 2900), (2000, 400)])
    monkeypatch.setattr(machine, "read_processor_limit", lambda: 0.5)
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda _: None)
    # The outer group is full before the inner one is.
    assert free_memory() == 100
    assert count_processors() == 1
    facts = read_machine()
    assert (facts.memory_bytes, facts.free_memory_bytes, facts.num_cpus) == (2000, 100, 1)
    monkeypatch.setattr(machine, "read_memory_limits", lambda: [(total * 2, 9)])
    assert 3000 < free_memory() <= total


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no control groups")
def test_the_groups_of_this_process_are_read():
    assert all(used >= 0 for _, used in read_memory_limits())
    assert read_machine().memory_bytes <= psutil.virtual_memory().total
