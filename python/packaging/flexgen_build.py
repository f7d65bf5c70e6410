"""The build backend: setuptools, and the compiled engine inside the wheel.

A wheel holds flexgen/_engine/bin/flexgen with the shared libraries that it needs, except those of glibc, in
flexgen/_engine/lib. The command finds them by an rpath of the older kind (DT_RPATH), which also counts for the
libraries of libraries and for those that it opens by name while it runs.
"""
import os
import re
import shutil
import subprocess

from setuptools.build_meta import *  # noqa: F401,F403
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.errors import ExecError, PlatformError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Parts of glibc, which fit the system's loader and no other.
GLIBC = re.compile(r"(linux-vdso|ld-linux[\w-]*|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl)"
                   r"\.so\.")
# Opened while running (src/plan/solver.c). libcurl, which `flexgen pull` opens, stays the system's, with the
# certificates that it knows.
OPENED = ["libClp.so.1"]


def run(*command, **more):
    try:
        subprocess.run(command, check=True, **more)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ExecError(f"{' '.join(command)}: {error}; `make setup` installs the Debian packages that the build needs "
                        "(scripts/debian-packages lists them)") from None


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def build_command(folder):
    """The command, with the rpath that it has in the wheel."""
    # Flags of an environment that builds Python modules are not the project's.
    environment = {name: value for name, value in os.environ.items() if name not in ("CFLAGS", "LDFLAGS")}
    run("cmake", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DFG_WERROR=OFF",
        "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib",
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags", env=environment)
    run("cmake", "--build", folder, "--target", "flexgen", "-j", str(len(os.sched_getaffinity(0))), env=environment)
    return os.path.join(folder, "flexgen")


def libraries(command):
    """File of each library that the command needs, by the name under which it is looked for."""
    found = needed(command)
    known = dict(re.findall(r"^\s*(\S+) .*=> (/.*)$", output("/sbin/ldconfig", "-p"), re.M)[::-1])
    for name in OPENED:
        if name not in known:
            raise PlatformError(f"{name} is not there; `make setup` installs the Debian packages that are missing")
        found = {**needed(known[name]), name: known[name], **found}
    return {name: path for name, path in found.items() if not GLIBC.match(name)}


def needed(binary):
    lines = output("ldd", binary)
    missing = re.findall(r"^\s*(\S+) => not found", lines, re.M)
    if missing:
        raise PlatformError(f"{binary} needs {', '.join(missing)}, which is not there")
    return dict(re.findall(r"^\s*(\S+) => (/\S+)", lines, re.M))


def copy_licence(library, folder):
    """What the library's package says about copying, which has to go with it; a system without dpkg has no such file."""
    if not shutil.which("dpkg-query"):
        return
    for path in (library, os.path.realpath(library), os.path.realpath(library).removeprefix("/usr")):
        owner = subprocess.run(["dpkg-query", "--search", path], capture_output=True, text=True)
        if owner.returncode == 0:
            package = owner.stdout.split(":")[0]
            text = f"/usr/share/doc/{package}/copyright"
            if os.path.exists(text):
                shutil.copyfile(text, os.path.join(folder, package + ".txt"))
            return


def put_engine(command, target):
    shutil.rmtree(target, ignore_errors=True)
    places = {name: os.path.join(target, name) for name in ("bin", "lib", "licences")}
    for place in places.values():
        os.makedirs(place)
    shutil.copy(os.path.join(ROOT, "docs", "licences.md"), places["licences"])
    run("strip", "-o", os.path.join(places["bin"], "flexgen"), command)
    for name, path in libraries(command).items():
        shutil.copyfile(os.path.realpath(path), os.path.join(places["lib"], name))
        copy_licence(path, places["licences"])


class BuildPy(build_py):
    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier version left is no part of this one
        super().run()
        if self.editable_mode:  # an editable install runs the command that `make` built, or FLEXGEN_COMMAND
            return
        folder = os.path.join(os.path.abspath(self.get_finalized_command("build").build_temp), "engine")
        put_engine(build_command(folder), os.path.join(self.build_lib, "flexgen", "_engine"))


class BdistWheel(bdist_wheel):
    """Any Python 3, this platform."""

    def finalize_options(self):
        self.distribution.has_ext_modules = lambda: True  # of this platform, though no module of Python's is compiled
        super().finalize_options()

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


class Sdist(sdist):
    """All that git knows: the engine is built from it."""

    def add_defaults(self):
        super().add_defaults()
        self.filelist.extend(output("git", "-C", ROOT, "ls-files").splitlines())
