"""Output files appear complete or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bioqa.errors import OutputError
from bioqa.io import output
from bioqa.io.output import check_not_input, is_stream, open_output, replacing

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_at_the_end_of_the_block(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with open_output(target) as file:
        file.write("é\n")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_bytes() == b"\xc3\xa9\n"
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(error), open_output(target) as file:
        file.write("new")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_a_binary_file_is_written_by_its_path(tmp_path):
    with replacing(tmp_path / "out") as part:
        assert part.parent == tmp_path
        assert part.read_bytes() == b""
        part.write_bytes(b"\0")
    assert (tmp_path / "out").read_bytes() == b"\0"
    with pytest.raises(OutputError, match=r"out cannot be written: No such file"), replacing(tmp_path / "out") as part:
        part.unlink()
    assert names(tmp_path) == ["out"]


def test_errors_name_the_target(tmp_path):
    with pytest.raises(OutputError, match=rf"{tmp_path}/no/out cannot be written: No such file"):
        open_output(tmp_path / "no" / "out").__enter__()
    with pytest.raises(OutputError, match=rf"{tmp_path} cannot be written: it is a folder\."):
        open_output(tmp_path).__enter__()
    with pytest.raises(OutputError, match=r"out cannot be written: disk"), replacing(tmp_path / "out"):
        raise OSError(28, "disk full")
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "out"):
        raise BrokenPipeError
    assert names(tmp_path) == []


@FULL
def test_a_full_disk_is_an_output_error_that_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"out cannot be written: No space left"), replacing(tmp_path / "out") as part:
        part.unlink()
        part.symlink_to("/dev/full")
        part.write_text("x")
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left"), open_output("/dev/full") as f:
        f.write("x")


def test_temporary_names_are_unpredictable_and_links_there_are_not_followed(tmp_path, monkeypatch):
    seen = set()
    for _ in range(20):
        with replacing(tmp_path / "out") as part:
            seen.add(part.name)
    assert len(seen) == 20
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (f".out.{os.getpid()}.part", ".out.part", ".out.guessed.part"):
        (tmp_path / name).symlink_to(victim)
    with open_output(tmp_path / "out") as file:
        file.write("result")
    monkeypatch.setattr(output.secrets, "token_hex", lambda size: "guessed")
    with pytest.raises(OutputError, match="out cannot be written: File exists"):
        open_output(tmp_path / "out").__enter__()
    assert victim.read_text() == "precious"
    assert (tmp_path / ".out.guessed.part").is_symlink()


def test_a_target_that_is_a_link_is_replaced_and_its_file_left_alone(tmp_path):
    (tmp_path / "file").write_text("precious")
    for name, points_to in (("link", "file"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(points_to)
        with open_output(tmp_path / name) as file:
            file.write("result")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == "result"
    assert (tmp_path / "file").read_text() == "precious"
    assert names(tmp_path) == ["dangling", "file", "link"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with open_output(tmp_path / "out") as file:
            file.write("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "語" * 85, "-"])
def test_any_name_that_the_file_system_allows_is_possible(tmp_path, name):
    with open_output(tmp_path / name) as file:
        file.write("x")
    assert names(tmp_path) == [name]


def test_an_input_is_never_overwritten(tmp_path):
    (tmp_path / "in").write_text("x")
    (tmp_path / "link").symlink_to("in")
    for target in (tmp_path / "in", tmp_path / "link", f"{tmp_path}/../{tmp_path.name}/in"):
        with pytest.raises(OutputError, match="is an input and would be overwritten"):
            open_output(target, [tmp_path / "missing", tmp_path / "in"]).__enter__()
    check_not_input(tmp_path / "new", [tmp_path / "in"])
    check_not_input("-", [tmp_path / "in"])
    check_not_input("x" * 5000, [tmp_path / "in"])
    assert (tmp_path / "in").read_text() == "x"


def test_standard_output_is_a_dash(capsys):
    with open_output("-") as file:
        file.write("x")
    assert capsys.readouterr().out == "x"


def test_streams_are_written_directly(tmp_path):
    assert is_stream("-")
    assert is_stream("/dev/null")
    assert not is_stream(tmp_path)
    assert not is_stream(tmp_path / "new")
    (tmp_path / "file").touch()
    assert not is_stream(tmp_path / "file")
    (tmp_path / "link").symlink_to("/dev/null")
    assert is_stream(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    assert is_stream(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="/dev/stdout is a link on Linux")
def test_dev_stdout_is_never_replaced_even_if_it_is_a_file(tmp_path):
    program = "from bioqa.io.output import open_output\nwith open_output('/dev/stdout') as file: file.write('x')"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "x"
    assert Path("/dev/stdout").is_symlink()
