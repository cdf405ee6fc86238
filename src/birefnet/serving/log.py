"""The server's log: one line each, as JSON for machines or as text for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from birefnet.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")


class JsonLines(logging.Formatter):
    """{"time", "level", "logger", "message", ...}: what a record brings in `fields` stands beside."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """`12:30:01 info request method=POST path=/v1/remove status=200 ...`."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = f"{when} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


@contextmanager
def logging_to_stderr(level: str = "info", format: str = "json") -> Iterator[None]:
    """Write what we and uvicorn log to stderr, and nothing else there, for as long as the context lasts.

    Raises:
        ConfigError: for another level or format.
    """
    if level not in LEVELS or format not in FORMATS:
        known = f"levels {', '.join(LEVELS)}; formats {', '.join(FORMATS)}"
        raise ConfigError(f"There is no log of level `{level}` and format `{format}`; known: {known}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in ("birefnet", "uvicorn")]
    before = root.handlers, [logger.level for logger in loggers]
    root.handlers = [handler]
    for logger in loggers:
        logger.setLevel(level.upper())
    try:
        yield
    finally:
        root.handlers = before[0]
        for logger, was in zip(loggers, before[1], strict=True):
            logger.setLevel(was)
