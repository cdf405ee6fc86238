"""Files that are a picture and something else too, or cost far more than they weigh: refused before they are decoded.

What the server sends is always encoded anew, so nothing foreign passes through it. But such a file is not uploaded for
the picture in it, and other programs behind this one may be less careful.
"""

from __future__ import annotations

import re

_ARCHIVE_END = b"PK\x05\x06"
_ARCHIVE_TAIL = 22 + 65_535  # its last record, and the longest comment behind it
_HEAD = 1024  # browsers guess a file's type from less
_PAGE = re.compile(rb"<(?:!doctype\s+html|html[\s>]|script[\s>]|svg[\s>]|iframe[\s>]|\?php)", re.IGNORECASE)
_SCRIPT_SIZES = re.compile(rb"GIF8[79]a(?:/[*/]|=[ -~])")  # a GIF's width and height that are JavaScript
MAX_SCANS = 200  # of a progressive JPEG; cameras and tools write about ten, and each goes over the whole picture
_MAX_SEGMENTS = 20_000  # of 64 kB at most: more in one upload are tiny, and there to cost time
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)  # no coded data (FF 00), padding or restart
_SCAN, _END = b"\xda", b"\xd9"
_WITHOUT_LENGTH = (b"\x01", b"\xd8")


def why_refused(data: bytes) -> str | None:
    """What is wrong with the file of a picture, as the end of "The picture ..."; None if nothing is."""
    head = data[:_HEAD]
    if _is_archive(data):
        return "is also a ZIP archive"
    if b"%PDF-" in head:
        return "is also a PDF document"
    if _PAGE.search(head):
        return "is also a web page or a script"
    if _SCRIPT_SIZES.match(head):
        return "is also a script"
    if data.startswith(b"\xff\xd8") and (parts := _too_many_parts(data)):
        return f"is a JPEG of more than {parts}, which takes very long to decode"
    return None


def _too_many_parts(data: bytes) -> str | None:
    """What a JPEG has too many of, counted as decoders meet it: to its end marker.

    What lies behind that (a film, a second picture) is no part of it, nor is what segments hold (thumbnails, profiles).
    """
    scans, place = 0, 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None or found[1] == _END:
            return None
        place = found.end()
        if found[1] in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        if length < 2:  # which no decoder goes beyond
            return None
        place += length
        scans += found[1] == _SCAN
        if scans > MAX_SCANS:
            return f"{MAX_SCANS} scans"
    return f"{_MAX_SEGMENTS} segments"


def _is_archive(data: bytes) -> bool:
    """Whether programs that unpack archives, which look at a file's end, would take it for one."""
    tail = data[-_ARCHIVE_TAIL:]
    found = tail.rfind(_ARCHIVE_END)
    if found < 0 or len(tail) - found < 22:
        return False
    comment = int.from_bytes(tail[found + 20 : found + 22], "little")
    return len(tail) - found - 22 == comment
