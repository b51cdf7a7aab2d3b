"""What tests of weights share, and a Hub on loop-back: a real HTTP server that speaks as much of the Hub's protocol as
downloads and commits need."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from pri3d_zoo import hub, weights
from pri3d_zoo.training.networks.two_branch import TwoBranch
from pri3d_zoo.weights import Weights

HTML = b"<!DOCTYPE html>\n<html><body>Please accept the terms of this hotel's network.</body></html>"


@dataclass
class Repository:
    """Files by commit, and what names a commit: git tags, and `main`."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        files = self.commits.get(self.refs.get("main", ""), {}) | files
        contents = {name: hashlib.sha1(data).digest() for name, data in files.items()}
        oid = hashlib.sha1(repr(contents).encode()).hexdigest()
        self.commits[oid] = files
        self.refs["main"] = oid
        return oid


class LoopbackHub(ThreadingHTTPServer):
    """Repositories in memory; `faults` by file name say what goes wrong on the way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.faults: dict[str, str] = {}
        """`tampered`, `truncated`, `html`: wrong bytes, served like right ones. `cut`: the connection ends in the
        middle, each time; `cut once`: only the first time. `slow`: in drips. `silent`: no answer. A number: that
        status. Under `*`, for all requests: `portal`, HTML from no Hub at all, or a number."""
        self.asked: list[str] = []
        self.tokens = {"hf_good": "someone"}

    def add(self, repository: str, folder: Path) -> str:
        """Commit the files of a folder, and return the commit."""
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        return self.repositories.setdefault(repository, Repository()).commit(files)


class Handler(BaseHTTPRequestHandler):
    server: LoopbackHub

    def do_GET(self) -> None:
        if "/agent-harnesses" not in self.path:  # huggingface_hub asks for it once in a process, for its own ends
            self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0].strip("/").split("/")
        fault = self.server.faults.get("*", "")
        if fault == "portal":
            self.answer(200, HTML, {"Content-Type": "text/html"})
        elif fault.isdigit():
            self.answer(int(fault), b"")
        elif path[0] == "api":
            self.api(path[1:])
        else:
            self.resolve("/".join(path[:2]), path[3], "/".join(path[4:]))

    do_HEAD = do_POST = do_GET

    def resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            return self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if file not in repository.commits[commit]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = repository.commits[commit][file]
        fault = self.server.faults.get(file, "")
        if fault.isdigit():
            return self.answer(int(fault), b"")
        if fault == "silent":
            return time.sleep(30)
        data = {"tampered": data[:-1] + bytes([data[-1] ^ 1]), "truncated": data[: len(data) // 2], "html": HTML}.get(
            fault, data
        )
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit}
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        length = None
        if self.command == "GET" and fault.startswith("cut"):
            length = len(data) // 2
            if fault == "cut once":
                del self.server.faults[file]
        return self.answer(206 if start else 200, data[start:], headers, length, slow=fault == "slow")

    def api(self, path: list[str]) -> None:
        user = self.server.tokens.get((self.headers["Authorization"] or "").removeprefix("Bearer "))
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if user is None:
            return self.answer(401, b'{"error": "Invalid username or password."}')
        if path == ["whoami-v2"]:
            return self.json({"name": user, "type": "user"})
        if path == ["repos", "create"]:
            wish = json.loads(body)
            name = f"{wish['organization'] or user}/{wish['name']}"
            if not name.startswith(f"{user}/"):
                return self.json({"error": f"You don't have the rights to create a model under {name}"}, 403)
            if name in self.server.repositories:
                return self.json({"error": "exists", "url": f"{self.server.endpoint}/{name}"}, 409)
            self.server.repositories[name] = Repository()
            self.server.repositories[name].commit({".gitattributes": b""})
            return self.json({"url": f"{self.server.endpoint}/{name}"})
        if path == ["validate-yaml"]:
            return self.json({"errors": [], "warnings": []})
        name = "/".join(path[1:3])
        url, repository = f"{self.server.endpoint}/{name}", self.server.repositories.get(name)
        if repository is None:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        match path[3:]:
            case []:
                return self.json({"id": name, "sha": repository.refs["main"], "siblings": []})
            case ["revision", revision]:
                return self.json({"id": name, "sha": repository.refs[revision], "siblings": []})
            case ["refs"]:
                refs = [{"name": n, "ref": n, "targetCommit": oid} for n, oid in repository.refs.items()]
                branches = [ref for ref in refs if ref["name"] == "main"]
                tags = [ref for ref in refs if ref["name"] != "main"]
                return self.json({"branches": branches, "converts": [], "tags": tags})
            case ["preupload", _]:
                there = repository.commits[repository.refs["main"]]
                files = [f["path"] for f in json.loads(body)["files"]]
                oids = {
                    n: hashlib.sha1(b"blob %d\0" % len(there[n]) + there[n]).hexdigest() for n in files if n in there
                }
                answer = [
                    {"path": n, "uploadMode": "regular", "shouldIgnore": False, "oid": oids.get(n)} for n in files
                ]
                return self.json({"files": answer})
            case ["commit", _]:
                lines = [json.loads(line) for line in body.splitlines()]
                files = {
                    x["value"]["path"]: base64.b64decode(x["value"]["content"]) for x in lines if x["key"] == "file"
                }
                oid = repository.commit(files)
                return self.json({"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}"})
            case ["tag", revision]:
                if self.server.faults.get("tag"):
                    return self.answer(int(self.server.faults["tag"]), b"")
                repository.refs[json.loads(body)["tag"]] = repository.refs.get(revision, revision)
                return self.answer(200, b"")
        return self.answer(404, b"")

    def json(self, content: object, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
        slow: bool = False,
    ) -> None:
        """All of `data`, or its first `length` bytes in spite of the header that promises all."""
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            data = data[:length]
            step = max(1, len(data) // 20 if slow else len(data))
            for i in range(0, len(data), step):
                self.wfile.write(data[i : i + step])
                time.sleep(0.1 if slow else 0)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def empty_machine(tmp_path, monkeypatch) -> None:
    """No published weights, nothing bundled, no folder named."""
    monkeypatch.setattr(weights, "TABLE", ())
    for module in (hub, weights):
        monkeypatch.setattr(module, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.delenv("PRI3D_WEIGHTS", raising=False)


@pytest.fixture
def tiny_folder() -> Callable[..., Path]:
    """Writes a weight folder of one tensor of four kilobytes, with what its configuration is to say."""

    def write(folder: Path, value: float = 0.0, **cfg: object) -> Path:
        folder.mkdir(parents=True)
        save_file({"tensor": torch.full((1024,), value)}, folder / "model.safetensors")
        config = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": cfg}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.fixture
def row_of() -> Callable[..., Weights]:
    """Makes the row of a weight folder, or without one that of a plan."""

    def make(folder: Path | None, **fields: Any) -> Weights:
        values = {"model": "resnet18_pri3d_joint", "tag": "rooms", "location": None, "sha256": None, "size": None}
        if folder is not None:
            data = (folder / "model.safetensors").read_bytes()
            values |= {"location": "someone/weights@" + "a" * 40, "size": len(data)}
            values["sha256"] = hashlib.sha256(data).hexdigest()
        texts = dict.fromkeys(("licence", "terms", "data", "recipe", "command", "protocol"), "")
        return Weights(**(values | texts | {"metrics": {}} | fields))

    return make


@pytest.fixture
def loopback_hub(tmp_path, monkeypatch) -> Iterator[LoopbackHub]:
    """A Hub on loop-back, which this process takes for the Hub, and an empty cache."""
    server = LoopbackHub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    # huggingface_hub reads the environment when it is imported; a process of its own shows that it does
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def resnet() -> Callable[[int], dict[str, Tensor]]:
    """Gives timm's names and shapes of a ResNet of a depth, without data."""

    def make(depth: int) -> dict[str, Tensor]:
        with torch.device("meta"):
            return timm.create_model(f"resnet{depth}", num_classes=0).state_dict()

    return make


@pytest.fixture(scope="session")
def random_state() -> Callable[..., dict[str, Tensor]]:
    """Gives tensors of these names other values everywhere, so that no two of a shape are alike."""

    def make(names: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.rand(value.shape, generator=generator) + 0.1 if value.is_floating_point() else torch.tensor(7)
            for name, value in names.items()
        }

    return make


@pytest.fixture(scope="session")
def same() -> Callable[[dict[str, Tensor], dict[str, Tensor]], bool]:
    """Tells whether two state dicts are equal in names, types and values."""

    def compare(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return one.keys() == other.keys() and all(
            one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
        )

    return compare


@pytest.fixture(scope="session")
def network() -> TwoBranch:
    """What the authors' checkpoints hold, small; tests only read it."""
    torch.manual_seed(0)
    return TwoBranch("resnet18", "minkunet14s")
