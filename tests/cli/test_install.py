"""What `cmake --install` installs: a tree that another program builds against, pages and completions that say what the
command says, and nothing that an uninstallation leaves behind.
"""
import glob
import os
import pty
import re
import shutil
import subprocess
import unittest

import harness
from harness import Case, run

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def cached(name):
    """A variable of the build folder's cache."""
    with open(os.path.join(build(), "CMakeCache.txt")) as file:
        return re.search(rf"^{name}:\w+=(.*)$", file.read(), re.M)[1]


def build():
    """The folder of the command under test."""
    return os.path.dirname(harness.flexgen)


def call(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, **more)


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed (scripts/setup lint)")


def commands():
    return re.findall(r"^  (\w+) ", run("--help").stdout.decode(), re.M)


def options(command):
    """{--name: what --help shows as its value} of a command, letters among the names."""
    found = {}
    for letter, name, value in re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)(?: (\S+))?",
                                          run(command, "--help").stdout.decode(), re.M):
        found["--" + name] = value
        if letter:
            found["-" + letter] = value
    return found


class Installed(Case):
    """Each case has a tree of its own in self.stage, of the prefix self.prefix."""

    def setUp(self):
        super().setUp()
        self.keep_manifest()
        self.stage = self.path("stage")
        self.prefix = self.stage + cached("CMAKE_INSTALL_PREFIX")
        done = call("cmake", "--install", build(), env=self.environment())
        self.assertEqual(done.returncode, 0, done.stderr)

    def keep_manifest(self):
        """The list that an installation writes into the build folder is the user's: put back afterwards."""
        manifest = os.path.join(build(), "install_manifest.txt")
        if os.path.exists(manifest):
            shutil.copy(manifest, self.path("manifest"))
            self.addCleanup(shutil.copy, self.path("manifest"), manifest)
        else:
            self.addCleanup(lambda: os.path.exists(manifest) and os.remove(manifest))

    def environment(self):
        library = os.path.join(self.stage + cached("CMAKE_INSTALL_PREFIX"), cached("CMAKE_INSTALL_LIBDIR"))
        return {**harness.environment(), "DESTDIR": self.stage, "LD_LIBRARY_PATH": library,
                "PKG_CONFIG_PATH": os.path.join(library, "pkgconfig")}

    def installed(self, *parts):
        return os.path.join(self.prefix, *parts)

    def files(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.prefix)
                      for folder, _, names in os.walk(self.stage) for name in names)


class Tree(Installed):
    def test_what_belongs_there_is_there(self):
        files = set(self.files())
        headers = {os.path.relpath(path, harness.ROOT) for path in glob.glob(harness.ROOT + "/include/flexgen/*.h")}
        pages = {f"share/man/man1/flexgen{command}.1" for command in ["", *("-" + name for name in commands())]}
        library = cached("CMAKE_INSTALL_LIBDIR")
        wanted = {"bin/flexgen", f"{library}/libflexgen.so", f"{library}/pkgconfig/flexgen.pc",
                  "share/zsh/site-functions/_flexgen", "share/bash-completion/completions/flexgen",
                  "share/doc/flexgen/LICENSE", "share/doc/flexgen/README.md", "share/doc/flexgen/docs/install.md"}
        self.assertEqual((wanted | headers | pages) - files, set())

    def test_installed_command_runs(self):
        done = call(self.installed("bin", "flexgen"), "--version", env=harness.environment())
        self.assertEqual(done.stdout, run("--version").stdout.decode())

    def test_no_file_names_a_folder_of_the_build(self):
        for name in self.files():
            if "libflexgen" not in name and not name.startswith("bin/"):  # these have debugging information
                with open(self.installed(name), encoding="utf-8") as file:
                    text = file.read()
                for folder in (harness.ROOT, build(), self.stage):
                    self.assertNotIn(folder + "/", text, name)

    def test_links_of_documents_lead_somewhere(self):
        for page in glob.glob(self.installed("share/doc/flexgen/**/*.md"), recursive=True):
            with open(page) as file:
                links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read())
            for link in links:
                if "://" not in link and "/docs/" not in os.path.relpath(page, self.prefix):
                    self.assertTrue(os.path.exists(os.path.join(os.path.dirname(page), link)), f"{page}: {link}")

    def test_uninstall_removes_what_was_installed_and_nothing_else(self):
        mine = self.installed("include", "flexgen", "mine.h")
        open(mine, "w").close()
        done = call(os.path.join(harness.ROOT, "scripts", "uninstall"), build(), env=self.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(), ["include/flexgen/mine.h"])
        self.assertEqual(glob.glob(self.stage + "/**/flexgen", recursive=True), [os.path.dirname(mine)])

    def test_uninstall_without_an_installation_says_so(self):
        done = call(os.path.join(harness.ROOT, "scripts", "uninstall"), self.folder)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)


