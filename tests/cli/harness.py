"""What tests of the command share: running it, a tiny model that speaks text, rows of a batch.

A test program is unittest underneath and prints each case as cmocka does, so that scripts/count-tests counts
cases of both kinds alike.
"""
import argparse
import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ORACLE = os.path.join(ROOT, "tests", "oracle")
MODELS = os.path.join(ORACLE, "models")
MODEL = os.path.join(MODELS, "llama-gqa")

# Where the KV cache is: all of it on disk; on every tier; on the fake device.
ALL_ON_DISK = ("--percent", 100, 0, 0, 0, 100, 0)
SHARED = ("--percent", 100, 0, 15, 20, 100, 0)
FAKE = ("--device", "fake", "--device-memory", "64M")
# A model of every kind of attention.
ATTENTIONS = tuple(os.path.join(MODELS, name) for name in (
    "llama-gqa", "gemma3", "deepseek-v3", "gpt-oss", "llama-rope-dynamic", "opt-350m-like", "mixtral"))

flexgen = os.path.join(ROOT, "build", "flexgen")
_cache = tempfile.mkdtemp(prefix="flexgen-cli-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)


def environment(**more):
    """The user's, but with a cache of its own and nothing that colours the output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    return {**kept, "XDG_CACHE_HOME": _cache, "XDG_STATE_HOME": os.path.join(_cache, "state"), **more}


def run(*arguments, stdin=b"", timeout=300, env=None, **more):
    """Runs the command to its end; standard output and error are bytes."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    return subprocess.run([flexgen, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout,
                          env=env or environment(), **more)


def start(*arguments, **more):
    return subprocess.Popen([flexgen, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment(**more.pop("env", {})), **more)


def golden(name="llama-gqa"):
    with open(os.path.join(ORACLE, "goldens", name + ".json")) as file:
        return json.load(file)


def read_rows(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def write_rows(path, rows):
    with open(path, "w") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def row(custom_id, url="/v1/completions", **body):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "tiny", **body}}


@contextlib.contextmanager
def small_disk(size):
    """A file system of `size`; None where it cannot be mounted."""
    folder = tempfile.mkdtemp(prefix="flexgen-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], stderr=subprocess.DEVNULL)
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        os.rmdir(folder)


# ---- a tiny model with a tokenizer -----------------------------------------------------------------------------

# Letters that stand for token ids of a golden's prompt.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEMPLATE = ("{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}")


def byte_letters():
    """The printable letter that byte-level tokenizers show for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def text_model(folder, prompt_ids=(), model=MODEL):
    """Writes the tiny model with a tokenizer of single bytes, in which the text that is returned has the ids
    `prompt_ids`: what the oracle says about ids is then said about text."""
    shutil.copytree(model, folder)
    with open(os.path.join(folder, "config.json")) as file:
        vocab_size = json.load(file)["vocab_size"]
    distinct = list(dict.fromkeys(prompt_ids))
    letter_of = dict(zip(distinct, LETTERS))
    assert len(distinct) <= len(LETTERS) and not {0, 1, 2} & set(distinct)
    free = (i for i in range(3, vocab_size) if i not in letter_of)
    id_of = {letter: i for i, letter in letter_of.items()}
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for letter in byte_letters():
        vocab[letter] = id_of[letter] if letter in id_of else next(free)
    special = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for text, i in (("<unk>", 0), ("<s>", 1), ("</s>", 2))]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": []},
    }
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump(tokenizer, file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATE,
                   "tokenizer_class": "PreTrainedTokenizerFast"}, file)
    return "".join(letter_of[i] for i in prompt_ids)


# ---- test programs -----------------------------------------------------------------------------------------------

class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="flexgen-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def succeed(self, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done

    def choices(self, name, model, *options):
        """Runs in.jsonl to OUT `name`: the choices of every row, and the figures of its tokens."""
        self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                     self.path("stores"), "--deterministic-ids", "--quiet", "--overwrite", "--stats",
                     self.path("stats.json"), *options)
        with open(self.path("stats.json")) as file:
            tokens = json.load(file)["tokens"]
        return [r["response"]["body"]["choices"] for r in read_rows(self.path(name))], tokens

    def fail_with(self, code, *arguments, **more):
        """Returns the one line that it says."""
        done = run(*arguments, **more)
        said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, said)
        return said


class _Printer(unittest.TestResult):
    def _say(self, outcome, test, why=""):
        if why:
            print(why.rstrip())
        print(f"[{outcome:>9} ] {test._testMethodName}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self._say("RUN     ", test)

    def addSuccess(self, test):
        self._say("OK", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say("SKIPPED", test, f"skipped: {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("FAILED ", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._say("FAILED ", test, self.errors[-1][1])


def main():
    global flexgen
    parser = argparse.ArgumentParser()
    parser.add_argument("--flexgen", default=flexgen, help="the command")
    parser.add_argument("case", nargs="*", help="only these cases")
    arguments = parser.parse_args()
    flexgen = os.path.abspath(arguments.flexgen)
    if not os.access(flexgen, os.X_OK):
        sys.exit(f"{flexgen} is not there; run make")
    loader = unittest.defaultTestLoader
    if arguments.case:
        loader.testMethodPrefix = tuple(arguments.case)
    result = loader.loadTestsFromModule(sys.modules["__main__"]).run(_Printer())
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
