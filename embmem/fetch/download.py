"""Files from the web into a folder: checked by SHA-256, in place only when whole, never more than was announced."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from embmem.errors import FetchError, InputError, OutputExistsError
from embmem.fetch.archives import is_archive, unpack
from embmem.fetch.samples import PublicSample, SampleFile

Progress = Callable[[int, int], None]  # bytes that have arrived, of how many (0: nobody knows)
_CHUNK = 1 << 16  # [byte]
_TIMEOUT = (10.0, 30.0)  # [s] to connect, and between two pieces


def cache_folder() -> Path:
    """Where samples are kept if no folder is named: the user's cache."""
    import pooch

    return Path(pooch.os_cache("embmem"))


def fetch_sample(sample: PublicSample, folder: Path, *, progress: Progress | None = None) -> Path:
    """The folder `folder/<name>` with the files of a sample, each as it was published.

    Files that are there and whole are kept, whatever is missing or damaged is got (again). Until all are there the
    folder is called `<name>.part`; a later call goes on with it.

    Raises:
        FetchError: if there is no network, or a file is not there, cut or not what was published.
        OutputExistsError: if a file has the name of the folder.
    """
    target, part = folder / sample.name, folder / f"{sample.name}.part"
    if target.exists() and not target.is_dir():
        raise OutputExistsError(f"{target} exists and is not a folder; choose another folder")
    at = target if target.is_dir() else part
    at.mkdir(parents=True, exist_ok=True)
    download = _Download(progress=progress, total=sample.n_bytes)
    try:
        for file in sample.files:
            _fetch_file(sample, file, at, download)
    finally:
        if not any(at.iterdir()):
            at.rmdir()
    if at is part:
        part.replace(target)
    return target


def fetch_url(url: str, folder: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """A recording of anybody's from the web: the file, or the folder that an archive (zip, tar, tgz, tbz2) unpacks to.

    An archive with one folder in it gives that folder. Nothing is left if it fails.

    Raises:
        FetchError: if there is no network, or the file is not there, cut or of another SHA-256.
        InputError: if it is no http(s) address, or the archive is damaged or not to be trusted.
        OutputExistsError: if the file or folder exists.
    """
    parts = urlsplit(url)
    name = unquote(parts.path).replace("\\", "/").rstrip("/").rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.netloc or name in ("", ".", "..") or "\0" in name:
        raise InputError(f"{url!r} is no address of a file; it should look like https://host/recording.zip")
    stem = name.split(".")[0] or name
    for taken in (folder / name, folder / stem):
        if taken.exists():
            raise OutputExistsError(f"{taken} exists; remove it or choose another folder")
    part = folder / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        limit = shutil.disk_usage(folder).free // 2
        _Download(progress=progress).get(url, part / name, sha256=sha256, max_bytes=limit)
        if not is_archive(part / name):
            (part / name).replace(folder / name)
            return folder / name
        inside = part / "unpacked"
        unpack(part / name, inside)
        inside.replace(folder / stem)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    found = list((folder / stem).iterdir())
    return found[0] if len(found) == 1 and found[0].is_dir() else folder / stem


def _fetch_file(sample: PublicSample, file: SampleFile, folder: Path, download: _Download) -> None:
    """Leave a file of a sample in the folder, whole."""
    place = folder / file.name
    if place.is_symlink() or place.is_dir():
        raise OutputExistsError(f"{place} is no plain file; remove it")
    download.get(f"{sample.url}{file.address}", place, sha256=file.sha256, max_bytes=file.n_bytes)


@dataclass
class _Download:
    """Downloads one after the other over one connection."""

    progress: Progress | None = None
    total: int = 0  # [byte] of all; 0: what the server says
    _done: int = 0  # [byte]
    _session: Any = field(default=None, repr=False)

    def get(self, url: str, path: Path, *, sha256: str | None, max_bytes: int) -> None:
        """Leave what lies at `url` at `path`, unless a file of that SHA-256 lies there.

        Raises:
            FetchError: if it cannot be had; `path` is as it was.
        """
        import pooch
        import requests

        pooch.get_logger().setLevel(logging.WARNING)
        before = self._done

        def download(url: str, output: str, _: Any) -> None:
            self._stream(url, Path(output), max_bytes)

        known = None if sha256 is None else f"sha256:{sha256.lower()}"
        try:
            pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=download)
        except requests.RequestException as error:
            raise FetchError(f"{url}: {_reason(error)}; {_AGAIN}") from None
        except ValueError as error:  # of pooch: another hash
            raise FetchError(f"{url}: {' '.join(str(error).split())[:300]}; nothing of it was kept") from None
        self._tell(before + path.stat().st_size)

    def _stream(self, url: str, output: Path, max_bytes: int) -> None:
        import requests

        if self._session is None:
            self._session = requests.Session()
            self._session.headers["Accept-Encoding"] = "identity"
        try:
            response = self._session.get(url, stream=True, timeout=_TIMEOUT)
        except requests.ConnectionError:
            raise FetchError(_offline(url)) from None
        with response, output.open("wb") as file:
            response.raise_for_status()
            said, n = response.headers.get("content-length", ""), 0
            for chunk in response.iter_content(_CHUNK):
                n += len(chunk)
                if n > max_bytes:
                    raise FetchError(f"{url}: more than the {max_bytes:,} bytes that it may have; nothing was kept")
                file.write(chunk)
                self._tell(self._done + len(chunk), said)
        self._done -= n  # counted again, by what is in place

    def _tell(self, done: int, said: str = "") -> None:
        self._done = done
        if self.progress is not None:
            self.progress(done, self.total or (int(said) if said.isdigit() else 0))


_AGAIN = "try again: what has arrived whole is kept"


def _reason(error: Exception) -> str:
    """Why a server's answer is none."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        return "the connection was cut before the end"
    return " ".join(str(error).split())[:200]


def _offline(url: str) -> str:
    return (
        f"{urlsplit(url).netloc} cannot be reached; fetch it where there is a network and copy the folder, or record a "
        "tour of an embedded house instead: embmem record out=tour"
    )
