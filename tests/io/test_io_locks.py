"""Locks between processes."""

import errno
import subprocess
import sys

import pytest

from bioqa.errors import OutputError
from bioqa.io.locks import locked, open_locked

HOLD = """
import sys, time
from pathlib import Path
from bioqa.io.locks import locked
with locked(Path(sys.argv[1]), "fetch"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_ends_however_it_ends(tmp_path):
    folder = tmp_path / "a" / "b"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(OutputError, match=f"Another fetch is running in {folder}. Wait until it ends, or name"):
            locked(folder, "fetch").__enter__()
        with locked(folder, "benchmark"):
            pass
        process.kill()
    with locked(folder, "fetch"):
        pass


def test_a_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="x"), locked(tmp_path, "fetch"):
        raise ValueError("x")
    with locked(tmp_path, "fetch"), pytest.raises(OutputError, match="Another fetch"):
        locked(tmp_path, "fetch").__enter__()


def test_a_folder_that_cannot_be_created_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file cannot be written: .*resumes where it stopped"):
        locked(tmp_path / "file", "fetch").__enter__()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / ".fetch.lock").symlink_to("victim")
    with pytest.raises(OutputError, match=r"\.fetch\.lock cannot be written: it is a symbolic link"):
        locked(tmp_path, "fetch").__enter__()
    assert not (tmp_path / "victim").exists()


def test_a_file_system_without_locks_is_used_unlocked(tmp_path, monkeypatch):
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with open_locked(tmp_path / "file", "busy"), open_locked(tmp_path / "file", "busy") as second:
        second.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
