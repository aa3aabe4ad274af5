"""Checkpoints resume after an interruption without losing or repeating records."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bioqa.errors import OutputError
from bioqa.io.checkpoint import Checkpoint

HEADER = {"settings": "é"}


def write(path: Path | None, *numbers: int) -> None:
    with Checkpoint(path) as checkpoint:
        if checkpoint.header is None:
            checkpoint.start(HEADER)
        for number in numbers:
            checkpoint.append({"n": number})


def read(path: Path) -> tuple[dict[str, object] | None, list[int]]:
    checkpoint = Checkpoint(path)
    return checkpoint.header, [record["n"] for record in checkpoint]


def test_records_are_kept_and_more_are_appended(tmp_path):
    path = tmp_path / "new" / "work.jsonl"
    assert read(path) == (None, [])
    write(path, 1, 2)
    assert read(path) == (HEADER, [1, 2])
    write(path, 3)
    assert read(path) == (HEADER, [1, 2, 3])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [HEADER, {"n": 1}, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize("tail", [b'{"n": 3', b'{"n": 3}', b"\0\0\0\0", b"[3]\n", b'not JSON\n{"n": 4}\n', b"\xff\n"])
def test_a_half_written_end_is_dropped(tmp_path, tail):
    path = tmp_path / "work.jsonl"
    write(path, 1, 2)
    path.write_bytes(path.read_bytes() + tail)
    assert read(path) == (HEADER, [1, 2])
    write(path, 5)
    assert read(path) == (HEADER, [1, 2, 5])
    assert path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("content", [b"", b'{"settings": ', b"rubbish\n" * 3])
def test_a_half_written_header_is_none(tmp_path, content):
    path = tmp_path / "work.jsonl"
    path.write_bytes(content)
    assert read(path) == (None, [])
    write(path, 1)
    assert read(path) == (HEADER, [1])


def test_starting_drops_all_records(tmp_path):
    path = tmp_path / "work.jsonl"
    write(path, 1, 2)
    with Checkpoint(path) as checkpoint:
        checkpoint.start({})
        assert (checkpoint.header, list(checkpoint)) == ({}, [])
        checkpoint.append({"n": 9})
    assert read(path) == ({}, [9])


@pytest.mark.parametrize("name", ["work.jsonl", None])
def test_records_can_be_read_while_others_are_written(tmp_path, name):
    with Checkpoint(name and tmp_path / name) as checkpoint:
        checkpoint.start(HEADER)
        for number in range(3):
            checkpoint.append({"n": number})
        seen = []
        for record in checkpoint:
            seen.append(record["n"])
            if len(checkpoint_records := list(checkpoint)) < 6:
                checkpoint.append({"n": len(checkpoint_records)})
        assert seen == list(range(6))
        checkpoint.append({"n": 6})
        assert [record["n"] for record in checkpoint] == list(range(7))


def test_without_a_path_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Checkpoint(None) as checkpoint:
        assert list(checkpoint) == []
        checkpoint.start(HEADER)
        checkpoint.append({"n": 1})
        assert list(checkpoint) == [{"n": 1}]
        checkpoint.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_and_disturbs_nothing(tmp_path):
    path = tmp_path / "work.jsonl"
    with Checkpoint(path) as first:
        first.start(HEADER)
        first.append({"n": 1})
        second = Checkpoint(path)
        for write_to in (second.lock, lambda: second.start({}), lambda: second.append({"n": 2})):
            with pytest.raises(OutputError, match=rf"Another process is writing {path}\. Wait until it ends"):
                write_to()
        assert list(second) == [{"n": 1}]
        first.append({"n": 2})
    assert read(path) == (HEADER, [1, 2])


def test_what_another_process_wrote_before_the_lock_is_kept(tmp_path):
    path = tmp_path / "work.jsonl"
    early = Checkpoint(path)
    write(path, 1)
    assert early.header is None
    with early:
        early.lock()
        assert early.header == HEADER
        early.append({"n": 2})
    assert read(path) == (HEADER, [1, 2])


def test_a_killed_process_leaves_records_that_are_resumed(tmp_path):
    path = tmp_path / "work.jsonl"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom bioqa.io.checkpoint import Checkpoint\n"
        "checkpoint = Checkpoint(Path(sys.argv[1]))\ncheckpoint.start({'settings': 'é'})\n"
        "for n in (1, 2): checkpoint.append({'n': n})\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    write(path, 3)
    assert read(path) == (HEADER, [1, 2, 3])


def test_discarding_removes_the_file(tmp_path):
    path = tmp_path / "work.jsonl"
    checkpoint = Checkpoint(path)
    checkpoint.discard()
    checkpoint.start(HEADER)
    assert path.exists()
    checkpoint.discard()
    assert list(tmp_path.iterdir()) == []


def test_failures_to_write_are_output_errors(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/work cannot be written"):
        Checkpoint(tmp_path / "file" / "work").start(HEADER)
    with pytest.raises(OutputError, match="cannot be written"):
        Checkpoint(tmp_path).start(HEADER)
    (tmp_path / "link").symlink_to("victim")
    with pytest.raises(OutputError, match="it is a symbolic link"):
        Checkpoint(tmp_path / "link").start(HEADER)
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_is_an_output_error_and_closing_raises_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "work.jsonl"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(OutputError, match=r"work\.jsonl cannot be written: File too large.*resumes"),
            Checkpoint(path) as checkpoint,
        ):
            checkpoint.start(HEADER)
            checkpoint.append({"n": 1})
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limit[1]))
            checkpoint.append({"n": 2, "text": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert read(path) == (HEADER, [1])
