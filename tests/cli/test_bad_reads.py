"""A disk that fails or gives less than was asked for: a clear error, no finished row lost, no result changed."""
import os
import re

import harness
import job
from harness import Case, run, write_rows

# Beside the command, as CMake puts it.
SHIM = "tests/cli/bad_read.so"


class BadReads(Case):
    def setUp(self):
        super().setUp()
        write_rows(self.path("in.jsonl"), job.rows(60))
        self.succeed("pack", harness.MODEL, "--store", self.folder)

    # All weights are read again in every step, so that reads go on as long as the job.
    def job(self, target):
        return job.command(self.folder, self.path("in.jsonl"), self.path(target), "--io", "threads",
                           "--percent", "0", "0", "100", "0", "100", "0")

    def bad(self, target, **shim):
        preload = os.path.join(os.path.dirname(os.path.abspath(harness.flexgen)), SHIM)
        self.assertTrue(os.path.exists(preload), preload)
        # A sanitizer's library is then not the first one; it does not mind.
        env = harness.environment(LD_PRELOAD=preload, ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0", **shim)
        return run(*self.job(target), env=env)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def undisturbed(self):
        self.succeed(*self.job("whole.jsonl"))
        return self.read("whole.jsonl")

    def test_read_error_in_the_middle_loses_no_finished_row(self):
        whole = self.undisturbed()
        failed = self.bad("out.jsonl", BAD_READ_AFTER="4000")
        message = failed.stderr.decode()
        self.assertEqual(failed.returncode, 1, message)
        self.assertRegex(message, r"\.fgstore: .*[Ii]nput/output error")
        self.assertEqual(len(message.strip().splitlines()), 1, message)
        before = self.read("out.jsonl")
        self.assertTrue(before and whole.startswith(before) and before != whole, "the error came in the middle")
        self.succeed(*self.job("out.jsonl"))
        self.assertEqual(self.read("out.jsonl"), whole)

    def test_read_error_at_the_start_is_one_line(self):
        failed = self.bad("out.jsonl", BAD_READ_AFTER="0")
        self.assertEqual(failed.returncode, 1)
        self.assertTrue(re.search(r"\.fgstore", failed.stderr.decode()), failed.stderr)

    def test_short_reads_change_nothing(self):
        whole = self.undisturbed()
        done = self.bad("out.jsonl", BAD_READ_AFTER="0", BAD_READ_SHORT="1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.read("out.jsonl"), whole)


if __name__ == "__main__":
    harness.main()
