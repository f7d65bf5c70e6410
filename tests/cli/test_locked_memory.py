"""Buffers that the kernel may not pin: said once, shown in the figures, and nothing else changes."""
import ctypes
import json
import os
import resource

import harness
from harness import Case, read_rows, row, write_rows

PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14
LOCKED = 64 << 10
NOTE = b"did not register"


def limit_locked_memory():
    """Little may be locked: kernels that count the ring itself still make one."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (LOCKED, LOCKED))
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot drop CAP_IPC_LOCK")


class LockedMemory(Case):
    def setUp(self):
        super().setUp()
        write_rows(self.path("in.jsonl"), [row("a", prompt=[5, 6, 7], max_tokens=4, temperature=0)])

    # All weights from disk. Returns what it says and its figures.
    def streamed(self, target, *options, **more):
        said = self.succeed("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path(target), "--dtype",
                            "f32", "--offload-dir", self.path("stores"), "--percent", "0", "0", "100", "0", "100",
                            "0", "--stats", self.path("stats.json"), *options, **more).stderr
        with open(self.path("stats.json")) as file:
            return said, json.load(file)

    def test_a_refusal_is_said_and_shown_and_changes_no_result(self):
        said, figures = self.streamed("free.jsonl")
        if figures["model"]["io"] != "io_uring" or figures["tiers"]["disk"]["registered_bytes"] == 0:
            self.skipTest("no registered buffers here")
        self.assertNotIn(NOTE, said)
        said, figures = self.streamed("forbidden.jsonl", preexec_fn=limit_locked_memory)
        if figures["model"]["io"] != "io_uring":
            self.skipTest("no io_uring with so little locked memory")
        self.assertEqual(said.count(NOTE), 1, said)
        self.assertIn(b"ulimit -l", said)
        self.assertEqual(figures["tiers"]["disk"]["registered_bytes"], 0)
        self.assertEqual(*[read_rows(self.path(name))[0]["response"]["body"]["choices"]
                           for name in ("forbidden.jsonl", "free.jsonl")])

    def test_quiet_says_nothing_of_it(self):
        said, _ = self.streamed("quiet.jsonl", "--quiet", preexec_fn=limit_locked_memory)
        self.assertNotIn(NOTE, said)

    def test_threads_have_nothing_to_register(self):
        said, figures = self.streamed("threads.jsonl", "--io", "threads", preexec_fn=limit_locked_memory)
        self.assertNotIn(NOTE, said)
        self.assertEqual(figures["tiers"]["disk"]["registered_bytes"], 0)


if __name__ == "__main__":
    harness.main()
