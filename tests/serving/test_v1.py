"""Our own API."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet import Remover
from birefnet.serving import work
from birefnet.serving.turnstile import Budget
from tests.serving.live import opened, picture


def test_nano_answers_as_the_library_does(client: Any) -> None:
    data = picture(200, 150, "JPEG")
    answer = client.post("/v1/remove?model=nano", content=data, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    wanted = Remover("nano", threads=1)(data)
    assert answer.headers["x-has-foreground"] == str(wanted.has_foreground).lower()
    assert np.array_equal(np.asarray(opened(answer.content)), wanted.rgba)


@pytest.mark.parametrize("how", ["query", "form"])
def test_options_come_by_address_or_form(client: Any, how: str) -> None:
    options = {"mask_only": "true", "format": "webp"}
    sent = {"params": options} if how == "query" else {"data": options}
    answer = client.post("/v1/remove", files={"image": ("cat.png", picture())}, **sent)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    mask = np.asarray(opened(answer.content).convert("L"))
    assert mask.shape == (40, 60) and mask[20, 30] > 250 and mask[2, 2] < 5


def test_the_form_wins_over_the_address(client: Any) -> None:
    answer = client.post("/v1/remove?format=webp", files={"image": picture()}, data={"format": "tiff"})
    assert answer.headers["content-type"] == "image/tiff"


@pytest.mark.parametrize(
    ("options", "kind", "mode"),
    [
        ({}, "image/png", "RGBA"),
        ({"format": "webp", "quality": "50"}, "image/webp", "RGBA"),
        ({"format": "jpg", "background": "white"}, "image/jpeg", "RGB"),
        ({"format": "JPG", "output": "mask"}, "image/jpeg", "L"),
        ({"background": "blur"}, "image/png", "RGB"),
        ({"background": "0,0,255,128"}, "image/png", "RGBA"),
        ({"refine": "1"}, "image/png", "RGBA"),
        ({"size": "64"}, "image/png", "RGBA"),
    ],
)
def test_every_kind_of_answer(client: Any, options: dict[str, str], kind: str, mode: str) -> None:
    answer = client.post("/v1/remove", files={"image": picture()}, data=options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == kind
    made = opened(answer.content)
    assert made.size == (60, 40) and made.mode == mode


def test_json_holds_both_and_the_facts(client: Any) -> None:
    answer = client.post("/v1/remove?output=json", files={"image": picture()}).json()
    assert (answer["width"], answer["height"], answer["has_foreground"]) == (60, 40, True)
    mask = opened(base64.b64decode(answer["mask"].partition(",")[2]))
    cutout = opened(base64.b64decode(answer["image"].partition(",")[2]))
    assert np.array_equal(np.asarray(cutout)[..., 3], np.asarray(mask))
    assert {"read", "network", "cut"} <= set(answer["seconds"])


def test_a_background_picture_is_a_file_of_the_form(client: Any) -> None:
    behind = picture(30, 20)
    answer = client.post("/v1/remove", files={"image": picture(), "background": behind})
    assert answer.status_code == 200 and opened(answer.content).mode == "RGB"
    twice = client.post("/v1/remove?background=red", files={"image": picture(), "background": behind})
    assert twice.status_code == 422 and "twice" in twice.json()["detail"]


def test_a_background_picture_counts_among_the_pixels_in_work(
    make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    class Counted(Budget):
        def take(self, amount: int) -> AbstractContextManager[None]:
            held.append(amount)
            return super().take(amount)

    monkeypatch.setattr(work, "Budget", Counted)
    client = make_client(max_pixels=2400, max_bytes=100_000)
    sent = {"image": picture(60, 40), "background": picture(30, 20)}
    assert client.post("/v1/remove", files=sent).status_code == 200 and held == [2400 + 600]
    assert client.post("/v1/remove", files={"image": picture()}).status_code == 200 and held[1:] == [2400]
    large = client.post("/v1/remove", files={"image": picture(), "background": picture(61, 40)})
    assert large.status_code == 413 and "background picture is 61x40" in large.json()["detail"] and len(held) == 2
    heavy = client.post("/v1/remove", files={"image": picture(), "background": picture(30, 20) + bytes(100_000)})
    assert heavy.status_code == 413 and "`background`" in heavy.json()["detail"]


def test_pictures_and_backgrounds_wait_for_each_other_without_a_deadlock(make_client: Any) -> None:
    client = make_client(max_pixels=2400, devices=("cpu", "cpu"))
    sent = {"image": picture(60, 40), "background": picture(60, 40)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/remove", files=sent), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"fomat": "png"}, "no option `fomat`"),
        ({"format": "gif"}, "format"),
        ({"format": "jpg"}, "no transparency"),
        ({"quality": "101"}, "quality"),
        ({"size": "1000"}, "992"),
        ({"size": "2592"}, "2560"),
        ({"size": "native"}, "native"),
        ({"size": "64x"}, "size"),
        ({"background": "notacolour"}, "not a colour"),
        ({"background": "wite"}, "; did you mean `white`?"),
        ({"background": "/etc/hostname"}, "not a colour"),
        ({"mask_only": "1", "background": "red"}, "no background"),
        ({"refine_method": "magic"}, "refine_method"),
        ({"model": "general"}, "offered here"),
        ({"model": "../../etc/passwd"}, "offered here"),
        ({"model": "https://example.org/model.onnx"}, "offered here"),
    ],
)
def test_wrong_options_are_one_sentence(client: Any, options: dict[str, str], word: str) -> None:
    answer = client.post("/v1/remove", files={"image": picture()}, data=options)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert client.service.line.taken == 0


def test_what_is_not_a_picture_or_not_sent_as_one(client: Any) -> None:
    assert client.post("/v1/remove", content=b"hello").status_code == 415
    assert client.post("/v1/remove", json={"image": "x"}).status_code == 415
    assert client.post("/v1/remove", files={"image": b""}).status_code == 422
    assert client.post("/v1/remove", files={"picture": picture()}).status_code == 422
    assert client.post("/v1/remove", data={"image": "text"}, files={"background": picture()}).status_code == 422
    assert client.post("/v1/remove", content=picture(300, 200)[:200]).status_code == 422


def test_limits_of_bytes_and_pixels(make_client: Any) -> None:
    small = make_client(max_bytes=2000, max_pixels=2399)
    noisy = np.random.default_rng(0).integers(0, 255, 3000, np.uint8).tobytes()
    assert small.post("/v1/remove", content=noisy).status_code == 413
    many = small.post("/v1/remove", content=picture(60, 40))
    assert many.status_code == 413 and "60x40" in many.json()["detail"]
    assert make_client(max_bytes=2000, max_pixels=2400).post("/v1/remove", content=picture()).status_code == 200


def test_models_are_listed_with_the_default_first(client: Any) -> None:
    told = client.get("/v1/models").json()
    assert [row["name"] for row in told["models"]] == ["bright", "nano"]
    assert [row["default"] for row in told["models"]] == [True, False]
    assert told["models"][1]["size"] == [576, 576] and "birefnet-nano" in told["models"][1]["aliases"]
    assert told["limits"]["fetches_urls"] is False
    assert str(client.service.settings.models["bright"]) not in str(told)  # no paths of this machine


def test_a_file_called_like_a_published_model_is_not_told_to_be_one(make_client: Any, standin: Path) -> None:
    client = make_client(models={"general": str(standin), "small": "nano"})
    own, small = client.get("/v1/models").json()["models"]
    assert own["name"] == "general" and not own["size"] and not own["aliases"] and not own["license"]
    assert small["name"] == "small" and small["size"] == [576, 576] and "nano" in small["aliases"]
    assert client.post("/v1/remove?model=nano&output=json", content=picture()).json()["model"] == "small"
    assert client.post("/v1/remove?model=BiRefNet", content=picture()).status_code == 422


def test_two_at_a_time_give_the_same(make_client: Any) -> None:
    single, double = make_client(), make_client(devices=("cpu", "cpu"))
    pictures = [picture(40 + 10 * number, 50) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda data: double.post("/v1/remove", content=data), pictures))
    for data, answer in zip(pictures, answers, strict=True):
        assert answer.status_code == 200
        assert answer.content == single.post("/v1/remove", content=data).content


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("JPG", "JPEG"), ("tif", "TIFF"), ("TIFF", "TIFF")])
def test_formats_have_all_their_names(client: Any, name: str, kind: str) -> None:
    options = {"format": name, "background": "white"}
    answer = client.post("/v1/remove", files={"image": picture()}, data=options)
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).format == kind
