"""Text files are read within bounds: of a line, and of what a gzip file expands to."""

import gzip
from pathlib import Path

import pytest

from bioqa.corpus.questions import read_questions
from bioqa.errors import QuestionError, SourceError
from bioqa.io import text_files
from bioqa.io.text_files import read_chunks, read_line_span, read_lines, read_whole


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_line_has_a_limit(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / name
    longest = b"x" * (1 << 20) + b"\r\n"

    def write(content: bytes) -> None:
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    write(b"one\n" + longest + b"three")
    assert [(number, len(line)) for number, line in read_lines(path)] == [(1, 3), (2, 1 << 20), (3, 5)]
    write(b"one\n" + b"x" + longest)
    with pytest.raises(SourceError, match=r"a\.txt(\.gz)?, line 2: longer than 1 MiB, the limit"):
        list(read_lines(path))


def test_a_line_of_a_part_of_a_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + b"x" * (1 << 22))
    for begin in (0, 4, 9):
        with pytest.raises(SourceError, match=r"a\.txt, line at byte [49]: longer than 1 MiB, the limit"):
            list(read_line_span(path, begin, 1 << 22))


def zeros(path: Path, size: int) -> Path:
    with gzip.open(path, "wb", 9) as file:
        for _ in range(size >> 20):
            file.write(b"\n" * (1 << 20))
    return path


def test_a_gzip_file_does_not_expand_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "FREE_EXPANSION_BYTES", 4 << 20)
    small, large = zeros(tmp_path / "small.gz", 4 << 20), zeros(tmp_path / "large.gz", 8 << 20)
    assert sum(map(len, read_chunks(small))) == 4 << 20
    assert sum(1 for _ in read_lines(small)) == 4 << 20
    for read in (read_chunks, read_lines):
        with pytest.raises(SourceError, match=r"large\.gz expands to more than 200 times its size"):
            for _ in read(large):
                pass
    plain = tmp_path / "plain"
    plain.write_bytes(b"\n" * (5 << 20))
    assert sum(map(len, read_chunks(plain))) == 5 << 20


def test_a_file_that_is_read_whole_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zeros(tmp_path / "questions.tsv.gz", 3 << 20)
    assert len(read_whole(path, 3 << 20)) == 3 << 20
    with pytest.raises(SourceError, match=r"questions\.tsv\.gz has more than 2,097,152 bytes of text"):
        read_whole(path, 2 << 20)
    monkeypatch.setattr("bioqa.corpus.questions.MAX_FILE_BYTES", 2 << 20)
    with pytest.raises(QuestionError, match=r"questions\.tsv\.gz has more than 2,097,152 bytes of text"):
        read_questions(path)


def test_a_separator_of_lines_inside_a_question_ends_no_line(tmp_path: Path) -> None:
    tsv, jsonl = tmp_path / "a.tsv", tmp_path / "a.jsonl"
    tsv.write_text("q1\tone\u2028two\x85three\r\nq2\tfour\n", encoding="utf-8")
    jsonl.write_text(
        '{"_id": "q1", "text": "one\u2028two\x85three"}\r\n{"_id": "q2", "text": "four"}\n', encoding="utf-8"
    )
    for path in (tsv, jsonl):
        assert [(one.id, one.body) for one in read_questions(path)] == [("q1", "one\u2028two\x85three"), ("q2", "four")]
