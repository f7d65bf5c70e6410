"""The page about a run: it holds the figures and nothing from elsewhere, whatever these say."""
import html.parser
import json
import os
import re

import harness
from harness import Case, row, write_rows

HOSTILE = ["</script><script>document.title='taken'</script>", "<!--<script>", "<img src=x onerror=alert(1)>", "]]>",
           "\u2028\u2029", "\x01\x1f", "&lt;/script&gt;", "/*SCRIPT*/", "\U0001f600", "'\"`${1}"]


class Page(html.parser.HTMLParser):
    """Scripts of a page, whether it takes anything from elsewhere, and its balance of elements."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.scripts, self.attributes, self.texts, self.open = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.open.append(tag)
        if tag == "script":
            self.scripts.append(dict(attributes))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            name = self.scripts[-1].get("id", "code")
            self.texts[name] = self.texts.get(name, "") + data
        elif self.open and self.open[-1] == "style":
            self.texts["style"] = data


class Report(Case):
    def stats(self):
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=[5 + i, 9, 200, 31], max_tokens=12, temperature=0)
                                           for i in range(10)])
        self.succeed("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--stats",
                     self.path("stats.json"), "--quiet", "--overwrite", "--max-num-seqs", 3, "--max-model-len", 64)
        with open(self.path("stats.json")) as file:
            return json.load(file)

    def report(self, stats):
        with open(self.path("made.json"), "w") as file:
            json.dump(stats, file)
        self.succeed("report", self.path("made.json"), "-o", self.path("page.html"))
        with open(self.path("page.html"), encoding="utf-8", newline="") as file:
            return file.read()

    def test_the_timeline_adds_up_to_the_sums(self):
        stats = self.stats()
        line = stats["timeline"]
        self.assertEqual(len(set(map(len, line.values()))), 1)
        self.assertLessEqual(len(line["seconds"]), 241)
        self.assertEqual(line["seconds"], sorted(line["seconds"]))
        self.assertEqual(line["seconds"][0], 0)
        tokens, disk = stats["tokens"], stats["tiers"]["disk"]
        for name, total in (("steps", tokens["steps"]), ("prompt_tokens", tokens["prompt"]),
                            ("generated_tokens", tokens["generated"]), ("prompt_tokens_shared", tokens["prompt_shared"]),
                            ("read_bytes", disk["read_bytes"]), ("written_bytes", disk["written_bytes"])):
            self.assertEqual(line[name], sorted(line[name]))
            self.assertEqual(line[name][-1], total, name)
        self.assertLessEqual(max(line["host_bytes"]), stats["tiers"]["host"]["peak_bytes"])
        self.assertLessEqual(max(line["process_bytes"]), stats["tiers"]["host"]["process_peak_bytes"])
        self.assertEqual(max(line["running"]), 3)

    def test_the_last_steps_are_the_runs(self):
        stats = self.stats()
        steps = stats["last_steps"]
        self.assertEqual(len(steps), min(64, stats["tokens"]["steps"]))
        self.assertEqual(sum(s["generated_tokens"] for s in steps), stats["tokens"]["generated"])
        self.assertEqual(max(s["rows"] for s in steps), 3)
        for before, after in zip(steps, steps[1:]):
            self.assertGreaterEqual(after["begin_s"], before["begin_s"] + before["step_s"] - 1e-6)

    def test_the_page_holds_the_figures(self):
        stats = self.stats()
        page = Page(self.report(stats))
        self.assertEqual(json.loads(page.texts["data"]), stats)
        self.assertEqual(json.loads(page.texts["live"]), "")

    def test_the_page_loads_nothing(self):
        text = self.report(self.stats())
        page = Page(text)
        taken = [(tag, name, value) for tag, name, value in page.attributes
                 if name in ("src", "href", "srcset", "action", "data") and value != "data:,"]
        self.assertEqual(taken, [])
        self.assertNotRegex(page.texts["style"], r"url\(|@import")
        self.assertNotRegex(page.texts["code"], r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|eval\(|document\.write")
        self.assertIn("default-src 'none'", text)

    def test_hostile_strings_stay_strings(self):
        for text in HOSTILE:
            stats = {"model": {"name": text, text: text}, "phases": {}, "tokens": {text: [text]}, "tiers": {}}
            page = Page(self.report(stats))
            self.assertEqual(json.loads(page.texts["data"]), stats)
            self.assertEqual([s.get("id") for s in page.scripts], ["data", "live", None])
            self.assertEqual(page.open, [])

    def test_all_of_one_file_whatever_it_says(self):
        stats = {"model": {}, "phases": {}, "tokens": {}, "tiers": {}, "timeline": {"seconds": "soon"}, "huge": 1e300,
                 "deep": json.loads("[" * 500 + "]" * 500)}
        self.assertEqual(json.loads(Page(self.report(stats)).texts["data"]), stats)

    def test_standard_input_and_output(self):
        stats = {"model": {}, "phases": {}, "tokens": {}, "tiers": {}}
        done = self.succeed("report", "-", "-o", "-", stdin=json.dumps(stats))
        self.assertEqual(json.loads(Page(done.stdout.decode()).texts["data"]), stats)
        self.assertEqual(done.stderr, b"")

    def test_what_is_no_stats_is_refused_in_one_line(self):
        for content, why in (("[1]", 'has no object "model"'), ("{", "made.json:1"), ('{"model": 3}', '"model"'),
                             ('{"model": {}, "phases": {}, "tokens": {}}', '"tiers"'), ("", "made.json")):
            with open(self.path("made.json"), "w") as file:
                file.write(content)
            said = self.fail_with(1, "report", self.path("made.json"), "-o", self.path("page.html"))
            self.assertIn(why, said)
            self.assertEqual(said.count("\n"), 1)
        self.assertFalse(os.path.exists(self.path("page.html")))

    def test_usage(self):
        self.assertIn("STATS.json is missing", self.fail_with(2, "report", "-o", "x"))
        self.assertIn("-o PAGE.html is missing", self.fail_with(2, "report", "x"))
        self.assertIn("one too many", self.fail_with(2, "report", "x", "y", "-o", "z"))
        self.assertIn("nowhere", self.fail_with(1, "report", self.path("nowhere"), "-o", self.path("z")))
        self.assertEqual(re.findall("unreal", self.fail_with(1, "report", "-", "-o", self.path("unreal/z"), stdin=json.dumps(
            {"model": {}, "phases": {}, "tokens": {}, "tiers": {}}))), ["unreal"])


if __name__ == "__main__":
    harness.main()
