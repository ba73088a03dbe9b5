"""Fetches a dataset from where Minari keeps its own, with one clear line where there is no network."""

import importlib
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from corruptbench.data.minari.places import appearing, minari_at
from corruptbench.errors import DataError, NetworkError, UsageError, sentence

PROBE_SECONDS = 2.5
"""How long the network gets to answer at all; Minari itself would try for 24 seconds."""


def download_dataset(dataset_id: str, root: Path) -> None:
    try:
        constants = importlib.import_module("huggingface_hub.constants")
    except ImportError as error:
        raise UsageError(
            f"--download of minari:{dataset_id} needs huggingface_hub: pip install 'corruptbench[hub]'"
        ) from error
    _probe(constants.ENDPOINT, dataset_id)
    import minari

    with appearing(dataset_id, root) as temporary:
        try:
            with minari_at(temporary):
                minari.download_dataset(dataset_id)
        except ValueError as error:  # Minari's own: no such dataset, or one that it cannot read
            raise DataError(f"minari:{dataset_id} cannot be downloaded: {' '.join(str(error).split())}") from error
        except Exception as error:
            raise NetworkError(f"minari:{dataset_id} was not downloaded: {sentence(error)}") from error
        if not (temporary / dataset_id / "data").is_dir():
            raise NetworkError(f"minari:{dataset_id} was not downloaded: nothing came")


def _probe(endpoint: str, dataset_id: str) -> None:
    """Raises NetworkError unless the host, or the proxy in front of it, answers soon."""
    url = urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = url.port or (443 if url.scheme == "https" else 80)
    problems = [f"no answer in {PROBE_SECONDS} seconds"]

    def connect() -> None:
        try:
            socket.create_connection((url.hostname, port), PROBE_SECONDS).close()
            problems.clear()
        except OSError as error:
            problems[:] = [str(error)]

    attempt = threading.Thread(target=connect, daemon=True)  # a name may take longer to look up than any timeout
    attempt.start()
    attempt.join(PROBE_SECONDS)
    if problems:
        raise NetworkError(
            f"minari:{dataset_id} was not downloaded: {url.hostname}:{port} cannot be reached ({problems[0]})"
        )