class Library(Installed):
    def flags(self):
        """What pkg-config says, and what a sanitizer's build of the library needs of a program."""
        done = call("pkg-config", "--cflags", "--libs", "flexgen", env=self.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        sanitizers = cached("FG_SANITIZE")
        return done.stdout.split() + ([f"-fsanitize={sanitizers}"] if sanitizers else [])

    def compile(self, source, *words):
        program = self.path("program")
        done = call(*words, source, "-o", program, *self.flags(), env=self.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        return program

    def run_program(self, *words):
        done = call(*words, env=self.environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def headers(self):
        return sorted(os.listdir(self.installed("include", "flexgen")))

    def test_example_answers_as_the_golden_does(self):
        golden = harness.golden()["prompts"][0]
        program = self.compile(os.path.join(harness.ROOT, "examples", "tokens.c"), "cc", "-std=c17", *WARNINGS)
        said = self.run_program(program, harness.MODEL, self.folder, *map(str, golden["ids"]))
        self.assertEqual(list(map(int, said.split())), golden["greedy"][:16])

    @needs("c++")
    def test_each_header_compiles_alone(self):
        for compiler, standard, suffix in (("cc", "c11", ".c"), ("cc", "c17", ".c"), ("c++", "c++11", ".cc"),
                                           ("c++", "c++20", ".cc")):
            for header in self.headers():
                source = self.write("alone" + suffix, f"#include <flexgen/{header}>\nint main(void) {{ return 0; }}\n")
                self.run_program(self.compile(source, compiler, f"-std={standard}", *WARNINGS))

    @needs("c++")
    def test_cpp_program_gets_the_librarys_error(self):
        source = self.write("error.cc", """
            #include <flexgen/batch.h>
            #include <cstdio>
            int main() {
              fg_engine_options options{};
              options.model = "/nowhere/at/all";
              fg_engine *engine = nullptr;
              fg_error err;
              if (fg_engine_open(&engine, &options, &err) == FG_OK) return 1;
              std::puts(err.message);
            }""")
        self.assertIn("/nowhere/at/all", self.run_program(self.compile(source, "c++", "-std=c++11", *WARNINGS)))

    def test_library_exports_what_headers_declare(self):
        declared = set()
        for header in self.headers():
            with open(self.installed("include", "flexgen", header)) as file:
                declared |= set(re.findall(r"^\w[\w *]*?\b(fg_\w+)\([^*]", file.read(), re.M))
        library = self.installed(cached("CMAKE_INSTALL_LIBDIR"), "libflexgen.so")
        listed = self.run_program("nm", "-D", "--defined-only", library)
        exported = {line.split()[2] for line in listed.splitlines() if line.split()[1] == "T"}
        self.assertEqual(exported - {"_init", "_fini"}, declared)

    def test_version_is_the_commands(self):
        said = self.run_program("pkg-config", "--modversion", "flexgen")
        self.assertEqual(run("--version").stdout.decode(), f"flexgen {said}")

    def test_moved_tree_still_works(self):
        moved = self.path("elsewhere")
        os.rename(self.stage, moved)
        self.stage = moved
        self.assertIn(f"-I{moved}", " ".join(self.flags()))


class Pages(Installed):
    def page(self, name):
        with open(self.installed("share", "man", "man1", name + ".1")) as file:
            return file.read()

    @needs("mandoc")
    def test_lint_finds_nothing(self):
        pages = glob.glob(self.installed("share/man/man1/*.1"))
        done = call("mandoc", "-T", "lint", "-W", "style", *pages)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertEqual(len(pages), len(commands()) + 1)

    @needs("mandoc")
    def test_page_of_a_command_says_every_line_of_its_help(self):
        compared = 0
        for command in commands():
            page = self.installed("share", "man", "man1", f"flexgen-{command}.1")
            shown = " ".join(re.sub(r".\x08", "", call("mandoc", page).stdout).split())
            lines = run(command, "--help").stdout.decode().splitlines()
            helped = [re.split(r"\s{2,}", line.strip())[-1] for line in lines if line.startswith("  ")]
            for words in helped:
                self.assertIn(words, shown, command)
            compared += len(helped)
        self.assertGreater(compared, 200)

    def test_first_page_names_every_command(self):
        page = self.page("flexgen")
        for command in commands():
            self.assertIn(f"flexgen\\-{command} (1)", page)


class Completion(Installed):
    """A shell is given command lines, the last word to be completed; what it offers is compared with the command."""

    def setUp(self):
        super().setUp()
        self.work = self.path("work")
        os.makedirs(os.path.join(self.work, "folder"))
        for name in ("rows.jsonl", "with space.jsonl"):
            open(os.path.join(self.work, name), "w").close()

    def bash(self, line):
        """Words are cut where bash cuts them: at spaces and at "="."""
        words = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
        script = ('source "$1"; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _flexgen; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = call("bash", "-uc", script, "-", self.installed("share/bash-completion/completions/flexgen"), *words,
                    cwd=self.work)
        self.assertEqual((done.returncode, done.stderr), (0, ""), line)
        return set(done.stdout.splitlines()) - {""}

    def zsh(self, *lines):
        """What is offered for each line, in a shell that believes to have a terminal."""
        home = self.path("home")
        os.makedirs(home)
        shutil.copy(os.path.join(harness.HERE, "capture_zsh.zsh"), os.path.join(home, ".zshrc"))
        captured = os.path.join(home, "captured")
        terminal, end = pty.openpty()
        shell = subprocess.Popen(
            ["zsh", "-d", "-i"], stdin=end, stdout=end, stderr=end, cwd=self.work, start_new_session=True,
            env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": home, "ZDOTDIR": home, "CAPTURED": captured,
                 "FUNCTIONS": self.installed("share", "zsh", "site-functions"),
                 "LINES_TO_COMPLETE": "\n".join(line + "." for line in lines)})
        os.close(end)
        said = b""
        try:
            while block := os.read(terminal, 4096):
                said += block
        except OSError:  # how a terminal ends
            pass
        os.close(terminal)
        self.assertEqual(shell.wait(), 0, said.decode(errors="replace"))
        with open(captured) as file:
            parts = re.split(r"^> .*\n", file.read(), flags=re.M)[1:]
        self.assertEqual(len(parts), len(lines), said.decode(errors="replace"))
        return [set(part.split("\n")) - {""} for part in parts]

    def check(self, complete):
        """`complete`: a list of lines to what is offered for each."""
        files = {"rows.jsonl", "with space.jsonl", "folder"}
        cases = {
            "flexgen b": {"batch", "bench"},
            "flexgen store ": {"list", "verify", "clear"},
            "flexgen batch ": files,
            "flexgen batch m -i ": files,
            "flexgen batch m --input ": files,
            "flexgen batch m --input=": files,
            "flexgen batch m --offload-dir ": {"folder"},
            "flexgen batch m --shard ": set(),
            "flexgen batch m --dty": {"--dtype"},
            "flexgen batch m --dtype b": {"bf16"},
            "flexgen batch m --dtype=i": {"int8"},
            "flexgen batch m --percent 1 2 3 4 5 ": set(),
            "flexgen batch --percent 1 2 3 4 5 6 ": files,
            "flexgen batch m --no-ov": {"--no-overlap"},
            "flexgen batch m --overlap t": {"true"},
            "flexgen batch --overlap ": files | {"true", "false"},
            "flexgen pull --dtyp": set(),
        }
        for (line, wanted), offered in zip(cases.items(), complete(list(cases))):
            self.assertEqual({name.replace("\\", "") for name in offered}, wanted, line)

    def check_options(self, complete):
        """Every option of --help is offered, and nothing is offered that the command does not know."""
        every = commands()
        for command, offered in zip(every, complete([f"flexgen {command} --" for command in every])):
            known = {name for name in options(command) if name.startswith("--")}
            negated = {f"--no-{name[2:]}" for name, value in options(command).items() if value == "BOOL"}
            self.assertEqual(offered, known | negated, command)

    def check_words(self, complete):
        """Of an option that takes one of some words, those and no others are offered: the command takes each."""
        enumerated = sorted({(command, name) for command in commands() for name, value in options(command).items()
                             if "|" in value and name.startswith("--")})
        self.assertGreater(len(enumerated), 20)
        for (command, name), offered in zip(enumerated, complete([f"flexgen {c} {name} " for c, name in enumerated])):
            self.assertEqual(offered, set(options(command)[name].split("|")))

    def test_bash_offers_what_the_place_takes(self):
        self.check(lambda lines: list(map(self.bash, lines)))

    def test_bash_offers_all_options(self):
        self.check_options(lambda lines: list(map(self.bash, lines)))

    def test_bash_offers_the_words_of_options(self):
        self.check_words(lambda lines: list(map(self.bash, lines)))

    @needs("zsh")
    def test_zsh_offers_what_the_place_takes(self):
        self.check(lambda lines: self.zsh(*lines))

    @needs("zsh")
    def test_zsh_offers_all_options(self):
        self.check_options(lambda lines: self.zsh(*lines))

    @needs("zsh")
    def test_zsh_offers_the_words_of_options(self):
        self.check_words(lambda lines: self.zsh(*lines))


if __name__ == "__main__":
    harness.main()
