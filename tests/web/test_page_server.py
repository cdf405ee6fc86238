"""The page as `birefnet serve` shows it: the server can compute too, and only does so when it was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from birefnet import Remover
from tests.serving.live import in_process
from tests.web.browser import PHOTOS, PageUnderTest

pytestmark = pytest.mark.browser

COFFEE = PHOTOS / "coffee.jpg"


@pytest.mark.parametrize("root", ["", "/my cuts"])
def test_the_server_computes_once_it_was_chosen(chromium: Any, tmp_path: Path, root: str) -> None:
    with in_process("--root-path", root, log=tmp_path / "log", page=True) as (_, port):
        context = chromium.new_context()
        address = f"http://127.0.0.1:{port}{root}"
        context.new_page().goto(address)  # without a slash at its end, as people type it
        page = PageUnderTest(context, address).open()
        page.expect("#privacy").to_contain_text("Pictures never leave this machine")
        page.open_models()
        page.pick("place", "server")
        page.tab.keyboard.press("Escape")
        page.expect("#privacy").to_contain_text(f"Pictures are sent to 127.0.0.1:{port}")
        assert not any("v1/remove" in url for url in page.requests)
        page.choose(COFFEE)
        page.wait_done()
        assert sum("v1/remove" in url for url in page.requests) == 1
        assert all(url.startswith((f"{quote(address, safe='/:')}/", "blob:")) for url in page.requests)
        alpha = page.saved_pixels()[..., 3]
        context.close()
    np.testing.assert_array_equal(alpha, Remover()(COFFEE).mask)
