"""A small server that speaks the Hugging Face Hub's HTTP protocol, as far as its client uses it.

Everything is in memory. Faults are rules: the next requests whose method and path match are
answered with a status, delayed, or cut off. Run it as a program to have it in a process of its own:
`python hub_server.py PORT_FILE` writes its port there and serves until it is killed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

KINDS = {"models": "", "datasets": "datasets/"}


@dataclass
class Commit:
    oid: str
    files: dict[str, bytes]
    message: str


@dataclass
class Repo:
    name: str
    owner: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], message: str, branch: str) -> Commit:
        seed = f"{self.name}{len(self.commits)}{message}".encode()
        made = Commit(hashlib.sha1(seed, usedforsecurity=False).hexdigest(), files, message)
        self.commits[made.oid] = made
        if branch.startswith("refs/pr/"):
            self.pulls[branch] = made.oid
        else:
            self.branches[branch] = made.oid
        return made

    def at(self, revision: str) -> Commit | None:
        known = {**self.commits}
        oid = self.branches.get(revision) or self.tags.get(revision) or self.pulls.get(revision)
        return known.get(oid or revision)


@dataclass
class Fault:
    """What happens to the next `times` requests that match.

    Attributes:
        status: Answer with this and nothing else; 0 answers normally.
        cut_after: Close the connection after so many bytes of the body.
        delay: Seconds before each piece of the body.
    """

    method: str
    path: str
    status: int = 0
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    delay: float = 0.0
    hits: int = 0


class HubServer:
    """The hub; `with HubServer() as hub: hub.url`."""

    def __init__(self, port: int = 0) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.tokens = {"hf_owner": "org", "hf_guest": "guest"}
        self.xet = False  # whether it offers the newer storage, which it does not have
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.lock = threading.RLock()
        hub = self

        class Bound(_Handler):
            server_hub = hub

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Bound)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def fault(self, method: str, path: str, status: int = 0, **options) -> Fault:
        made = Fault(method, path, status, **options)
        self.faults.append(made)
        return made

    def repo(self, name: str, kind: str = "models") -> Repo:
        return self.repos[kind, name]

    def put_repo(self, name: str, files: dict[str, bytes], **options) -> Repo:
        """A repository with one commit, without going through HTTP."""
        made = Repo(name, name.split("/")[0], **options)
        made.commit(dict(files), "initial", "main")
        self.repos["models", name] = made
        return made

    def asked(self, method: str, pattern: str) -> int:
        return sum(m == method and bool(re.search(pattern, p)) for m, p, _ in self.requests)


def use(
    monkeypatch, hub: HubServer, folder: Path, token: str = "hf_owner", *, xet: bool = False
) -> None:
    """Point the client in this process at the hub, with a cache and no stored login in `folder`."""
    import transformers.utils.hub as library
    from huggingface_hub import constants, file_download

    monkeypatch.setenv("HF_TOKEN", token)
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_HUB_DISABLE_XET": not xet,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
        if hasattr(file_download, name):  # some are bound there when it is imported
            monkeypatch.setattr(file_download, name, value)
    if hasattr(library, "TRANSFORMERS_CACHE"):  # transformers 4 bound it there, too
        monkeypatch.setattr(library, "TRANSFORMERS_CACHE", str(folder / "cache"))


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # -- plumbing

    def _serve(self) -> None:
        hub = self.server_hub
        parts = urlsplit(self.path)
        self.route = parts.path
        self.query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.body = self._read_body()
        with hub.lock:
            hub.requests.append((self.command, self.path, dict(self.headers)))
            self.fault = next((f for f in hub.faults if self._meets(f)), None)
            if self.fault:
                self.fault.hits += 1
        if self.fault and self.fault.status:
            self._json(self.fault.status, {"error": "fault"}, self.fault.headers)
            return
        authorization = self.headers.get("Authorization", "")
        token = authorization.removeprefix("Bearer ").strip()
        self.user = hub.tokens.get(token, "")
        if token and not self.user:
            message = "Invalid credentials in Authorization header"
            self._json(401, {"error": message}, {"X-Error-Message": message})
            return
        for method, pattern, name in _ROUTES:
            match = re.fullmatch(pattern, self.route)
            if match and self.command in method:
                with hub.lock:
                    getattr(self, name)(
                        **{k: unquote(v or "") for k, v in match.groupdict().items()}
                    )
                return
        self._json(404, {"error": f"no route {self.command} {self.route}"})

    def _meets(self, fault: Fault) -> bool:
        return (
            fault.hits < fault.times
            and self.command in fault.method.split("|")
            and bool(re.search(fault.path, self.path))
        )

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self.fault
        limit = fault.cut_after if fault and fault.cut_after >= 0 else len(data)
        step = 2048 if fault and fault.delay else max(len(data), 1)
        try:
            for start in range(0, min(limit, len(data)), step):
                if fault and fault.delay:
                    time.sleep(fault.delay)
                self.wfile.write(data[start : min(start + step, limit)])
            self.wfile.flush()
            if limit < len(data):
                self.close_connection = True
                self.connection.close()
        except OSError:
            self.close_connection = True

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(status, json.dumps(value).encode(), {**kind, **(headers or {})})

    def _missing(self, code: str, status: int = 404) -> None:
        self._json(status, {"error": code}, {"X-Error-Code": code})

    def _open(self, kind: str, repo: str, *, content: bool = False) -> Repo | None:
        """The repository, or None after an answer that says why not."""
        found = self.server_hub.repos.get((kind, repo))
        if found is None or (found.private and self.user != found.owner):
            self._missing("RepoNotFound", 404 if self.user else 401)
            return None
        if content and found.gated and self.user != found.owner:
            self._missing("GatedRepo", 403 if self.user else 401)
            return None
        return found

    def _writable(self, kind: str, repo: str) -> Repo | None:
        if not self.user:
            self._json(401, {"error": "Unauthorized"})
            return None
        found = self._open(kind, repo)
        if found and found.owner != self.user and "create_pr" not in self.query:
            self._json(403, {"error": "Forbidden"})
            return None
        return found

    # -- who, repositories

    def whoami(self) -> None:
        if self.user:
            self._json(200, {"type": "user", "name": self.user, "orgs": [], "auth": {}})
        else:
            self._json(401, {"error": "Unauthorized"})

    def validate_yaml(self) -> None:
        self._json(200, {"errors": [], "warnings": []})

    def create_repo(self) -> None:
        values = json.loads(self.body)
        owner = values.get("organization") or self.user
        if not self.user:
            self._json(401, {"error": "Unauthorized"})
            return
        name = f"{owner}/{values['name']}"
        key = (values.get("type", "model") + "s", name)
        url = f"{self.server_hub.url}/{KINDS[key[0]]}{name}"
        if key in self.server_hub.repos:
            self._json(409, {"error": "exists", "url": url})
        elif owner != self.user:
            self._json(403, {"error": "Forbidden"})
        else:
            private = values.get("private") or values.get("visibility") == "private"
            made = Repo(name, owner, private=bool(private))
            made.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit", "main")
            self.server_hub.repos[key] = made
            self._json(200, {"url": url, "name": name, "id": name})

    def list_repos(self, kind: str) -> None:
        author, tag = self.query.get("author"), self.query.get("filter")
        found = [
            repo
            for (of, _), repo in self.server_hub.repos.items()
            if of == kind
            and (not author or repo.owner == author)
            and (not repo.private or repo.owner == self.user)
            and (not tag or f"- {tag}\n".encode() in repo.at("main").files.get("README.md", b""))
        ]
        self._json(200, [{"id": repo.name, "tags": [], "private": repo.private} for repo in found])

    def info(self, kind: str, repo: str, revision: str = "") -> None:
        found = self._open(kind, repo)
        if found is None:
            return
        commit = found.at(revision or "main")
        if commit is None:
            self._missing("RevisionNotFound")
            return
        siblings = [{"rfilename": name} for name in sorted(commit.files)]
        value = {"id": repo, "modelId": repo, "sha": commit.oid, "siblings": siblings}
        self._json(200, {**value, "private": found.private, "tags": [], "gated": found.gated})

    def refs(self, kind: str, repo: str) -> None:
        found = self._open(kind, repo)
        if found is None:
            return

        def rows(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"{prefix}{name}", "targetCommit": oid}
                for name, oid in names.items()
            ]

        branches, tags = rows(found.branches, "refs/heads/"), rows(found.tags, "refs/tags/")
        self._json(200, {"branches": branches, "tags": tags, "converts": []})

    def tag(self, kind: str, repo: str, revision: str) -> None:
        found = self._writable(kind, repo)
        if found is None:
            return
        name, commit = json.loads(self.body)["tag"], found.at(revision)
        if commit is None:
            self._missing("RevisionNotFound")
        elif name in found.tags:
            self._json(409, {"error": "Tag exists"})
        else:
            found.tags[name] = commit.oid
            self._json(200, {})

    def branch(self, kind: str, repo: str, name: str) -> None:
        found = self._writable(kind, repo)
        if found is None:
            return
        if name in found.branches:
            self._json(409, {"error": "Branch exists"})
        else:
            found.branches[name] = found.branches["main"]
            self._json(200, {})

    # -- upload

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        found = self._writable(kind, repo)
        if found is None:
            return
        commit = found.at("main" if "create_pr" in self.query else revision)
        answer = []
        for entry in json.loads(self.body)["files"]:
            mode = "lfs" if _is_large(entry["path"]) else "regular"
            value = {"path": entry["path"], "uploadMode": mode, "shouldIgnore": False}
            if commit and entry["path"] in commit.files:
                value["oid"] = _oid(entry["path"], commit.files[entry["path"]])
            answer.append(value)
        self._json(200, {"files": answer})

    def lfs_batch(self, repo: str, prefix: str = "") -> None:
        # Who may read may upload: a pull request of a guest has large files too.
        if not self.user or self._open("datasets" if prefix else "models", repo) is None:
            if not self.user:
                self._json(401, {"error": "Unauthorized"})
            return
        asked = json.loads(self.body)
        if self.server_hub.xet and "xet" in asked.get("transfers", ()):
            self._json(200, {"transfer": "xet", "objects": []})
            return
        objects = []
        for entry in asked["objects"]:
            value = {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] not in self.server_hub.lfs:
                base = f"{self.server_hub.url}/lfs/{entry['oid']}"
                value["actions"] = {
                    "upload": {"href": f"{base}?signature=presigned-canary"},
                    "verify": {"href": f"{base}/verify"},
                }
            objects.append(value)
        self._json(200, {"transfer": "basic", "objects": objects})

    def xet_token(self, **_: str) -> None:
        """None for anybody: a hub without the storage does not know the route."""
        status = 403 if self.server_hub.xet else 404
        self._json(status, {"error": f"no route {self.command} {self.route}"})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._json(400, {"error": "wrong content"})
            return
        self.server_hub.lfs[oid] = self.body
        self._json(200, {})

    def lfs_verify(self, oid: str) -> None:
        self._json(200 if oid in self.server_hub.lfs else 404, {})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self._writable(kind, repo)
        if found is None:
            return
        pull = "create_pr" in self.query
        parent = found.at("main" if pull else revision)
        if parent is None:
            self._missing("RevisionNotFound")
            return
        files, message = dict(parent.files), ""
        for line in self.body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", parent.oid) != parent.oid:
                    self._json(412, {"error": "A commit has happened since."})
                    return
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server_hub.lfs[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        branch = f"refs/pr/{len(found.pulls) + 1}" if pull else revision
        made = found.commit(files, message, branch)
        page = f"{self.server_hub.url}/{repo}"
        answer = {"success": True, "commitOid": made.oid, "commitUrl": f"{page}/commit/{made.oid}"}
        if pull:
            answer["pullRequestUrl"] = f"{page}/discussions/{len(found.pulls)}"
        self._json(200, answer)

    # -- download

    def _files(self, kind: str, repo: str, revision: str) -> Commit | None:
        found = self._open(kind, repo)
        commit = found.at(revision) if found else None
        if found and commit is None:
            self._missing("RevisionNotFound")
        return commit

    def tree(self, kind: str, repo: str, revision: str, folder: str = "") -> None:
        commit = self._files(kind, repo, revision)
        if commit:
            names = [n for n in sorted(commit.files) if not folder or n.startswith(f"{folder}/")]
            self._json(200, [_entry(name, commit.files[name]) for name in names])

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        commit = self._files(kind, repo, revision)
        if commit:
            if "json" in self.headers.get("Content-Type", ""):
                wanted = json.loads(self.body)["paths"]
            else:
                wanted = parse_qs(self.body.decode())["paths"]
            found = [name for name in wanted if name in commit.files]
            self._json(200, [_entry(name, commit.files[name]) for name in found])

    def resolve(self, repo: str, revision: str, path: str, prefix: str = "") -> None:
        kind = "datasets" if prefix else "models"
        found = self._open(kind, repo, content=True)
        if found is None:
            return
        commit = found.at(revision)
        if commit is None:
            self._missing("RevisionNotFound")
            return
        base = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if path not in commit.files:
            self._json(404, {"error": "no"}, {**base, "X-Error-Code": "EntryNotFound"})
            return
        data = commit.files[path]
        headers = {
            **base,
            "ETag": f'"{_oid(path, data)}"',
            "Content-Type": "application/octet-stream",
        }
        if self.server_hub.xet and _is_large(path):
            route = f"{self.server_hub.url}/api/models/{repo}/xet-read-token/{commit.oid}"
            headers |= {"X-Xet-Hash": _oid(path, data), "X-Xet-Refresh-Route": route}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not span:
            self._send(200, data, {**headers, "Content-Length": str(len(data))})
            return
        start, end = int(span[1]), int(span[2] or len(data) - 1)
        if start >= len(data):
            self._send(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
            return
        piece = data[start : end + 1]
        place = f"bytes {start}-{start + len(piece) - 1}/{len(data)}"
        self._send(206, piece, {**headers, "Content-Range": place})


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


def _oid(path: str, data: bytes) -> str:
    if _is_large(path):
        return hashlib.sha256(data).hexdigest()
    blob = b"blob %d\0" % len(data) + data
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, object]:
    value: dict[str, object] = {"type": "file", "path": path, "size": len(data)}
    value["oid"] = _oid(path, data)
    if _is_large(path):
        value["lfs"] = {"oid": _oid(path, data), "size": len(data), "pointerSize": 130}
    return value


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets)/{_REPO}"
_PREFIX = r"(?P<prefix>datasets/)?"
_ROUTES = (
    (("GET",), "/api/whoami-v2", "whoami"),
    (("POST",), "/api/validate-yaml", "validate_yaml"),
    (("POST",), "/api/repos/create", "create_repo"),
    (("GET",), "/api/(?P<kind>models|datasets)", "list_repos"),
    (("GET",), _API, "info"),
    (("GET",), f"{_API}/revision/(?P<revision>[^/]+)", "info"),
    (("GET",), f"{_API}/refs", "refs"),
    (("POST",), f"{_API}/tag/(?P<revision>[^/]+)", "tag"),
    (("POST",), f"{_API}/branch/(?P<name>[^/]+)", "branch"),
    (("POST",), f"{_API}/preupload/(?P<revision>[^/]+)", "preupload"),
    (("POST",), f"{_API}/commit/(?P<revision>[^/]+)", "commit"),
    (("GET",), f"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", "tree"),
    (("POST",), f"{_API}/paths-info/(?P<revision>[^/]+)", "paths_info"),
    (("POST",), rf"/{_PREFIX}{_REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
    (("GET",), f"{_API}/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)", "xet_token"),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    (("POST",), "/lfs/(?P<oid>[0-9a-f]{64})/verify", "lfs_verify"),
    (("GET", "HEAD"), f"/{_PREFIX}{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
)


if __name__ == "__main__":
    server = HubServer()
    Path(sys.argv[1]).write_text(str(server.http.server_address[1]), encoding="utf-8")
    server.http.serve_forever()
