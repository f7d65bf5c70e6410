"""Lists of requests as one batch job, as the plug-ins for evaluation harnesses run them."""
import os
import shutil
import unittest.mock

from package import PackageCase
import flexgen
import harness
from harness import MODEL
from flexgen.jobs import run_job


def bodies(count=5):
    return [{"prompt": [5 + i, 6, 7], "max_tokens": 3, "temperature": 0, "return_token_ids": True} for i in range(count)]


def tokens(answers):
    return [answer["choices"][0]["token_ids"] for answer in answers]


class Jobs(PackageCase):
    def counted(self, **options):
        command = self.script("counted", f'echo "$1" >> {self.path("started")}\nexec {harness.flexgen} "$@"\n')
        return self.engine(command=command, **options)

    def run_job(self, engine, asked, **more):
        return list(run_job(engine, asked, progress=False, **more))

    def test_answers_are_those_of_generate_in_order(self):
        engine = self.engine()
        wanted = engine.generate([body["prompt"] for body in bodies()], max_tokens=3)
        self.assertEqual(tokens(self.run_job(engine, bodies())), [result.token_ids for result in wanted])

    def test_nothing_to_ask_starts_nothing(self):
        engine = self.counted()
        self.assertEqual(self.run_job(engine, []), [])
        self.assertEqual(self.lines("started"), ["inspect"])

    def test_a_request_that_cannot_be_answered_is_named(self):
        with self.assertRaisesRegex(flexgen.RequestError, "request 1: .*99999") as caught:
            self.run_job(self.engine(), [*bodies(1), {"prompt": [99999]}])
        self.assertEqual(caught.exception.index, 1)

    def test_a_finished_job_is_not_run_again(self):
        engine = self.counted()
        first = self.run_job(engine, bodies(), folder=self.path("work"))
        self.assertEqual(self.run_job(engine, bodies(), folder=self.path("work")), first)
        self.assertEqual(self.lines("started"), ["inspect", "batch"])

    def test_other_requests_options_or_models_are_another_job(self):
        self.run_job(self.counted(), bodies(), folder=self.path("work"))
        self.run_job(self.counted(), bodies(4), folder=self.path("work"))
        self.run_job(self.counted(dtype="bf16"), bodies(), folder=self.path("work"))
        model = self.path("model")
        shutil.copytree(MODEL, model)
        self.run_job(self.counted(model=model), bodies(), folder=self.path("work"))
        os.utime(os.path.join(model, "config.json"), (1, 1))
        self.run_job(self.counted(model=model), bodies(), folder=self.path("work"))
        self.assertEqual(self.lines("started").count("batch"), 5)

    def test_a_job_that_was_stopped_goes_on(self):
        wanted = self.run_job(self.engine(), bodies())
        # The first run is ended by the system in the middle of the file: it may write 1024 bytes.
        command = self.script("ended", f'[ "$1" = inspect ] || [ -e {self.path("ended-once")} ] || '
                                       f'{{ touch {self.path("ended-once")}; ulimit -f 2; }}\n'
                                       f'echo "$1" >> {self.path("started")}\nexec {harness.flexgen} "$@"\n')
        engine = self.engine(command=command)
        with self.assertRaises(flexgen.EngineError):
            self.run_job(engine, bodies(), folder=self.path("work"))
        target = next(name for name in os.listdir(self.path("work")) if name.endswith(".out.jsonl"))
        with open(os.path.join(self.path("work"), target)) as file:
            safe = [line for line in file if line.endswith("\n")]
        self.assertIn(len(safe), range(1, 5))
        whole = self.run_job(engine, bodies(), folder=self.path("work"))
        self.assertEqual(tokens(whole), tokens(wanted))
        self.assertIn(whole[0]["id"], safe[0])  # not asked again
        self.assertEqual(self.lines("started").count("batch"), 2)

    def test_without_a_folder_nothing_is_left(self):
        os.mkdir(self.path("tmp"))
        with unittest.mock.patch("tempfile.tempdir", self.path("tmp")):
            self.assertEqual(len(self.run_job(self.engine(), bodies())), 5)
        self.assertEqual(os.listdir(self.path("tmp")), [])


if __name__ == "__main__":
    harness.main()
