"""A job that is asked to stop, or finds its disk full, loses nothing that was finished."""
import json
import os
import signal
import subprocess
import time

import harness
import job
from harness import Case, run, small_disk, write_rows


class Interrupt(Case):
    def setUp(self):
        super().setUp()
        write_rows(self.path("in.jsonl"), job.rows())
        self.succeed("pack", harness.MODEL, "--store", self.folder)  # so that only the job itself takes time

    def job(self, target, *options):
        return job.command(self.folder, self.path("in.jsonl"), target, *options)

    def undisturbed(self):
        self.succeed(*self.job(self.path("whole.jsonl")))
        return self.read("whole.jsonl")

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def stop_by(self, number, *options):
        if os.path.exists(self.path("out.jsonl")):
            os.remove(self.path("out.jsonl"))
        child = harness.start(*self.job(self.path("out.jsonl"), *options))
        while child.poll() is None and job.finished_rows(self.path("out.jsonl")) < 20:
            time.sleep(0.002)
        child.send_signal(number)
        child.communicate(timeout=60)
        return child.returncode

    def test_first_signal_ends_the_job_with_all_finished_rows(self):
        whole = self.undisturbed()
        for number in (signal.SIGINT, signal.SIGTERM):
            # a shell shows 130 and 143
            self.assertEqual(self.stop_by(number, "--stats", self.path("stats.json")), -number)
            part = self.read("out.jsonl")
            self.assertTrue(whole.startswith(part) and len(part) < len(whole) and part.endswith(b"\n"))
            with open(self.path("stats.json")) as file:
                self.assertEqual(json.load(file)["outcome"], "interrupted")
            self.succeed(*self.job(self.path("out.jsonl"), "--resume"))
            self.assertEqual(self.read("out.jsonl"), whole)

    def test_second_signal_ends_at_once(self):
        child = harness.start(*self.job(self.path("out.jsonl")))
        while child.poll() is None and job.finished_rows(self.path("out.jsonl")) < 20:
            time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGINT)

    def test_packing_can_be_interrupted(self):
        child = harness.start("pack", "opt-1.3b", "--synthetic", "--store", self.path("packed"))
        while child.poll() is None and not (os.path.isdir(self.path("packed")) and os.listdir(self.path("packed"))):
            time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGINT)
        self.assertEqual(os.listdir(self.path("packed")), [])

    def test_closed_pipe_ends_quietly(self):
        child = subprocess.Popen([harness.flexgen, *self.job("-")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=harness.environment())
        child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
        child.stderr.close()
        self.assertEqual((child.wait(60), said), (-signal.SIGPIPE, b""))

    def test_full_disk_loses_no_row(self):
        whole = self.undisturbed()
        with small_disk("48k") as disk:
            if not disk:
                self.skipTest("mounting a small tmpfs needs root")
            target = os.path.join(disk, "out.jsonl")
            done = run(*self.job(target))
            self.assertEqual(done.returncode, 1, done.stderr.decode())
            self.assertIn(b"No space left", done.stderr)
            finished = job.finished_rows(target)
            self.assertGreater(finished, 0)
            subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
            self.succeed(*self.job(target, "--resume"))
            with open(target, "rb") as file:
                self.assertEqual(file.read(), whole)


if __name__ == "__main__":
    harness.main()
