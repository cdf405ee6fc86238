"""Fetching, tried on a server of our own: going on, checking, giving up, mirrors and staying offline."""

from __future__ import annotations

import hashlib
import inspect
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import pytest
import torch

from birefnet.cache import cache_folder
from birefnet.errors import DownloadError, WeightsError
from birefnet.network.birefnet import BiRefNet
from birefnet.weights import download, transfer
from birefnet.weights.checkpoint import load_model, save_model
from birefnet.weights.download import address, fetch, find_cached, hub_weights, is_offline
from birefnet.weights.entries import BundledFile, HubFile, ReleaseFile
from birefnet.weights.zoo import ZOO
from tests.weights.serving import COMMIT, Served, serving

CONTENT = bytes(range(256)) * 40_000  # 10 MB: ten pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "somebody/something/releases/download/v1/a.pth"
FILE = ReleaseFile(path=PATH, sha256=SHA256, size=len(CONTENT))


class Heard(NamedTuple):
    """What was said and how the count went."""

    sentences: list[str]
    counts: list[tuple[int, int | None]]

    def fetch(self, file: Any, **options: Any) -> Path:
        return fetch(file, say=self.sentences.append, progress=lambda *count: self.counts.append(count), **options)


@pytest.fixture
def heard() -> Heard:
    return Heard([], [])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    for name in ("BIREFNET_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    with serving() as served:
        monkeypatch.setenv("BIREFNET_MIRROR", served.address + "/")
        monkeypatch.setenv("HF_ENDPOINT", served.address + "/")
        yield served


def left_over(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.iterdir() if other.suffix != ".lock")


# -- release files ----------------------------------------------------------------------------------------------


def test_fetched_once(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    path = heard.fetch(FILE)
    assert path == cache_folder() / "releases/somebody/something/v1/a.pth"
    assert path.read_bytes() == CONTENT
    assert heard.sentences == [f"Fetching a.pth (10 MB) from {server.address.removeprefix('http://')}."]
    assert heard.counts[0] == (0, len(CONTENT))
    assert heard.counts[-1] == (len(CONTENT), len(CONTENT))
    assert heard.fetch(FILE, offline=True) == find_cached(FILE) == path
    assert server.fetched == [PATH]
    assert left_over(path) == ["a.pth"]


@pytest.mark.parametrize("etags", [True, False])
def test_goes_on_where_it_broke(server: Served, heard: Heard, etags: bool) -> None:
    server.files[PATH] = CONTENT
    server.etags = etags
    server.faults = ["cut", "cut", "503"]
    path = heard.fetch(FILE)
    assert path.read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [request[2] for request in server.requests] == [
        "",
        f"bytes={half}-",
        f"bytes={half + quarter}-",
        f"bytes={half + quarter}-",
    ]
    assert sum("broke" in sentence for sentence in heard.sentences) == 3
    assert "of which 8 MB are here already" in heard.sentences[-1]
    assert left_over(path) == ["a.pth"]


def test_goes_on_after_giving_up(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    server.faults = ["cut", "503", "503", "503", "503"]
    with pytest.raises(DownloadError, match=r"503 Service Unavailable; what has come is kept, run it again to go on"):
        heard.fetch(FILE)
    assert find_cached(FILE) is None
    server.requests.clear()
    assert heard.fetch(FILE).read_bytes() == CONTENT
    assert server.requests == [("GET", PATH, f"bytes={len(CONTENT) // 2}-")]


def test_server_that_knows_no_ranges(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    server.faults = ["cut", "plain"]
    assert heard.fetch(FILE).read_bytes() == CONTENT


def test_server_that_sends_another_range(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    server.faults = ["cut", "lie"]
    assert heard.fetch(FILE).read_bytes() == CONTENT


def test_file_that_changed_meanwhile(server: Served, heard: Heard) -> None:
    unknown = ReleaseFile(path=PATH)
    server.files[PATH] = bytes(len(CONTENT))
    server.faults = ["cut", *["500"] * 5]
    with pytest.raises(DownloadError):
        heard.fetch(unknown)
    server.files[PATH] = CONTENT
    server.faults = []
    assert heard.fetch(unknown).read_bytes() == CONTENT


def test_part_that_is_whole_already(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    part = cache_folder() / "releases/somebody/something/v1/a.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert heard.fetch(FILE).read_bytes() == CONTENT
    assert server.requests == [("GET", PATH, f"bytes={len(CONTENT)}-")]


def test_part_of_a_longer_file(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    part = cache_folder() / "releases/somebody/something/v1/a.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert heard.fetch(FILE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}, it should be {'0' * 64}; it was deleted"),
        ({"sha256": "deadbeef"}, r"it should be deadbeef\.\.\.;"),
        ({"md5": "0" * 32}, "its md5 is"),
    ],
)
def test_wrong_checksum(server: Served, heard: Heard, known: dict[str, str], message: str) -> None:
    server.files[PATH] = CONTENT
    with pytest.raises(DownloadError, match=message):
        heard.fetch(ReleaseFile(path=PATH, **known))
    assert left_over(cache_folder() / "releases/somebody/something/v1/a.pth") == []


def test_right_beginning_of_a_checksum(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    known = ReleaseFile(path=PATH, sha256=SHA256[:8].upper(), md5=hashlib.md5(CONTENT).hexdigest())
    assert heard.fetch(known).read_bytes() == CONTENT


def test_wrong_size_is_not_even_fetched(server: Served, heard: Heard) -> None:
    server.files[PATH] = CONTENT
    with pytest.raises(DownloadError, match="has 10240000 bytes, the published file has 5: not fetched"):
        heard.fetch(ReleaseFile(path=PATH, size=5))
    assert heard.counts == []


def test_no_such_file(server: Served, heard: Heard) -> None:
    with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
        heard.fetch(FILE)
    assert len(server.requests) == 1


def test_no_server(server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIREFNET_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"Connection refused; what has come is kept"):
        heard.fetch(FILE)
    monkeypatch.setenv("BIREFNET_MIRROR", "/home/me")
    with pytest.raises(DownloadError, match="is no web address; BIREFNET_MIRROR"):
        heard.fetch(FILE)


def test_disk_without_room(server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[PATH] = CONTENT
    usage = shutil.disk_usage(".")._replace(free=5_000_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="10 MB are needed, 5 MB are free"):
        heard.fetch(FILE)


def test_disk_that_fills_up(server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[PATH] = CONTENT

    def full(done: int, total: int | None) -> None:
        if done:
            raise OSError(28, "No space left on device")

    with pytest.raises(DownloadError, match="is full; make room and run it again to go on"):
        fetch(FILE, progress=full)
    assert find_cached(FILE) is None
    assert heard.fetch(FILE).read_bytes() == CONTENT
    assert "already" in heard.sentences[0]


def test_cache_that_cannot_be_written(
    server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.files[PATH] = CONTENT
    (tmp_path / "file").touch()
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="Could not write"):
        heard.fetch(FILE)


def test_two_at_once_take_turns(server: Served) -> None:
    server.files[PATH] = CONTENT
    sentences: list[str] = []
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(FILE, say=sentences.append))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert server.fetched == [PATH]
    assert sum(sentence.startswith("Fetching") for sentence in sentences) == 1


# -- the Hub ----------------------------------------------------------------------------------------------------


def test_hub_file(server: Served, heard: Heard) -> None:
    server.files["somebody/something/model.safetensors"] = CONTENT
    file = HubFile(repository="somebody/something", sha256=SHA256, seen="7838f1c")
    path = heard.fetch(file)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache_folder() / "hub")
    assert path.parent.name == COMMIT
    assert heard.sentences == [
        f"Fetching model.safetensors of somebody/something (10 MB) from {server.address.removeprefix('http://')}."
    ]
    if "tqdm_class" in inspect.signature(huggingface_hub.hf_hub_download).parameters:  # older ones do not tell
        assert heard.counts[-1] == (len(CONTENT), len(CONTENT))
    server.requests.clear()
    assert heard.fetch(file, offline=True) == heard.fetch(file) == path
    assert server.requests == []
    assert not [name for name in server.fetched if name.endswith((".py", ".json"))]


def test_hub_file_that_has_changed(server: Served, heard: Heard) -> None:
    server.files["somebody/something/model.safetensors"] = CONTENT
    heard.fetch(HubFile(repository="somebody/something", seen="1234567"))
    assert "has changed since" in heard.sentences[1]


def test_hub_file_with_wrong_checksum(server: Served, heard: Heard) -> None:
    server.files["somebody/something/model.safetensors"] = CONTENT
    file = HubFile(repository="somebody/something", sha256="0" * 64)
    for _ in range(2):  # the second time it is fetched again
        with pytest.raises(DownloadError, match="its sha256 is"):
            heard.fetch(file)
    assert len(server.fetched) == 2


@pytest.mark.parametrize(
    ("revision", "path", "message"),
    [("main", "b.safetensors", "has no such file"), ("no such", "a.safetensors", "has no such revision")],
)
def test_hub_file_that_is_not_there(server: Served, heard: Heard, revision: str, path: str, message: str) -> None:
    server.files["somebody/something/a.safetensors"] = CONTENT
    with pytest.raises(DownloadError, match=message):
        heard.fetch(HubFile(repository="somebody/something", path=path, revision=revision))


def test_no_hub(server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"Could not fetch `http://127\.0\.0\.1:9/.*HF_ENDPOINT"):
        heard.fetch(HubFile(repository="somebody/something"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["pytorch_model.bin", "model.safetensors", "birefnet.py"], "model.safetensors"),
        (["pytorch_model.bin", "other.pth"], "pytorch_model.bin"),
        (["deep/toonout.pth", "README.md"], "deep/toonout.pth"),
    ],
)
def test_any_repository(server: Served, names: list[str], chosen: str) -> None:
    server.files = {f"somebody/something/{name}": b"x" for name in names}
    assert hub_weights("somebody/something") == HubFile(repository="somebody/something", path=chosen)


def test_repositories_that_will_not_do(server: Served) -> None:
    with pytest.raises(DownloadError, match="no such repository"):
        hub_weights("somebody/something")
    server.files = {"somebody/something/README.md": b"x"}
    with pytest.raises(WeightsError, match="it has none"):
        hub_weights("somebody/something")
    server.files |= {"somebody/something/a.pth": b"x", "somebody/something/b.pth": b"x"}
    with pytest.raises(WeightsError, match=r"it has several: a\.pth, b\.pth"):
        hub_weights("somebody/something")


def test_model_from_a_repository(server: Served, tiny: BiRefNet, tmp_path: Path) -> None:
    content = save_model(tiny, tmp_path / "a.safetensors").read_bytes()
    server.files = {
        "somebody/something/model.safetensors": content,
        "somebody/something/birefnet.py": b"raise SystemExit",
    }
    model = load_model("somebody/something")
    assert torch.equal(model.decoder.head.weight, tiny.decoder.head.weight)
    assert "somebody/something/birefnet.py" not in "".join(server.fetched)
    assert load_model("somebody/something", offline=True).config == tiny.config
    with pytest.raises(DownloadError, match="offline"):
        load_model("somebody/something@v2", offline=True)


def test_model_from_the_zoo(server: Served, tiny: BiRefNet, tmp_path: Path) -> None:
    content = save_model(tiny, tmp_path / "a.safetensors").read_bytes()
    server.files["ZhengPeng7/BiRefNet_HR/model.safetensors"] = content
    assert load_model("birefnet-hr").config == tiny.config
    torch.save(tiny.state_dict(), tmp_path / "a.pth")
    server.files["ZhengPeng7/BiRefNet/releases/download/v1/BiRefNet-ep480.pth"] = (tmp_path / "a.pth").read_bytes()
    assert load_model("ep480").config == tiny.config


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BIREFNET_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(server: Served, heard: Heard, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    server.files[PATH] = CONTENT
    for value in ("1", "true", "YES", "on"):
        monkeypatch.setenv(name, value)
        for file in (FILE, HubFile(repository="somebody/something", megabytes=445)):
            with pytest.raises(DownloadError, match=r"is not on this disk and nothing may be fetched \(offline\)"):
                heard.fetch(file)
        with pytest.raises(DownloadError, match="offline"):
            hub_weights("somebody/something")
    assert server.requests == []
    monkeypatch.setenv(name, "0")
    assert not is_offline()


def test_addresses_without_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIREFNET_MIRROR", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    general = ZOO["general"]
    assert general.release is not None
    assert address(general.weights) == (
        "https://huggingface.co/ZhengPeng7/BiRefNet/resolve/e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4/model.safetensors"
    )
    assert address(general.release) == (
        "https://github.com/ZhengPeng7/BiRefNet/releases/download/v1/BiRefNet-general-epoch_244.pth"
    )


def test_bundled_file_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "BUNDLED", tmp_path)
    with pytest.raises(WeightsError, match=r"no `nano\.safetensors`"):
        load_model("nano")
    (tmp_path / "a.bin").touch()
    assert fetch(BundledFile(filename="a.bin")) == tmp_path / "a.bin"
