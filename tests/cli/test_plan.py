"""Which file is written for which picture."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from birefnet.cli.plan import plan
from birefnet.errors import ConfigError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which paths are given as a person types them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def named(inputs: list[str], output: str | None = None, suffix: str = ".png") -> dict[str, str]:
    jobs = plan(inputs, output, suffix)
    here = Path.cwd()
    return {
        str(job.source): str(job.target.relative_to(here) if job.target.is_absolute() else job.target) for job in jobs
    }


def test_a_picture_goes_beside_itself(here: Path) -> None:
    make("a/cat.jpg")
    assert named(["a/cat.jpg"]) == {"a/cat.jpg": "a/cat.png"}
    assert named(["a/cat.jpg"], suffix=".webp") == {"a/cat.jpg": "a/cat.webp"}


def test_an_output_is_never_its_input(here: Path) -> None:
    make("cat.png")
    assert named(["cat.png"]) == {"cat.png": "cat.cutout.png"}
    assert named(["cat.png"], ".") == {"cat.png": "cat.cutout.png"}
    with pytest.raises(ConfigError, match="itself"):
        named(["cat.png"], "cat.png")
    Path("link.png").symlink_to("cat.png")
    with pytest.raises(ConfigError, match="itself"):
        named(["cat.png"], "link.png")


def test_an_output_is_never_another_input(here: Path) -> None:
    make("cat.jpg", "cat.png")
    assert named(["cat.jpg", "cat.png"]) == {"cat.jpg": "cat.jpg.png", "cat.png": "cat.cutout.png"}


def test_one_picture_to_a_file_or_a_folder(here: Path) -> None:
    make("cat.jpg", "there/x")
    assert named(["cat.jpg"], "out.webp") == {"cat.jpg": "out.webp"}
    assert named(["cat.jpg"], "there") == {"cat.jpg": "there/cat.png"}
    assert named(["cat.jpg"], "new/") == {"cat.jpg": "new/cat.png"}
    assert named(["cat.jpg"], "new.day/") == {"cat.jpg": "new.day/cat.png"}


def test_a_folder_keeps_its_structure(here: Path) -> None:
    make("photos/a.jpg", "photos/sub/a.jpg", "photos/notes.txt", "photos/.hidden.jpg", "photos/.git/x.jpg")
    assert named(["photos"], "out") == {"photos/a.jpg": "out/a.png", "photos/sub/a.jpg": "out/sub/a.png"}
    assert named(["photos/"]) == {
        "photos/a.jpg": "photos-cutouts/a.png",
        "photos/sub/a.jpg": "photos-cutouts/sub/a.png",
    }


def test_results_inside_the_folder_are_not_taken_for_pictures(here: Path) -> None:
    make("photos/a.jpg", "photos/out/a.png")
    assert named(["photos"], "photos/out") == {"photos/a.jpg": "photos/out/a.png"}
    with pytest.raises(ConfigError, match="among its pictures"):
        named(["photos"], "photos")


def test_several_folders_keep_their_names(here: Path) -> None:
    make("x/a.jpg", "y/a.jpg")
    assert named(["x", "y"], "out") == {"x/a.jpg": "out/x/a.png", "y/a.jpg": "out/y/a.png"}


def test_same_stems_in_one_folder_do_not_meet(here: Path) -> None:
    make("p/a.jpg", "p/a.png", "p/b.jpg", "p/A.webp")
    assert named(["p"], "out") == {
        "p/A.webp": "out/A.webp.png",
        "p/a.jpg": "out/a.jpg.png",
        "p/a.png": "out/a.png.png",
        "p/b.jpg": "out/b.png",
    }


def test_same_names_from_two_folders_named_one_by_one(here: Path) -> None:
    make("x/cat.jpg", "y/cat.jpg", "y/dog.jpg")
    assert named(["x/cat.jpg", "y/cat.jpg", "y/dog.jpg"], "out") == {
        "x/cat.jpg": "out/x/cat.jpg.png",
        "y/cat.jpg": "out/y/cat.jpg.png",
        "y/dog.jpg": "out/dog.png",
    }


def test_names_that_differ_in_capitals_only(here: Path) -> None:
    make("x/Cat.jpg", "y/cat.jpg", "z/Cat.jpg", "z/cat.jpg")
    assert set(named(["x/Cat.jpg", "y/cat.jpg"], "out").values()) == {"out/x/Cat.jpg.png", "out/y/cat.jpg.png"}
    # A disk that holds both as pictures holds both as results.
    assert set(named(["z"], "out").values()) == {"out/Cat.png", "out/cat.png"}


def test_a_glob_keeps_what_lies_below_its_fixed_part(here: Path) -> None:
    make("p/2024/a.jpg", "p/2025/a.jpg", "p/2025/b.txt", "p/[1].jpg")
    assert named(["p/**/*.jpg"], "out") == {
        "p/2024/a.jpg": "out/2024/a.png",
        "p/2025/a.jpg": "out/2025/a.png",
        "p/[1].jpg": "out/[1].png",
    }
    assert named(["p/*/a.jpg"]) == {"p/2024/a.jpg": "p/2024/a.png", "p/2025/a.jpg": "p/2025/a.png"}
    assert named(["p/[1].jpg"]) == {"p/[1].jpg": "p/[1].png"}  # a file of that very name is no pattern


def test_each_picture_once_and_in_any_order(here: Path) -> None:
    make("x/a.jpg", "x/a.png", "y/a.jpg", "z.jpg")
    inputs = ["x/a.jpg", "x/a.png", "y/a.jpg", "z.jpg", "x/../z.jpg", "*.jpg"]
    once = named(inputs, "out")
    assert len(once) == 4 and len(set(once.values())) == 4
    for seed in range(5):
        random.Random(seed).shuffle(inputs)
        again = {str(Path(k).resolve()): v for k, v in named(inputs, "out").items()}
        assert again == {str(Path(k).resolve()): v for k, v in once.items()}


def test_a_name_without_a_known_suffix_is_still_read_if_it_is_named_itself(here: Path) -> None:
    make("picture", "scan.dat")
    assert named(["picture", "scan.dat"]) == {"picture": "picture.png", "scan.dat": "scan.png"}


@pytest.mark.parametrize("inputs", [["nothing.jpg"], ["empty"], ["*.jpg"], ["cat.png", "nothing.jpg"]])
def test_an_input_that_names_nothing_is_wrong_use(here: Path, inputs: list[str]) -> None:
    make("cat.png")
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match=r"No (such file|picture)"):
        plan(inputs, None, ".png")


def test_several_pictures_need_a_folder(here: Path) -> None:
    make("a.jpg", "b.jpg", "file")
    with pytest.raises(ConfigError, match="is a file"):
        plan(["a.jpg", "b.jpg"], "file", ".png")
