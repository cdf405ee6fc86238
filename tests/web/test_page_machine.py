"""What the page does with the machine: worker, threads, WebGPU, cache, memory; and what happens when they fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet import Remover
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.web_selftest import known_answers
from tests.web.browser import PATIENCE, PHOTOS, PageUnderTest, launch
from tests.web.conftest import check_clean
from tests.web.transformers_host import host

pytestmark = pytest.mark.browser

COFFEE = PHOTOS / "coffee.jpg"
MANIFEST = "models/nano/birefnet.json"
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")

# A tab that is kept waiting shows it in the time between two frames and in tasks that the browser calls long.
WATCH = """() => {
    window.longTasks = [];
    new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: "longtask" });
    window.frames = 0;
    const step = () => { window.frames++; requestAnimationFrame(step); };
    requestAnimationFrame(step);
}"""


def alpha_of(page: PageUnderTest) -> np.ndarray:
    page.pick("view", "alpha")
    return page.saved_pixels()


def test_the_page_stays_awake_while_it_computes(page: PageUnderTest) -> None:
    page.open()
    page.tab.evaluate(WATCH)
    page.choose(COFFEE, PHOTOS / "flower.jpg")
    page.wait_done(2)
    longest = max(page.tab.evaluate("window.longTasks"), default=0)
    # Milliseconds. Computing one picture in the page would be one task as long as the status says, or longer.
    seconds = float(page.tab.inner_text("#item-status").split(" · ")[2].removesuffix(" s"))
    assert longest < max(200, 500 * seconds)
    assert page.tab.evaluate("window.frames") > 10


def test_more_than_one_thread_where_the_headers_are(page: PageUnderTest) -> None:
    page.open()
    page.choose(COFFEE)
    page.wait_done()
    assert page.tab.evaluate("crossOriginIsolated")
    cores = page.tab.evaluate("navigator.hardwareConcurrency")
    words = f"{min(cores, 8)} thread{'s' if cores > 1 else ''}"
    page.expect("#engine-label").to_have_text(f"nano · {words}")


def test_one_thread_without_the_headers(chromium: Any, site_files: Mapping[str, Path | bytes]) -> None:
    with host(site_files, {}) as address:
        context = chromium.new_context(service_workers="block")
        page = PageUnderTest(context, address).open()
        page.choose(COFFEE)
        page.wait_done()
        assert not page.tab.evaluate("crossOriginIsolated")
        page.expect("#engine-label").to_have_text("nano · 1 thread")
        wanted = Remover("nano")(COFFEE).alpha * 255
        assert np.abs(alpha_of(page) - wanted).max() <= 3
        context.close()
        check_clean(page)


def test_the_worker_that_adds_headers_brings_threads(chromium: Any, site_files: Mapping[str, Path | bytes]) -> None:
    with host(site_files, {}) as address:
        context = chromium.new_context()
        page = PageUnderTest(context, address).open()
        page.tab.wait_for_function("() => crossOriginIsolated")
        page.choose(COFFEE)
        page.wait_done()
        threads = min(page.tab.evaluate("navigator.hardwareConcurrency"), 8)
        page.expect("#engine-label").to_contain_text(f"{threads} thread")
        context.close()


def test_the_model_is_kept_listed_and_removed(page: PageUnderTest) -> None:
    page.open()
    page.expect("#first-use").to_contain_text("9.2 MB")
    page.choose(COFFEE)
    page.wait_done()
    page.requests.clear()
    page.open()
    page.tab.locator("body[data-engine=ready]").wait_for()
    assert not [url for url in page.requests if url.endswith(".onnx")]
    page.expect("#first-use").to_be_empty()
    page.open_models()
    page.expect("#model-list").to_contain_text("9.2 MB, kept here")
    page.tab.locator("#model-list button:text('Remove')").click()
    page.expect("#model-list").to_contain_text("9.2 MB to download")
    page.requests.clear()
    page.open()
    page.expect("#first-use").to_contain_text("9.2 MB")
    page.choose(COFFEE)
    page.wait_done()
    assert [url for url in page.requests if url.endswith(".onnx")]


# The browser's store answers two questions, of the note on the page and of the list, truly and late.
LATE = """() => {
    const match = Cache.prototype.match;
    window.asked = 0;
    window.answered = 0;
    Cache.prototype.match = async function (...given) {
        const late = window.asked++ < 2;
        const found = await match.apply(this, given);
        if (!late) return found;
        await new Promise((go) => setTimeout(go, 2000));
        setTimeout(() => window.answered++, 100);
        return found;
    };
}"""


def test_an_old_answer_about_what_is_kept_comes_too_late(page: PageUnderTest) -> None:
    page.open()
    page.choose(COFFEE)
    page.wait_done()
    page.open_models()
    page.expect("#model-list").to_contain_text("kept here")
    page.tab.evaluate(LATE)
    page.tab.locator("#backend").select_option("wasm")
    page.tab.wait_for_function("() => window.asked >= 2")
    page.tab.locator("#model-list button:text('Remove')").click()
    page.expect("#model-list").to_contain_text("9.2 MB to download")
    page.tab.wait_for_function("() => window.answered >= 2")
    page.expect("#model-list").to_contain_text("9.2 MB to download")


def test_without_a_connection_once_it_is_open(page: PageUnderTest) -> None:
    page.open()
    page.choose(COFFEE)
    page.wait_done()
    page.tab.context.set_offline(True)
    page.tab.locator("#clear").click()
    page.requests.clear()
    page.choose(PHOTOS / "flower.jpg")
    page.wait_done()
    assert not [url for url in page.requests if not url.startswith("blob:")]
    wanted = Remover()(PHOTOS / "flower.jpg").alpha * 255
    assert np.abs(alpha_of(page) - wanted).max() <= 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"x" * 9_231_710, "did not arrive as it was published"), (b"x", "came with 1 bytes instead of 9231710")],
)
def test_a_model_that_is_not_what_was_published(
    chromium: Any, site_files: Mapping[str, Path | bytes], content: bytes, sentence: str
) -> None:
    with host({**site_files, "models/nano/onnx/model.onnx": content}) as address:
        page = PageUnderTest(chromium.new_context(), address).open()
        page.choose(COFFEE)
        page.wait_done(status="failed")
        page.expect("#trouble").to_contain_text(sentence)
        page.tab.context.close()


def manifest(files: Mapping[str, Path | bytes]) -> dict[str, Any]:
    content = files[MANIFEST]
    assert isinstance(content, bytes)
    return dict(json.loads(content))


def test_too_little_memory_is_said_before_and_after(chromium: Any, site_files: Mapping[str, Path | bytes]) -> None:
    changed = manifest(site_files)
    changed["variants"][0]["memory"] = 5_000_000_000
    with host({**site_files, MANIFEST: json.dumps(changed).encode()}) as address:
        page = PageUnderTest(chromium.new_context(), address).open()
        page.open_models()
        page.expect("#model-list").to_contain_text("more than the 4 GB a page can have")
        page.tab.context.close()


def test_many_pictures_in_a_row_take_no_more_memory(playwright: Any, site: str) -> None:
    browser = launch(playwright)
    page = PageUnderTest(browser.new_context(), site).open()
    rows = []
    for number, name in enumerate(("coffee", "flower", "chelsea", "rocket") * 4, 1):
        page.choose(PHOTOS / f"{name}.jpg")
        page.wait_done(number)
        page.tab.locator(".thumb").nth(number - 1).click()
        page.tab.wait_for_timeout(300)
        rows.append(renderer_bytes(browser))
    browser.close()
    # The workers' garbage settles at a level in the first pictures; a kept picture or tensor would go on from there.
    assert max(rows[12:]) < max(rows[4:8]) * 1.25, rows


def renderer_bytes(browser: Any) -> int:
    """Memory of the largest renderer: the page with its workers."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    pids = [process["id"] for process in processes if process["type"] == "renderer"]
    return max(_resident(pid) for pid in pids)


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def test_webgpu_without_an_adapter_falls_back_and_says_so(page: PageUnderTest) -> None:
    page.open("?engine=webgpu")
    page.choose(COFFEE)
    page.wait_done()
    page.expect("#notices").to_contain_text("Computing on the processor instead.")
    page.expect("#engine-label").to_contain_text("thread")


