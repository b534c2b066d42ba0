"""Downloads from a real server on this machine: whole and checked, or an error of one line and nothing left."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from box_room import walk

from embmem.cli.main import main
from embmem.errors import EmbmemError, FetchError, InputError, OutputExistsError
from embmem.fetch.archives import unpack
from embmem.fetch.download import fetch_sample, fetch_url
from embmem.fetch.samples import PublicSample, SampleFile, public_samples, sample_named
from embmem.recordings.opening import open_recording
from embmem.recordings.writing import write_recording

BODY = bytes(range(256)) * 40


class Server:
    """What lies where, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/a/one.bin": BODY, "/a/two.bin": BODY[::-1]}
        self.cut: set[str] = set()  # sent by half
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if self.path in outer.cut else body)
                self.close_connection = self.path in outer.cut

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    there = Server()
    yield there
    there.close()


def sample_on(server: Server, *files: SampleFile) -> PublicSample:
    both = files or (described("one.bin", BODY), described("deep/two.bin", BODY[::-1], "two.bin"))
    return PublicSample("both", "two files", "none", f"{server.url}a/", "embmem build {path}", both)


def described(name: str, data: bytes, address: str = "") -> SampleFile:
    return SampleFile(name, address or name, len(data), hashlib.sha256(data).hexdigest())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_sample_arrives_whole_and_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = fetch_sample(sample_on(server), tmp_path, progress=lambda done, total: told.append((done, total)))
    assert path == tmp_path / "both"
    assert everything(tmp_path) == {"both/one.bin": BODY, "both/deep/two.bin": BODY[::-1]}
    assert told[-1] == (2 * len(BODY), 2 * len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    fetch_sample(sample_on(server), tmp_path)
    assert len(server.asked) == 2


def test_a_second_call_goes_on_and_mends_what_is_damaged(server: Server, tmp_path: Path) -> None:
    server.cut.add("/a/two.bin")
    with pytest.raises(FetchError, match="cut before the end"):
        fetch_sample(sample_on(server), tmp_path)
    assert everything(tmp_path) == {"both.part/one.bin": BODY}
    server.cut.clear()
    path = fetch_sample(sample_on(server), tmp_path)
    assert server.asked == ["/a/one.bin", "/a/two.bin", "/a/two.bin"]
    (path / "one.bin").write_bytes(b"bits rot")
    fetch_sample(sample_on(server), tmp_path)
    assert everything(path) == {"one.bin": BODY, "deep/two.bin": BODY[::-1]}


@pytest.mark.parametrize(
    ("server_has", "expected"),
    [
        (BODY[:-1] + b"!", "does not match the known hash"),
        (BODY + b"more", "more than the"),
        (BODY[:-100], "does not match the known hash"),
        (None, "404 Not Found"),
    ],
)
def test_anything_but_what_was_published_is_refused(
    server: Server, tmp_path: Path, server_has: bytes | None, expected: str
) -> None:
    if server_has is None:
        del server.files["/a/one.bin"]
    else:
        server.files["/a/one.bin"] = server_has
    with pytest.raises(FetchError, match=expected) as caught:
        fetch_sample(sample_on(server, described("one.bin", BODY)), tmp_path)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == {}


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    sample = PublicSample("x", "", "", nobody, "", (described("one.bin", BODY),))
    with pytest.raises(FetchError, match=r"cannot be reached; .* embmem record out=tour") as caught:
        fetch_sample(sample, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "both").write_text("mine")
    with pytest.raises(OutputExistsError):
        fetch_sample(sample_on(server), tmp_path)
    assert (tmp_path / "both").read_text() == "mine"


def zipped(files: dict[str, bytes], *, mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


def tarred(*members: tuple[str, bytes, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, kind, data in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("make", [zipped, lambda f: tarred(*((n, tarfile.REGTYPE, d) for n, d in f.items()))])
def test_an_archive_of_a_recording_is_unpacked_and_opens(
    server: Server, tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    write_recording(walk(2), tmp_path / "made", layout="rgbd")
    packed = make({f"run/{name}": data for name, data in everything(tmp_path / "made").items()})
    server.files["/run%201.v2.zip"] = packed
    url, digest = f"{server.url}run%201.v2.zip", hashlib.sha256(packed).hexdigest()
    path = fetch_url(url, tmp_path, sha256=digest.upper())
    assert path == tmp_path / "run 1" / "run"
    assert open_recording(path).stream("depth") is not None
    assert everything(path) == everything(tmp_path / "made")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["made", "run 1"]
    with pytest.raises(OutputExistsError):
        fetch_url(url, tmp_path)
    with pytest.raises(FetchError, match="does not match"):
        fetch_url(url, tmp_path / "elsewhere", sha256="0" * 64)
    assert everything(tmp_path / "elsewhere") == {}


def test_a_plain_file_stays_a_file(server: Server, tmp_path: Path) -> None:
    assert fetch_url(f"{server.url}a/one.bin", tmp_path).read_bytes() == BODY
    assert everything(tmp_path) == {"one.bin": BODY}


ZEROS = bytes(80 << 20)
HOSTILE = {
    "dots": zipped({"../out": b"x"}),
    "absolute": zipped({"/tmp/out": b"x"}),
    "backslash": zipped({"a\\..\\..\\out": b"x"}),
    "drive": zipped({"c:out": b"x"}),
    "link in a zip": zipped({"link": b"/etc/passwd"}, mode=0o120777),
    "bomb": zipped({"zeros": ZEROS}),
    "cut zip": zipped({"a": os.urandom(1000)})[:-100],
    "tar dots": tarred(("a/../../out", tarfile.REGTYPE, b"x")),
    "tar absolute": tarred(("/tmp/out", tarfile.REGTYPE, b"x")),
    "link": tarred(("link", tarfile.SYMTYPE, b"")),
    "hard link": tarred(("link", tarfile.LNKTYPE, b"")),
    "device": tarred(("null", tarfile.CHRTYPE, b"")),
    "fifo": tarred(("fifo", tarfile.FIFOTYPE, b"")),
    "twice": tarred(("a", tarfile.REGTYPE, b"x"), ("a", tarfile.REGTYPE, b"y")),
    "file as a folder": tarred(("a", tarfile.REGTYPE, b"x"), ("a/b", tarfile.REGTYPE, b"y")),
    "tar bomb": tarred(("zeros", tarfile.REGTYPE, ZEROS)),
    "header bomb": tarred(("pax", tarfile.XHDTYPE, ZEROS)),
    "long name": tarred(("name", tarfile.GNUTYPE_LONGNAME, ZEROS[: 8 << 20])),
    "cut tar": tarred(("a", tarfile.REGTYPE, os.urandom(5000)))[:-2000],
    "no tar": gzip.compress(b"only text"),
    "xz": b"\xfd7zXZ\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_leaves_nothing(server: Server, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "enough"
    server.files["/bad.zip"] = HOSTILE[name]
    with pytest.raises(InputError) as caught:
        fetch_url(f"{server.url}bad.zip", folder)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == {}
    assert list(folder.iterdir()) == []


def test_damaged_archives_are_refused_or_unpacked(tmp_path: Path) -> None:
    rng, files = np.random.default_rng(0), {"a/b": BODY, "c": b"x"}
    for whole in (zipped(files), tarred(*((name, tarfile.REGTYPE, data) for name, data in files.items()))):
        for number in range(200):
            data = bytearray(whole)
            data[rng.integers(len(data))] = rng.integers(256)
            (tmp_path / "a").write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
            assert unpacks(tmp_path / "a", tmp_path / f"out{number}") == (tmp_path / f"out{number}").exists()
            shutil.rmtree(tmp_path / f"out{number}", ignore_errors=True)


def unpacks(path: Path, folder: Path) -> bool:
    try:
        unpack(path, folder)
    except InputError as error:
        return "\n" in str(error)
    return True


@pytest.mark.parametrize("url", ["ftp://host/a.zip", "file:///etc/passwd", "https://host/", "https:///a.zip"])
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="no address of a file"):
        fetch_url(url, tmp_path)


def test_samples_are_described_in_full() -> None:
    for sample in public_samples().values():
        assert sample.then.startswith("embmem ")
        assert "{path}" in sample.then
        assert sample.url.startswith("https://raw.githubusercontent.com/")
        assert len(sample.url.split("/")[5]) == 40, "a commit, so that nothing moves"
        assert len({file.name for file in sample.files}) == len(sample.files)
        assert all(len(file.sha256) == 64 and file.n_bytes > 0 for file in sample.files)
        assert all(".." not in file.name and not file.name.startswith("/") for file in sample.files)
    with pytest.raises(InputError, match="there are kinect"):
        sample_named("kinekt")


LOCAL = {
    "kinect": ("rgbd/seven_scenes", {}),
    "3dmatch": ("rgbd/3dmatch", {}),
    "redwood": ("rgbd/redwood_living_room", {"color/": "color_", "depth/": "depth_"}),
    "scans": ("octomap", {}),
    "building": ("octomap", {}),
    "turtlebot": ("ros2", {}),
}


@pytest.mark.parametrize("name", LOCAL)
def test_samples_open_and_are_the_files_that_we_know(server: Server, tmp_path: Path, name: str) -> None:
    """From this machine instead of the web: the same bytes, in the folder that a reader knows."""
    data = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")) / LOCAL[name][0]
    if not data.is_dir():
        pytest.skip("EMBMEM_DATA_DIR holds no public data")
    sample = replace(sample_named(name), files=sample_named(name).files[:31], url=server.url)
    for file in sample.files:
        local = file.name
        for ours, theirs in LOCAL[name][1].items():
            local = local.replace(ours, theirs)
        server.files[f"/{file.address}"] = (data / local).read_bytes()
    path = fetch_sample(sample, tmp_path)
    if name == "building":
        assert (path / "geb079.bt").is_file()
        return
    recording = open_recording(Path(sample.then.split()[2].format(path=path)))
    assert any(stream.n_samples for stream in recording.streams)


def test_the_command_lists_fetches_and_complains(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in public_samples())
    url, digest = f"{server.url}a/one.bin", hashlib.sha256(BODY).hexdigest()
    assert main(["fetch", url, f"sha256={digest}", f"folder={tmp_path}"]) == 0
    assert f"embmem doctor {tmp_path}/one.bin" in capsys.readouterr().out
    for words in (["nothing"], [f"{server.url}b"], [url], [url, "sha256=12"]):
        assert main(["fetch", *words, f"folder={tmp_path}"]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert issubclass(FetchError, EmbmemError)
