"""Errors carry their hint, travel between processes, and name what may have been meant."""

from __future__ import annotations

import pickle

import pytest

from birefnet.cli.messages import as_options, say_error
from birefnet.errors import ConfigError, DeviceError, MissingExtra, did_you_mean, nearest


@pytest.mark.parametrize("kind", [ConfigError, DeviceError, MissingExtra])
def test_a_hint_is_not_part_of_the_sentence_and_travels(kind: type[Exception]) -> None:
    error = kind("It exists.", hint="choose another path, or `overwrite=True`")  # type: ignore[call-arg]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.hint) == ("It exists.", "choose another path, or `overwrite=True`")


def test_the_command_line_shows_parameters_as_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(ConfigError("No room.", hint='try `size=512`, `memory="low"` or `allow_extra=True`; see `a.png`'))
    assert capsys.readouterr().err == (
        "error: No room.\nhint: try `--size 512`, `--memory low` or `--allow-extra`; see `a.png`\n"
    )
    assert as_options("`x.png` is 3=3") == "`x.png` is 3=3"


def test_what_may_have_been_meant() -> None:
    assert nearest("Genral", ("general", "lite")) == "general"
    assert nearest("xyz", ("general", "lite")) is None
    assert did_you_mean("lit", ("general", "Lite")) == "did you mean `Lite`?"