@pytest.fixture
def small_nano(tmp_path_factory: pytest.TempPathFactory, site_files: Mapping[str, Path | bytes]) -> dict[str, Any]:
    """The site with nano at 256x256 in the place of the one at its own size."""
    import hashlib

    from birefnet.cli.main import run

    path = tmp_path_factory.mktemp("nano") / "model.onnx"
    assert run(["export", "nano", "--size", "256", "-o", str(path)]) == 0
    content = path.read_bytes()
    told = manifest(site_files)
    told["input"] |= {"width": 256, "height": 256}
    file = {"path": "onnx/model.onnx", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    answers = known_answers(OnnxRuntime(path, device="cpu"), InputSpec(width=256, height=256))
    told["variants"] = [
        {**told["variants"][0], "dtype": "fp32", "files": [file], "bytes": len(content), "self_test": answers}
    ]
    told["default"] = "fp32"
    return {**site_files, MANIFEST: json.dumps(told).encode(), "models/nano/onnx/model.onnx": path, "path": path}


@pytest.mark.slow  # a graphics card made of software: a minute and more
def test_webgpu_that_fails_its_self_test_falls_back_and_says_so(playwright: Any, small_nano: dict[str, Any]) -> None:
    changed = json.loads(small_nano[MANIFEST])
    points = [[y, x] for y in range(16, 256, 32) for x in range(16, 256, 32)]
    changed["variants"][0]["self_test"] = {"points": points, "logits": [0.0] * len(points)}  # no model answers so
    browser = launch(playwright, *SOFTWARE_GPU)
    with host({**small_nano, MANIFEST: json.dumps(changed).encode()}) as address:
        page = PageUnderTest(browser.new_context(), address).open("?engine=webgpu")
        page.choose(COFFEE)
        page.tab.locator(".thumb[data-status=done]").wait_for(timeout=5 * PATIENCE)
        page.expect("#notices").to_contain_text("WebGPU failed its self-test")
        page.expect("body").to_have_attribute("data-backend", "wasm")
    browser.close()


@pytest.mark.slow  # a graphics card made of software: a minute and more
def test_webgpu_on_a_software_adapter_is_right(playwright: Any, small_nano: dict[str, Any]) -> None:
    browser = launch(playwright, *SOFTWARE_GPU)
    with host(small_nano) as address:
        page = PageUnderTest(browser.new_context(), address).open("?engine=webgpu")
        page.choose(COFFEE)
        page.tab.locator(".thumb[data-status=done]").wait_for(timeout=8 * PATIENCE)
        page.expect("body").to_have_attribute("data-backend", "webgpu")
        wanted = Remover(small_nano["path"])(Image.open(COFFEE)).alpha * 255
        assert np.abs(alpha_of(page) - wanted).max() <= 3
    browser.close()


def test_a_webgpu_build_that_does_not_load_falls_back(playwright: Any, site_files: Mapping[str, Path | bytes]) -> None:
    files = {path: source for path, source in site_files.items() if "asyncify" not in path}
    browser = launch(playwright, *SOFTWARE_GPU)
    with host(files) as address:
        page = PageUnderTest(browser.new_context(), address).open("?engine=webgpu")
        page.choose(COFFEE)
        page.wait_done()
        page.expect("#notices").to_contain_text("Computing on the processor instead.")
    browser.close()
