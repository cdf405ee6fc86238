"""One site and one browser for all tests of the page; every test gets a tab that starts from nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.web.browser import PageUnderTest, launch


@pytest.fixture(scope="session")
def site_files() -> Mapping[str, Path | bytes]:
    from birefnet.serving.site import Site

    return Site().files()


@pytest.fixture(scope="session")
def site(site_files: Mapping[str, Path | bytes]) -> Iterator[str]:
    """The address of the page, served with all its headers."""
    from tests.web.transformers_host import host

    with host(site_files) as address:
        yield address


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Any) -> Iterator[Any]:
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Any, site: str) -> Iterator[PageUnderTest]:
    """A tab of its own. Whatever a test does in it: no request leaves the site, and no script fails."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    tab = PageUnderTest(context, site)
    yield tab
    context.close()
    check_clean(tab)


@pytest.fixture(scope="module")
def finished(chromium: Any, site: str) -> Iterator[PageUnderTest]:
    """A tab with one picture cut out, for tests that only look at it, or put back what they change."""
    from tests.web.browser import PHOTOS

    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    tab = PageUnderTest(context, site).open()
    tab.choose(PHOTOS / "coffee.jpg")
    tab.wait_done()
    yield tab
    context.close()
    check_clean(tab)


def check_clean(tab: PageUnderTest) -> None:
    origins = {urlsplit(url)[:2] for url in tab.requests if not url.startswith("blob:")}
    assert origins <= {urlsplit(tab.url)[:2]}
    assert not tab.faults
