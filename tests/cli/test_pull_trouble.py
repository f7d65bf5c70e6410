"""flexgen pull: what goes wrong on the way, and that nothing wrong stays in the cache."""
import json
import os
import shutil
import signal

import fake_hub
import harness
from fake_hub import wait_until
from harness import run, small_disk
from pull_case import FILES, WEIGHTS, PullCase

BIG = "model.safetensors"


class Resume(PullCase):
    def ranges(self, name=BIG):
        return [h.get("Range") for h in self.hub.asked("GET", name)]

    def half_way(self, *arguments, **more):
        """A pull of which half of the weights are on disk and no more comes."""
        self.hub.hangs[BIG] = len(WEIGHTS) // 2
        self.hub.hanging.clear()
        child = self.start(*arguments, **more)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        wait_until(lambda: self.hub.hanging.is_set() and os.path.exists(self.blob(BIG, ".incomplete"))
                   and os.path.getsize(self.blob(BIG, ".incomplete")) == len(WEIGHTS) // 2)
        return child

    def test_killed_pull_goes_on_where_it_was(self):
        child = self.half_way()
        child.kill()
        child.wait()
        self.assertFalse(os.path.exists(os.path.join(self.repo, "refs", "main")))
        self.hub.hangs.clear()
        self.hub.released.set()
        self.hub.requests.clear()
        self.check(self.pull())
        self.assertEqual(self.ranges(), [f"bytes={len(WEIGHTS) // 2}-"])

    def test_interrupted_pull_says_what_is_kept(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            child = self.half_way()
            child.send_signal(number)
            _, said = child.communicate(timeout=60)
            self.assertEqual(child.returncode, -number)
            self.assertIn(b"interrupted; 150 KiB of 302 KiB are kept", said)
        self.hub.hangs.clear()
        self.check(self.pull())

    def test_broken_connection_is_taken_up(self):
        self.hub.cuts[BIG] = [1000, 0, 5000, 1]
        self.check(self.pull())
        self.assertEqual(self.ranges(), [None, "bytes=1000-", "bytes=1000-", "bytes=6000-", "bytes=6001-"])

    def test_broken_list_is_asked_for_again(self):
        self.hub.failures = [(503, {}), (500, {}), (429, {"Retry-After": "1"})]
        self.check(self.pull())

    def test_silent_server_is_given_up_and_asked_again(self):
        child = self.half_way(HF_HUB_DOWNLOAD_TIMEOUT="1")
        self.hub.hangs.clear()
        _, said = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, said)
        self.check(os.path.join(self.repo, "snapshots", fake_hub.COMMIT))

    def test_server_that_knows_no_ranges_starts_again(self):
        self.hub.ranges = False
        self.hub.cuts[BIG] = [100000, 200000]
        self.check(self.pull())
        self.assertEqual(self.ranges(), [None, "bytes=100000-", "bytes=200000-"])

    def test_server_that_refuses_ranges_starts_again(self):
        self.hub.ranges = "416"
        self.leave(BIG, WEIGHTS[:100])
        self.check(self.pull())
        self.assertEqual(self.ranges(), ["bytes=100-", None])

    def test_complete_beginning_needs_no_request(self):
        self.leave(BIG, WEIGHTS)
        self.check(self.pull())
        self.assertEqual(self.ranges(), [])

    def test_damaged_beginning_is_replaced(self):
        for left in (b"x" * 5000, b"x" * len(WEIGHTS), WEIGHTS + b"x"):
            self.leave(BIG, left)
            self.check(self.pull())
            os.unlink(self.blob(BIG))

    def test_blobs_without_links_are_not_downloaded_again(self):
        self.pull()
        shutil.rmtree(os.path.join(self.repo, "snapshots"))
        os.unlink(os.path.join(self.repo, "refs", "main"))
        self.hub.requests.clear()
        self.check(self.pull())
        self.assertEqual(len(self.hub.requests), 1)

    def test_blob_of_another_size_is_replaced(self):
        self.pull()
        os.truncate(self.blob(BIG), 10)
        self.check(self.pull())

    def test_two_at_once_share_the_work(self):
        first = self.half_way()
        second = self.start()
        said = second.stderr.readline()
        self.assertIn(b"another process downloads it", said)
        self.hub.released.set()
        self.assertEqual([child.wait(60) for child in (first, second)], [0, 0])
        second.communicate()
        self.check(os.path.join(self.repo, "snapshots", fake_hub.COMMIT))
        self.assertEqual(len(self.ranges()), 1)

    def test_server_that_never_delivers_is_given_up(self):
        self.hub.cuts[BIG] = [0] * 99
        said = self.refuse()
        self.assertIn("6 tries", said)
        self.assertEqual(len(self.ranges()), 6)


class Wrong(PullCase):
    def nothing_of(self, name):
        blobs = os.listdir(os.path.join(self.repo, "blobs"))
        self.assertEqual([b for b in blobs if b.startswith(fake_hub.etag(name, FILES[name]))], [])
        self.assertFalse(os.path.exists(os.path.join(self.repo, "refs", "main")))

    def test_wrong_contents_do_not_stay(self):
        for name in (BIG, "tokenizer.json"):
            self.hub.sent[name] = FILES[name][:-1] + b"?"
            self.assertIn(name + ": what came is not what the Hub's hash says", self.refuse())
            self.nothing_of(name)
            del self.hub.sent[name]
        self.check(self.pull())

    def test_other_length_is_refused(self):
        for sent in (WEIGHTS[:-1], WEIGHTS + b"more"):
            self.hub.sent[BIG] = sent
            self.assertIn("the Hub's list says 307200", self.refuse())
        self.hub.sent.clear()
        self.check(self.pull())

    def test_hostile_names_stay_outside(self):
        hostile = ["../up", "../../../../up", "/tmp/flexgen-pull-up", "a/../../up", "./here", "a//b", "back\\slash",
                   "line\nbreak", "bell\x07", "c1\x85", "", ".", "..", "x" * 300, "d/" * 900 + "deep"]
        self.hub.extra = [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in hostile]
        self.hub.files = {"config.json": b"{}", ".gitattributes": b"", "sp ace%41?#.txt": b"1", "\u4e2d/\u6587": b"2"}
        done = self.succeed("pull", "org/tiny", "*", env=self.env)
        self.check(done.stdout.decode().strip("\n"), set(self.hub.files))
        self.assertIn(b"15 files whose names cannot be used here are passed over: ../up\n", done.stderr)
        self.assertEqual(set(os.listdir(self.folder)), {"hub"})

    def test_file_cannot_be_a_folder_as_well(self):
        self.hub.files = {"a": b"1", "a/b": b"2"}
        self.refuse("org/tiny", "*")
        self.assertEqual(self.content(os.path.join(self.repo, "snapshots")), {fake_hub.COMMIT + "/a": b"1"})

    def test_hostile_lists_are_refused(self):
        entry = {"rfilename": "config.json", "size": 2, "blobId": "0" * 40}
        good = {"sha": fake_hub.COMMIT, "siblings": [entry]}
        for bad in (good | {"sha": "../../../up"}, good | {"sha": "main"}, good | {"siblings": [entry, entry]},
                    {"sha": fake_hub.COMMIT}, good | {"siblings": {}}, good | {"siblings": [{"size": 2}]},
                    good | {"siblings": [entry | {"size": 1 << 70}]}, [], "x"):
            self.hub.listing = json.dumps(bad).encode()
            self.refuse("org/tiny", "*")
        for bad in (b"<html>", b"{" * 100000, json.dumps(good).encode()[:-1], b"\xff\xfe"):
            self.hub.listing = bad
            self.refuse("org/tiny", "*")
        self.assertFalse(os.path.exists(self.cache))

    def test_endless_list_is_refused(self):
        self.hub.listing = b" " * (65 << 20)
        self.assertIn("more than", self.refuse())

    def test_hostile_tag_names_no_blob(self):
        self.hub.lists_blobs = False
        for tag in ("../../up", "a/b", "", ".hidden", "x" * 200):
            self.hub.etags["config.json"] = tag
            self.assertIn("neither hash nor size", self.refuse("org/tiny", "config.json"))
        self.assertFalse(os.path.exists(self.cache))

    def test_sizes_beyond_the_disk_are_refused_before(self):
        self.hub.extra = [{"rfilename": "huge", "size": (1 << 63) + 5, "blobId": "0" * 40}]
        self.assertIn("are free in " + self.cache, self.refuse("org/tiny", "huge"))
        self.hub.extra.append({"rfilename": "more", "size": (1 << 63), "blobId": "1" * 40})
        self.assertIn("64 bits", self.refuse("org/tiny", "huge", "more"))

    def test_full_disk_keeps_what_came(self):
        with small_disk("512k") as disk:
            if not disk:
                self.skipTest("mounting a small tmpfs needs root")
            self.cache = disk
            self.repo = os.path.join(disk, "models--org--tiny")
            self.hub.hangs[BIG] = 100000
            child = self.start()
            self.addCleanup(child.communicate)
            self.addCleanup(child.kill)
            wait_until(self.hub.hanging.is_set)
            with open(os.path.join(disk, "another"), "wb") as file:
                file.write(b"x" * (330 << 10))
            self.hub.released.set()
            _, said = child.communicate(timeout=60)
            self.assertEqual(child.returncode, 1)
            self.assertIn(b"No space left on device; what came is kept", said)
            kept = os.path.getsize(self.blob(BIG, ".incomplete"))
            self.assertGreaterEqual(kept, 100000)
            self.assertIn(b" are free in ", run("pull", "org/tiny", env=self.environment()).stderr)
            os.unlink(os.path.join(disk, "another"))
            self.hub.hangs.clear()
            self.check(self.pull())


class Access(PullCase):
    def tokens(self, server):
        return {h.get("Authorization") for s, _, _, h in self.hub.requests if s == server}

    def test_token_goes_to_the_hub_alone(self):
        self.hub.token = "hf_secret"
        self.hub.cuts[BIG] = [1000]
        self.check(self.pull(HF_TOKEN=" hf_secret\n"))
        self.assertEqual((self.tokens("hub"), self.tokens("cdn")), ({"Bearer hf_secret"}, {None}))

    def test_token_stays_with_the_hub_over_a_relative_redirect(self):
        self.hub.token = "hf_secret"
        self.hub.renamed_from = "old/name"
        folder = self.pull("old/name", HF_TOKEN="hf_secret")
        self.assertEqual(self.content(folder)[BIG], WEIGHTS)
        self.assertEqual((self.tokens("hub"), self.tokens("cdn")), ({"Bearer hf_secret"}, {None}))
        self.hub.lists_blobs = False
        self.hub.files["config.json"] = b"new"
        self.assertEqual(self.content(self.pull("old/name", HF_TOKEN="hf_secret"))["config.json"], b"new")

    def test_token_is_read_from_the_file_of_hf_auth_login(self):
        self.hub.token = "hf_of_a_file"
        os.makedirs(self.path("home"))
        with open(self.path("home/token"), "w") as file:
            file.write("hf_of_a_file\n")
        self.pull()
        self.assertIn("refuses the token", self.refuse(HF_TOKEN="hf_other"))
        self.assertIn("private", self.refuse(HF_HUB_DISABLE_IMPLICIT_TOKEN="1"))

    def test_token_with_a_line_break_is_refused_unshown(self):
        said = self.refuse(HF_TOKEN="hf_a\r\nX-Evil: 1")
        self.assertIn("HF_TOKEN holds no token", said)
        self.assertNotIn("hf_a", said)

    def test_refusals_say_what_to_do(self):
        for status, headers, token, parts in (
                (401, {}, "", ("no model org/tiny", "HF_TOKEN if it is private")),
                (401, {"X-Error-Code": "RepoNotFound"}, "t", ("no model org/tiny", "this token")),
                (401, {}, "t", ("refuses the token", self.hub.url + "/settings/tokens")),
                (401, {"X-Error-Code": "GatedRepo"}, "", (f"accept its licence at {self.hub.url}/org/tiny", "HF_TOKEN")),
                (403, {"X-Error-Code": "GatedRepo"}, "t", ("gated", "that account")),
                (403, {"X-Error-Message": "Not for you."}, "t", ("refused (403): Not for you.", "HF_TOKEN")),
                (404, {"X-Error-Code": "RevisionNotFound"}, "", ("no revision 'main'",)),
                (404, {}, "", ("no model org/tiny",)),
                (429, {"Retry-After": "3600"}, "", ("too many requests", "in 3600 s", "set HF_TOKEN")),
                (418, {"X-Error-Message": "tea\x1b[2J"}, "", ("418", "does HF_ENDPOINT name a Hub?")),
        ):
            self.hub.refusal = (status, headers)
            said = self.refuse(HF_TOKEN=token)
            for part in parts:
                self.assertIn(part, said)
            self.assertNotIn("\x1b", said)

    def test_file_that_is_gone_is_named(self):
        self.hub.extra = [{"rfilename": "gone.json", "size": 3, "blobId": "0" * 40}]
        self.assertIn("no file gone.json", self.refuse("org/tiny", "gone.json"))

    def test_lasting_trouble_is_told_after_some_tries(self):
        self.hub.refusal = (503, {})
        self.assertIn("has trouble (503)", self.refuse())
        self.assertEqual(len(self.hub.requests), 6)

    def test_redirects_end(self):
        for where in ("/org/tiny/resolve/{0}/model.safetensors".format(fake_hub.COMMIT), "file:///etc/passwd",
                      "gopher://127.0.0.1/"):
            self.hub.location = where
            self.refuse("org/tiny", BIG)
            self.assertLess(len(self.hub.requests), 20)
            self.assertFalse(os.path.exists(self.blob(BIG)))


if __name__ == "__main__":
    harness.main()
