"""Weights from a Hub: what arrives, what is refused, and in which words. `pytest -s` shows the words."""

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from pri3d_zoo import download, weights
from pri3d_zoo.hub import find_weights, read_config
from pri3d_zoo.weights import WeightsError

MODEL = "resnet18_pri3d_joint"
pytestmark = pytest.mark.usefixtures("empty_machine")


@pytest.fixture
def published(tmp_path, monkeypatch, loopback_hub, tiny_folder, row_of):
    """Four kilobytes of weights on the loop-back Hub, and in the table: their folder, and their row."""
    folder = tiny_folder(tmp_path / "repository", 1.0, mean=[0.5, 0.5, 0.5])
    row = row_of(folder, location=f"someone/weights@{loopback_hub.add('someone/weights', folder)}")
    monkeypatch.setattr(weights, "TABLE", (row,))
    return folder, row


def refusal(case: str) -> str:
    """What a user sees who asks for the weights; one line."""
    start = time.perf_counter()
    with pytest.raises(WeightsError) as error:
        find_weights(MODEL, "rooms")
    message = str(error.value)
    print(f"\n--- {case} ({time.perf_counter() - start:.1f} s)\n{message}")
    assert message.startswith(f"no weights for {MODEL}.rooms: PRI3D_WEIGHTS is not set; the package's own folder (")
    assert message.endswith("or ask for random weights with pretrained=False.")
    assert len(message.splitlines()) == 1
    return message


def cached_files() -> list[Path]:
    """What the cache holds of weights, by any name."""
    return [file for file in Path(constants.HF_HUB_CACHE).rglob("*") if file.is_file() and file.stat().st_size > 1000]


def test_they_are_downloaded_once_and_come_whole(loopback_hub, published):
    folder, row = published
    file = find_weights(MODEL)
    assert file.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert read_config(MODEL, "rooms", file) == {"mean": (0.5, 0.5, 0.5)}
    assert sum("GET" in line for line in loopback_hub.asked) == 2
    loopback_hub.asked.clear()
    assert find_weights(MODEL, "rooms") == file
    assert loopback_hub.asked == []
    print(f"\n--- download\n{row.location} -> {file}")


def test_the_commit_is_pinned(tmp_path, loopback_hub, published, tiny_folder):
    folder, row = published
    newer = loopback_hub.add("someone/weights", tiny_folder(tmp_path / "newer", 2.0))
    assert loopback_hub.repositories["someone/weights"].refs["main"] == newer
    assert find_weights(MODEL).read_bytes() == (folder / "model.safetensors").read_bytes()
    commit = row.location.partition("@")[2]
    assert all(f"/resolve/{commit}/" in line for line in loopback_hub.asked)
    print(f"\n--- pin: main is {newer}, asked for were\n" + "\n".join(loopback_hub.asked))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("tampered", r"refused: its SHA-256 is [0-9a-f]{64} and the table says [0-9a-f]{64}: these are other bytes"),
        ("truncated", r"refused: it is truncated, \d+ of 4\d+ bytes"),
        ("html", r"refused: it is an HTML page, not weights \(a login page .*\)"),
    ],
)
def test_wrong_bytes_are_refused_by_name_and_do_not_stay(loopback_hub, published, fault, words):
    loopback_hub.faults["model.safetensors"] = fault
    message = refusal(fault)
    assert re.search(rf"model\.safetensors of someone/weights@[0-9a-f]{{40}} is {words}; .*taken out of the", message)
    assert "the next call downloads it anew" in message
    assert cached_files() == []
    loopback_hub.faults.clear()
    assert find_weights(MODEL).read_bytes() == (published[0] / "model.safetensors").read_bytes()


def test_what_went_bad_in_the_cache_is_found_out(published):
    file = find_weights(MODEL)
    blob = file.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    assert "other bytes" in refusal("a cached file that has changed")
    assert not file.exists()
    assert not blob.exists()
    assert find_weights(MODEL).read_bytes() == (published[0] / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("fault", "words"), [("html", "an HTML page, not a configuration"), ("truncated", "not JSON (")]
)
def test_a_broken_configuration_is_refused_too(loopback_hub, published, fault, words):
    loopback_hub.faults["config.json"] = fault
    assert f"is refused: it is {words}" in refusal(f"config.json, {fault}")
    loopback_hub.faults.clear()
    assert read_config(MODEL, "rooms", find_weights(MODEL))


