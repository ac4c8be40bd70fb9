"""Runs on the Hub, against a small server on this machine with the routes that are used."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
import pytest

from trajflow import Predictor
from trajflow.errors import RunError

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
TOKEN = "hf_of_this_test"
HOSTILE = {"model.pkl": b"cos\nsystem\n", "code.py": b"raise SystemExit(9)", "weights.pt": b"PK"}


def oid(content):
    return hashlib.sha1(content).hexdigest()


class Hub(ThreadingHTTPServer):
    """Repositories in memory: files by name, and the id of the last commit."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Routes)
        self.files, self.sent, self.private = {}, [], {}
        self.address = f"http://127.0.0.1:{self.server_port}"

    def sha(self, name):
        text = json.dumps(
            sorted((k, hashlib.sha1(v).hexdigest()) for k, v in self.files[name].items())
        )
        return hashlib.sha1(text.encode()).hexdigest()


class Routes(BaseHTTPRequestHandler):
    """The routes of the Hub for creating, committing, listing and downloading."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        """Print nothing."""

    def answer(self, values, status=200, headers=()):
        body = values if isinstance(values, bytes) else json.dumps(values).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        hub, path = self.server, unquote(self.path).strip("/").split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path[1] == "validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path[1:3] == ["repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            hub.files.setdefault(name, {".gitattributes": b""})
            return self.answer({"url": f"{hub.address}/{name}", "id": name})
        name = "/".join(path[2:4])
        if path[4] == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for f in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                hub.files[name][line["value"]["path"]] = content
        commit = hub.sha(name)
        values = {"commitUrl": f"{hub.address}/{name}/commit/{commit}", "commitOid": commit}
        return self.answer({"success": True, "hookOutput": "", **values})

    def do_GET(self):
        hub, path = self.server, unquote(self.path.partition("?")[0]).strip("/").split("/")
        api = path[0] == "api"
        name = "/".join(path[2:4] if api else path[:2])
        if name not in hub.files:
            return self.answer(
                {"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"}
            )
        commit = hub.sha(name)
        revision = path[5] if api else path[3]
        if revision not in ("main", commit):
            return self.answer({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if api:
            names = [
                {"rfilename": k, "type": "file", "path": k, "size": len(v), "oid": oid(v)}
                for k, v in hub.files[name].items()
            ]
            return self.answer(
                names if path[4] == "tree" else {"id": name, "sha": commit, "siblings": names}
            )
        content = hub.files[name]["/".join(path[4:])]
        hub.sent.append("/".join(path[4:]))
        headers = {"X-Repo-Commit": commit, "ETag": f'"{oid(content)}"'}
        return self.answer(content, headers=headers)

    do_HEAD = do_GET


@pytest.fixture
def hub():
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def python(hub, tmp_path):
    """Runs Python in a process that knows this hub alone: exit code, output, errors."""

    def run(*words, token=TOKEN):
        settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": token}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            env={**os.environ, **settings, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


LOAD = """
import sys, numpy as np
from trajflow import Predictor
predictor = Predictor.from_pretrained(*sys.argv[1:3])
past = np.arange(32.0).reshape(2, 8, 2) / 10
np.save(sys.argv[3], predictor.predict(past, samples=4, seed=1).samples)
"""


PULL = """
import sys
from trajflow.errors import TrajflowError
from trajflow.hub import pretrained
for word in sys.argv[1:]:
    try:
        pretrained(*word.split("@"))
    except TrajflowError as error:
        print(error)
"""


def test_a_run_that_was_pushed_forecasts_the_same_elsewhere(hub, python, trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    code, out, said = python("-m", "trajflow", "push", run, "lab/street", "--private")
    assert code == 0, said
    assert out.strip() == f"{hub.address}/lab/street/commit/{hub.sha('lab/street')}"
    files = set(hub.files["lab/street"]) - {".gitattributes"}
    assert {"weights.safetensors", "config.toml", "run.json", "README.md"} <= files
    assert not files & {"resume.safetensors", "events.jsonl", "lock"}
    assert hub.private["lab/street"]
    card = hub.files["lab/street"]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: trajflow\n")
    assert "| trained on | 40 windows of 40 agents |" in card
    assert "| energy score | " in card
    assert 'Predictor.from_pretrained("lab/street")' in card
    assert str(tmp_path) not in card + hub.files["lab/street"]["run.json"].decode()

    hub.files["lab/street"] |= HOSTILE
    out = tmp_path / "samples.npy"
    code, _, said = python("-c", LOAD, "lab/street", hub.sha("lab/street"), out)
    assert code == 0, said
    past = np.arange(32.0).reshape(2, 8, 2) / 10
    own = Predictor.from_pretrained(run).predict(past, samples=4, seed=1)
    np.testing.assert_array_equal(np.load(out), own.samples)
    kinds = {name.rpartition(".")[2] for name in hub.sent}
    assert kinds <= {"safetensors", "toml", "json"}


def test_what_cannot_be_pushed_or_pulled_is_said_in_one_line(hub, python, trained, tmp_path):
    code, _, said = python("-m", "trajflow", "push", trained[0], "street")
    assert (code, "ORG/NAME, got 'street'" in said) == (2, True), said
    code, _, said = python("-m", "trajflow", "push", trained[0], "lab/street", token="hf_wrong")
    assert code == 2, said
    assert "Traceback" not in said
    assert "HF_TOKEN" in said
    hub.files["lab/other"] = dict(HOSTILE)
    code, errors, said = python("-c", PULL, "lab/nothing", "lab/other@v9", "lab/other")
    assert code == 0, said
    nothing, revision, other = errors.splitlines()
    assert "lab/nothing on the Hub: " in nothing
    assert "lab/other on the Hub: " in revision
    assert "lab/other on the Hub is not a run of trajflow: it has no config.toml" in other


def test_without_the_package_the_extra_is_named(trained, tmp_path):
    block = (
        "import sys; sys.modules['huggingface_hub'] = None; from trajflow.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", block, "push", trained[0], "lab/street"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the Hub needs huggingface_hub: pip install 'trajflow[hub]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_is_opened_as_it_is_and_has_no_revision(trained, tmp_path):
    assert Predictor.from_pretrained(trained[0]).horizon == 12
    with pytest.raises(RunError, match="has no revision"):
        Predictor.from_pretrained(trained[0], revision="v1")
    with pytest.raises(RunError, match="give a run folder, or ORG/NAME"):
        Predictor.from_pretrained(tmp_path / "lab" / "nothing")
