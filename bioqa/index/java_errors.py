"""The border at which exceptions of Lucene and the Java runtime become bioqa's errors."""

from pathlib import Path
from types import TracebackType
from typing import Any

from bioqa.errors import BioqaError, IndexStateError, OutputError, QuestionError, SetupError, UsageError
from bioqa.index.jvm import java_exception

DAMAGE = (
    "CorruptIndexException",
    "EOFException",
    "NoSuchFileException",
    "FileNotFoundException",
    "IndexNotFoundException",
)
NOT_ALLOWED = ("AccessDeniedException", "ReadOnlyFileSystemException", "NonWritableChannelException")
DISK = ("FileSystemException", "IOException", "FileSystemLoopException", "UncheckedIOException")
_DAMAGED = (
    IndexStateError,
    "{path} is damaged {detail}. `bioqa index verify {path}` says how much; restore a copy, or build it again with --overwrite.",
)
_OTHER_LUCENE = (
    IndexStateError,
    "{path} was written by another version of Lucene, which this pyserini cannot read {detail}.",
)
_TOO_COMPLEX = QuestionError, "The query has too many clauses or is too complex. Ask for less at a time."
SENTENCES: dict[str, tuple[type[BioqaError], str]] = {
    "LockObtainFailedException": (IndexStateError, "Another program is writing to {path}. Wait until it has finished."),
    "IndexFormatTooNewException": _OTHER_LUCENE,
    "IndexFormatTooOldException": (
        IndexStateError,
        "{path} is damaged, or written by a Lucene that is too old {detail}. Restore a copy, or build it again with --overwrite.",
    ),
    "InvalidPathException": (
        SetupError,
        "Java cannot use the path {path} {detail}. Start bioqa in a UTF-8 locale, as with LC_ALL=C.UTF-8.",
    ),
    "OutOfMemoryError": (
        SetupError,
        "Java ran out of memory on {path}. Give it more with --memory, or use fewer --workers.",
    ),
    "AlreadyClosedException": (UsageError, "{path} was closed, so it cannot be searched. Open it again."),
    "IndexSearcher$TooManyClauses": _TOO_COMPLEX,
    "IndexSearcher$TooManyNestedClauses": _TOO_COMPLEX,
    "TooComplexToDeterminizeException": _TOO_COMPLEX,
} | dict.fromkeys(DAMAGE, _DAMAGED)
"""Java class → the error that stands for it, and its sentence."""


class java_errors:
    """Within the block, an exception from Java about the index at ``path`` is raised as one of bioqa's errors.

    ``writing``: the block writes the index, so that a failing disk is an OutputError.
    """

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        self._path = path
        self._writing = writing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and kind.__module__.startswith("jnius") and isinstance(problem, java_exception()):
            raise translated(problem, self._path, writing=self._writing) from problem


def java_class(problem: Any) -> str:
    """The short name of the Java class of an exception."""
    return str(getattr(problem, "classname", "") or "").rpartition(".")[2]


def is_damage(problem: Any) -> bool:
    """Whether the exception says that files of the index are damaged or missing."""
    return java_class(problem) in DAMAGE


def translated(problem: Any, path: Path, *, writing: bool = False) -> BioqaError:
    """The error that says what happened to the index at ``path``, and what to do."""
    name = java_class(problem)
    detail = f"({name}: {getattr(problem, 'innermessage', '') or problem})"
    if name in NOT_ALLOWED + DISK:
        if writing:
            return OutputError(f"{path} cannot be written {detail}.")
        return IndexStateError(f"{path} cannot be read {detail}. Check permissions and the disk.")
    kind, sentence = SENTENCES.get(name, (IndexStateError, "Lucene failed on {path} {detail}."))
    return kind(sentence.format(path=path, detail=detail))
