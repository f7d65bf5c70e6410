"""Commands in a memory cgroup that counts the page cache too, where this user may make one."""
import os
import pathlib
import subprocess

V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")


def _make_group(limit):
    """Returns the group's folder and the file that held its limit, or None and why there is none."""
    for root, limit_file in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        group = root / f"flexgen-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            why = str(error)
            continue
        try:
            (group / limit_file).write_text(str(limit))
            return group, None
        except OSError as error:
            why = str(error)
            group.rmdir()
    return None, f"no memory cgroup ({why})"


def drop_caches():
    """True if the page cache is empty now."""
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def run(command, limit=None, **options):
    """subprocess.run under `limit` bytes. Returns the result and a word on how it was limited."""
    if not limit:
        return subprocess.run(command, **options), "unlimited"
    drop_caches()
    group, why = _make_group(limit)
    if not group:
        return subprocess.run(command, **options), why

    def enter():
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        return subprocess.run(command, preexec_fn=enter, **options), "memory cgroup"
    finally:
        try:
            (group / "memory.force_empty").write_text("1")
        except OSError:
            pass
        try:
            group.rmdir()
        except OSError:
            pass