def test_a_cut_connection(loopback_hub, published, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # between its attempts
    loopback_hub.faults["model.safetensors"] = "cut"
    message = refusal("connection cut in the middle, for good")
    assert "/model.safetensors broke off (" in message
    assert "nothing of it was kept, try again" in message
    assert cached_files() == []
    loopback_hub.faults["model.safetensors"] = "cut once"
    assert find_weights(MODEL).read_bytes() == (published[0] / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_slow_download_is_not_cut(loopback_hub, published, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    loopback_hub.faults["model.safetensors"] = "slow"
    start = time.perf_counter()
    assert find_weights(MODEL).read_bytes() == (published[0] / "model.safetensors").read_bytes()
    assert time.perf_counter() - start > 2 * download.PATIENCE - 0.5


@pytest.mark.parametrize(
    ("file", "fault", "words"),
    [
        ("*", "portal", "config.json could not be fetched: what answers at {url}/config.json is no Hub"),
        ("*", "503", "{url}/config.json answered 503: the Hub is in trouble, try again later"),
        ("model.safetensors", "403", "{url}/model.safetensors answered 403: access denied"),
        ("model.safetensors", "404", "{url}/model.safetensors answered 404: it is not there"),
    ],
)
def test_what_a_hub_answers_is_told(loopback_hub, published, file, fault, words):
    loopback_hub.faults[file] = fault
    commit = published[1].location.partition("@")[2]
    assert words.format(url=f"{loopback_hub.endpoint}/someone/weights/resolve/{commit}") in refusal(f"{fault}, {file}")


@pytest.mark.parametrize(
    ("location", "status"), [("someone/else@" + "a" * 40, 401), ("someone/weights@" + "a" * 40, 404)]
)
def test_a_repository_or_commit_that_is_not_there(monkeypatch, published, tiny_folder, row_of, location, status):
    monkeypatch.setattr(weights, "TABLE", (row_of(published[0], location=location),))
    assert f"answered {status}: " in refusal(location)


def test_a_dead_port_answers_at_once(monkeypatch, published):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"http://127.0.0.1:{port}/{{repo_id}}/{{revision}}/{{filename}}"
    )
    start = time.perf_counter()
    message = refusal("wrong endpoint, nobody listens")
    assert time.perf_counter() - start < 3
    assert f"http://127.0.0.1:{port}/someone/weights/" in message
    assert "is out of reach (ConnectError: " in message
    assert "check the network, the proxy and HF_ENDPOINT" in message


@pytest.fixture
def black_hole():
    """A port whose queue of connections is full, so that it swallows every further packet."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in crowd:
            each.close()


@pytest.mark.parametrize(
    "patience", [pytest.param(0.5, id="impatient"), pytest.param(None, id="default", marks=pytest.mark.slow)]
)
def test_a_black_hole_is_given_up_within_ten_seconds(monkeypatch, published, black_hole, patience):
    if patience is not None:
        monkeypatch.setattr(download, "PATIENCE", patience)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", black_hole + "/{repo_id}/resolve/{revision}/{filename}"
    )
    start = time.perf_counter()
    message = refusal("black hole: packets are swallowed")
    assert time.perf_counter() - start < 10
    assert re.search(r"config\.json (gave no answer within \d+ s|is out of reach \(ConnectTimeout)", message)


def test_patience_follows_the_variable_for_slow_networks(monkeypatch):
    assert download.patience() == download.PATIENCE
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)
    assert download.patience() == 60


def test_an_answer_in_time_is_what_was_returned_or_raised():
    assert download.answer_within(1.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        download.answer_within(1.0, lambda: 1 / 0)
    with pytest.raises(TimeoutError):
        download.answer_within(0.05, threading.Event().wait)


# What huggingface_hub reads of the environment it reads when it is imported, so a process of its own.
PROCESS = """
import sys
from pathlib import Path
from pri3d_zoo import hub, weights
from pri3d_zoo.hub import find_weights
from pri3d_zoo.weights import Weights, WeightsError
weights.TABLE = (Weights(**eval(sys.argv[1])),)
hub.BUNDLED_FOLDER = Path(sys.argv[2]) / "nothing bundled"
for cache_dir in (None, sys.argv[2]):
    try:
        print(find_weights("resnet18_pri3d_joint", cache_dir=cache_dir))
    except WeightsError as error:
        print(error)
"""


@pytest.mark.slow
def test_the_environment_is_honoured(tmp_path, monkeypatch, loopback_hub, published):
    row = {name: getattr(published[1], name) for name in published[1].__dataclass_fields__}

    def run(cache_dir: str) -> list[str]:
        command = [sys.executable, "-c", PROCESS, repr(row), str(tmp_path / cache_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", loopback_hub.endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    home, other = run("other")
    assert home.startswith(str(tmp_path / "home" / "hub" / "models--someone--weights"))
    assert other.startswith(str(tmp_path / "other" / "models--someone--weights"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loopback_hub.asked.clear()
    with_cache, without = run("empty")
    assert with_cache == home
    assert f"is not in the cache {tmp_path / 'empty'}, and HF_HUB_OFFLINE forbids to ask the network" in without
    assert loopback_hub.asked == []
    print(f"\n--- offline, in the cache\n{with_cache}\n--- offline, not in the cache\n{without}")
