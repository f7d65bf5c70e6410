"""A Hub in a thread: what `flexgen pull` asks a real one for, and the trouble that it should get through.

Large files (by suffix) are redirected to a second server on another port, as the Hub does with its CDN. Tests
change the attributes of a Hub to make it misbehave, and read `requests` to see what it was asked.
"""
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".gguf")


def etag(name, content):
    """What the Hub calls a file's hash: SHA-256 of a large one, git's of another."""
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    def __init__(self, files, repo="org/tiny", commit=COMMIT):
        self.repo, self.commit, self.revisions = repo, commit, {"main": commit, commit: commit}
        self.files = dict(files)
        self.requests = []  # (server, method, path, headers)
        self.token = None        # what is asked for
        self.refusal = None      # (status, headers) for everything
        self.failures = []       # (status, headers) for the next requests
        self.lists_blobs = True  # sizes and hashes in the list
        self.extra = []          # entries of the list beside the files
        self.listing = None      # bytes in place of the list
        self.sent = {}           # name: other bytes than the list says
        self.etags = {}          # name: what HEAD and GET say
        self.cuts = {}           # name: [bytes after which the connection ends, for each answer]
        self.hangs = {}          # name: where nothing more comes until `released`
        self.released, self.hanging = threading.Event(), threading.Event()
        self.ranges = True       # "416": every range is refused
        self.location = None     # where large files are, in place of the CDN
        self.renamed_from = None
        self.servers = [self._serve("hub"), self._serve("cdn")]
        self.url, self.cdn = (f"http://127.0.0.1:{s.server_address[1]}" for s in self.servers)

    def _serve(self, name):
        server = _Server(("127.0.0.1", 0), _Handler)
        server.hub, server.name, server.daemon_threads = self, name, True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def close(self):
        self.released.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def asked(self, method, name):
        """The headers of requests for a file's bytes, wherever it was redirected to."""
        where = "cdn" if name.endswith(LARGE) and not self.location else "hub"
        return [h for s, m, path, h in self.requests
                if (s, m) == (where, method) and urllib.parse.unquote(path.split("?")[0]).endswith("/" + name)]

    def list(self):
        files = []
        for name, content in self.files.items():
            entry = {"rfilename": name}
            if self.lists_blobs:
                entry |= {"size": len(content), "blobId": hashlib.sha1(content).hexdigest() if name.endswith(LARGE)
                          else etag(name, content)}
                if name.endswith(LARGE):
                    entry["lfs"] = {"sha256": etag(name, content), "size": len(content), "pointerSize": 130}
            files.append(entry)
        return json.dumps({"_id": "1", "id": self.repo, "private": False, "sha": self.commit, "gated": False,
                           "siblings": files + self.extra, "config": {"model_type": "llama"}}).encode()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # clients are killed here


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        if "Content-Length" not in dict(headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        hub.requests.append((self.server.name, self.command, self.path, dict(self.headers)))
        try:
            if self.server.name == "cdn":
                self.serve_cdn(hub)
            else:
                self.serve_hub(hub)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def serve_cdn(self, hub):
        url = urllib.parse.urlsplit(self.path)
        if self.command == "HEAD" or "signed" not in url.query:
            return self.answer(403)
        name = urllib.parse.unquote(url.path)[len("/files/"):]
        self.serve_file(hub, name, {"ETag": '"of-the-cdn"'})

    def serve_hub(self, hub):
        if hub.refusal or hub.failures:
            return self.answer(*(hub.refusal or hub.failures.pop(0)))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401, {"X-Error-Message": "Invalid username or password."})
        path = urllib.parse.urlsplit(self.path).path
        if hub.renamed_from and f"/{hub.renamed_from}/" in path:
            return self.answer(307, {"Location": self.path.replace(hub.renamed_from, hub.repo), "ETag": '"moved"'})
        listed = re.fullmatch(rf"/api/models/{hub.repo}/revision/([^/]+)", path)
        found = re.fullmatch(rf"/{hub.repo}/resolve/([^/]+)/(.+)", path)
        if listed:
            return self.serve_list(hub, urllib.parse.unquote(listed[1]))
        if found:
            return self.serve_resolve(hub, urllib.parse.unquote(found[1]), urllib.parse.unquote(found[2]))
        self.answer(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def serve_list(self, hub, revision):
        if revision not in hub.revisions:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        hub.commit = hub.revisions[revision]
        self.answer(200, {"Content-Type": "application/json"}, hub.listing or hub.list())

    def serve_resolve(self, hub, commit, name):
        if hub.commit not in (commit, hub.revisions.get(commit)) or name not in hub.files:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"})
        content = hub.files[name]
        said = {"X-Repo-Commit": hub.commit}
        mark = f'"{hub.etags.get(name, etag(name, content))}"'
        if name.endswith(LARGE):
            said |= {"X-Linked-Etag": mark, "X-Linked-Size": str(len(content)), "ETag": '"of-the-pointer"'}
            where = hub.location or f"{hub.cdn}/files/{urllib.parse.quote(name)}?signed=1"
            return self.answer(302, said | {"Location": where})
        self.serve_file(hub, name, said | {"ETag": "W/" + mark})

    def serve_file(self, hub, name, headers):
        content = hub.sent.get(name, hub.files[name])
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and hub.ranges == "416":
            return self.answer(416)
        begin = int(wanted[1]) if wanted and hub.ranges else 0
        body = content[begin:]
        if wanted and hub.ranges:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        headers["Content-Length"] = str(len(body))
        cut = hub.cuts[name].pop(0) if self.command == "GET" and hub.cuts.get(name) else None
        hang = max(hub.hangs[name] - begin, 0) if self.command == "GET" and name in hub.hangs else None
        if cut is None and hang is None:
            return self.answer(206 if "Content-Range" in headers else 200, headers, body)
        self.answer(206 if "Content-Range" in headers else 200, headers, body[:hang if cut is None else cut])
        self.wfile.flush()
        if cut is None:
            hub.hanging.set()
            hub.released.wait(60)
            self.wfile.write(body[hang:])
        else:
            self.close_connection = True


def wait_until(true, seconds=60):
    """Until a condition holds that another process or thread brings about."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("it did not come about")
        time.sleep(0.005)
