"""A disk held at a rate by the block I/O cgroup, for runs that are compared with what was said before them.

A cloud's disk gives now twice, now half of what it gave a minute ago. Held well below the least of that, it is the same
for the profile and for every run. Direct reads and writes of the processes in the group are counted; what the kernel
writes back for others is not."""
import contextlib
import itertools
import os
import pathlib

V1 = pathlib.Path("/sys/fs/cgroup/blkio")
V2 = pathlib.Path("/sys/fs/cgroup")
_numbers = itertools.count()


def whole_disk(path, sys_block=pathlib.Path("/sys/dev/block")):
    """major:minor of the disk that `path` is on: limits are of disks, not of their partitions."""
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    folder = (sys_block / name).resolve()
    if (folder / "partition").exists():
        return (folder.parent / "dev").read_text().strip()
    return name


def limit_lines(version, device, rate):
    """What is to be written to which file of a group."""
    if version == 1:
        return [(f"blkio.throttle.{way}_bps_device", f"{device} {rate}") for way in ("read", "write")]
    return [("io.max", f"{device} rbps={rate} wbps={rate}")]


def _limited_group(root, version, device, rate):
    group = root / f"flexgen-disk-{os.getpid()}-{next(_numbers)}"
    group.mkdir()
    try:
        for name, text in limit_lines(version, device, rate):
            # Without this check a folder that is no cgroup would be taken for one.
            if not (group / name).exists():
                raise OSError(f"{group / name} is not there")
            (group / name).write_text(text)
        return group
    except OSError:
        group.rmdir()
        raise


@contextlib.contextmanager
def held(path, rate):
    """Yields (folder of the group or None, a word on how the disk is held). rate: bytes a second, None: not held."""
    if not rate:
        yield None, "not held"
        return
    group, reasons = None, []
    for root, version in ((V1, 1), (V2, 2)):
        try:
            group = _limited_group(root, version, whole_disk(path), rate)
            break
        except OSError as error:
            reasons.append(f"v{version}: {error}")
    try:
        yield group, (f"held at {rate / 1e6:.0f} MB/s by the block I/O cgroup, v{version}" if group else
                      f"not held: {'; '.join(reasons)}")
    finally:
        if group:
            with contextlib.suppress(OSError):
                group.rmdir()
