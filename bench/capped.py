"""Commands in a memory cgroup that counts the page cache too, where this user may make one; their peak memory."""
import collections
import itertools
import os
import pathlib
import signal
import subprocess

V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")

# limited: a word on how. peak_rss: of the largest process. peak_group: with the page cache; None without a group.
Done = collections.namedtuple("Done", "returncode stdout limited peak_rss peak_group")
_numbers = itertools.count()


def _make_group(limit):
    """Returns the group's folder, or None and why there is none."""
    for root, limit_file in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        group = root / f"flexgen-bench-{os.getpid()}-{next(_numbers)}"
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


def _peak_of(group):
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        try:
            return int((group / name).read_text())
        except OSError:
            pass
    return None


def _remove(group):
    try:
        (group / "memory.force_empty").write_text("1")
    except OSError:
        pass
    try:
        group.rmdir()
    except OSError:
        pass


def drop_caches():
    """True if the page cache is empty now."""
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def run(command, limit=None, groups=(), **options):
    """Runs a command under `limit` bytes to its end, caches dropped before; its standard output as text. groups: other
    cgroups that it is to be in, such as one that holds the disk."""
    group, why = None, "unlimited"
    if limit:
        drop_caches()
        group, why = _make_group(limit)

    groups = [*groups, *([group] if group else [])]

    def enter():
        for folder in groups:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                               preexec_fn=enter if groups else None, start_new_session=True, **options)
    try:
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return Done(process.returncode, stdout, "memory cgroup" if group else why, usage.ru_maxrss * 1024,
                    _peak_of(group) if group else None)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # a server that it started, too
            process.wait()
        if group:
            _remove(group)
