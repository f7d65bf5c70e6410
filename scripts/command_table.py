"""The commands and options of a built flexgen, as it lists them itself (flexgen --table): what scripts/man-pages and
scripts/completions are made from, so that neither can say anything else than --help.
"""
import dataclasses
import subprocess


@dataclasses.dataclass
class Option:
    name: str
    letter: str  # "" = none
    argument: str  # as --help shows it; "" = takes none
    own: bool  # of this command and at most one other
    help: str

    @property
    def names(self):
        return ([f"-{self.letter}"] if self.letter else []) + [f"--{self.name}"]

    @property
    def is_bool(self):
        """True or false, with a value that may be missing and a --no-NAME."""
        return self.argument == "BOOL"

    @property
    def words(self):
        """The values of an enumeration."""
        return enumeration(self.argument)


@dataclasses.dataclass
class Command:
    name: str
    arguments: str
    summary: str
    options: list

    @property
    def words(self):
        """What its first argument may be, where only some words may."""
        return enumeration(self.arguments.split()[0]) if self.arguments else []


def enumeration(argument):
    return argument.split("|") if "|" in argument and " " not in argument else []


def read(flexgen):
    """All commands, in the order of --help."""
    commands = []
    listed = subprocess.run([flexgen, "--table"], check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        kind, *fields = line.split("\t")
        if kind == "command":
            commands.append(Command(*fields, options=[]))
        else:
            name, letter, argument, group, text = fields
            commands[-1].options.append(Option(name, letter, argument, group == "own", text))
    return commands
