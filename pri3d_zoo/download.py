"""Brings the files of a published row from the Hub, cache first, and lets nothing pass that is not what the table says.

The network is asked through huggingface_hub, so that `HF_HOME`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and proxies
mean what they mean everywhere. What it does not offer is a short answer from a dead network: it repeats its questions
for a minute. So a file that is not in the cache is asked for once, briefly, before it is downloaded without haste.
"""

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TypeVar

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from .files import sha256_of
from .weights import CONFIG_FILE, WEIGHT_FILE, Weights, WeightsError

PATIENCE = 8.0
"""Seconds until a Hub that has not said a word counts as out of reach, unless `HF_HUB_ETAG_TIMEOUT` says otherwise."""

T = TypeVar("T")


def download(row: Weights, cache_dir: str | os.PathLike[str] | None) -> Path:
    """The verified weight file of a row whose location is on the Hub, with its `config.json` beside it.

    A file that is not what it should be is taken out of the cache, so that the next call downloads it anew.

    Raises:
        WeightsError: the Hub is out of reach or has no such file, the download broke off, or other bytes arrived.
    """
    config, weights = (_fetch(row, name, cache_dir) for name in (CONFIG_FILE, WEIGHT_FILE))
    for file, fault in ((config, _json_fault(config)), (weights, fault_of(row, weights))):
        if fault is not None:
            _discard(file)
            raise WeightsError(
                f"{file.name} of {row.location} is refused: {fault}; it has been taken out of the cache ({file}), "
                "so the next call downloads it anew"
            )
    return weights


def fault_of(row: Weights, file: Path) -> str | None:
    """What is wrong with a weight file, compared with size and SHA-256 of its row; `None` if it is the right one."""
    found, size = sha256_of(file), file.stat().st_size
    if found == row.sha256:
        return None
    with file.open("rb") as stream:
        start = stream.read(512)
    if _is_html(start):
        return "it is an HTML page, not weights (a login page of the network, or an error page of a proxy)"
    if row.size is not None and size < row.size:
        return f"it is truncated, {size} of {row.size} bytes"
    return f"its SHA-256 is {found} and the table says {row.sha256}: these are other bytes"


def answer_within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns or raises, if it does so in time.

    In a thread, as no timeout of a client bounds the whole: names are resolved without one, and each address of a host
    has its own. A thread that comes too late ends by itself, and does not keep the interpreter from ending.

    Raises:
        TimeoutError: it took longer.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # whatever it is, it belongs to the caller
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(seconds)


def patience() -> float:
    """`PATIENCE`, or `HF_HUB_ETAG_TIMEOUT` where that is set: some networks are slow, not dead."""
    asked = constants.HF_HUB_ETAG_TIMEOUT
    return PATIENCE if asked == constants.DEFAULT_ETAG_TIMEOUT else float(asked)


def network_fault(error: Exception, url: str) -> str:
    """Why the Hub did not give what was asked of it, and what to do about it, in one clause."""
    if isinstance(error, TimeoutError):
        return (
            f"{url} gave no answer within {patience():.0f} s; check the network, the proxy and HF_ENDPOINT, "
            "or set HF_HUB_ETAG_TIMEOUT to more seconds"
        )
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to ask the network; unset it"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        meaning = {
            401: "no access; log in with `hf auth login` or set HF_TOKEN to a valid token",
            403: "access denied; use a token that has the right to it",
            404: "it is not there, or HF_ENDPOINT is wrong",
        }.get(status, "the Hub is in trouble, try again later" if status >= 500 else first_line(error))
        return f"{url} answered {status}: {meaning}"
    return f"{url} is out of reach ({first_line(error)}); check the network, the proxy and HF_ENDPOINT"


def first_line(error: BaseException) -> str:
    """Kind and first line of an exception, without the full stop."""
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(". ")


def cached(row: Weights, name: str, cache_dir: str | os.PathLike[str] | None) -> Path | None:
    """A file of a row whose location is on the Hub, as it lies in the cache, unverified; `None` if it does not."""
    repository, _, commit = str(row.location).partition("@")
    file = try_to_load_from_cache(repository, name, cache_dir=_cache(cache_dir), revision=commit)
    return Path(file) if isinstance(file, str) else None


def _cache(cache_dir: str | os.PathLike[str] | None) -> Path:
    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser()


def _fetch(row: Weights, name: str, cache_dir: str | os.PathLike[str] | None) -> Path:
    if (file := cached(row, name, cache_dir)) is not None:
        return file
    repository, _, commit = str(row.location).partition("@")
    cache = _cache(cache_dir)
    url = hf_hub_url(repository, name, revision=commit)
    # huggingface_hub raises from half a dozen unrelated families (HTTP client, OSError, its own)
    try:
        metadata = answer_within(patience(), lambda: get_hf_file_metadata(url, timeout=patience() + 1))
    except OfflineModeIsEnabled as error:
        raise WeightsError(
            f"{name} of {row.location} is not in the cache {cache}, and {network_fault(error, url)}"
        ) from error
    except Exception as error:
        raise WeightsError(f"{name} could not be fetched: {network_fault(error, url)}") from error
    if metadata.commit_hash is None:
        raise WeightsError(
            f"{name} could not be fetched: what answers at {url} is no Hub "
            "(a login page of the network, a proxy, or a wrong HF_ENDPOINT)"
        )
    try:
        return Path(hf_hub_download(repository, name, revision=commit, cache_dir=cache))
    except Exception as error:
        raise WeightsError(
            f"the download of {url} broke off ({first_line(error)}); nothing of it was kept, try again"
        ) from error


def _json_fault(file: Path) -> str | None:
    data = file.read_bytes()
    try:
        json.loads(data)
    except ValueError as error:
        return "it is an HTML page, not a configuration" if _is_html(data) else f"it is not JSON ({first_line(error)})"
    return None


def _is_html(data: bytes) -> bool:
    # the words as well as the bracket, for a safetensors file may begin with one: its first byte is a length
    return re.match(rb"\s*<(!doctype|html|head|body|\?xml)", data, re.IGNORECASE) is not None


def _discard(file: Path) -> None:
    """Delete a file of the cache and what it links to: snapshot, blob, and the store that caches may share."""
    while file.is_symlink():
        target = file.parent / file.readlink()
        file.unlink()
        file = target
    file.unlink(missing_ok=True)
