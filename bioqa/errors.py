"""The errors that bioqa raises deliberately.

BioqaError                  exit code 1
├── UsageError              2   an invalid argument or combination of arguments
├── SourceError             3   a file cannot be read: missing, empty, truncated, in the wrong format
│   ├── RecordError         3   a record in it is malformed (skippable with --skip-bad)
│   └── PairsError          3   training pairs, or a source of them, cannot be used
│       └── LeakError       3   splits share questions or passages
├── QuestionError           4   a question file or a question cannot be used
├── IndexStateError         5   not an index, incomplete, of a newer format, locked, or already there
├── ModelError              6   a reranker cannot be loaded
├── OutputError             7   a result cannot be written
├── SetupError              8   Java, a device or a package is missing
└── TrainingError           9   training diverged

Each message is one or two sentences: what is wrong, where (file, line or record), and what to do.
"""


class BioqaError(Exception):
    """Base class; ``exit_code`` is the exit status of the command line."""

    exit_code = 1


class UsageError(BioqaError):
    """An invalid argument or combination of arguments."""

    exit_code = 2


class SourceError(BioqaError):
    """A file or folder that cannot be read."""

    exit_code = 3


class RecordError(SourceError):
    """A malformed record in an otherwise readable file."""


class PairsError(SourceError):
    """Training pairs, or a source of them, that cannot be used."""


class LeakError(PairsError):
    """Splits of training pairs that share questions or passages."""


class QuestionError(BioqaError):
    """A question or question file that cannot be used."""

    exit_code = 4


class IndexStateError(BioqaError):
    """A folder that is not a usable index, or an index that must not be changed."""

    exit_code = 5


class ModelError(BioqaError):
    """A reranker that cannot be found, loaded or used."""

    exit_code = 6


class OutputError(BioqaError):
    """A result that cannot be written to the requested place."""

    exit_code = 7


class SetupError(BioqaError):
    """Java, a device or a package is missing."""

    exit_code = 8


class TrainingError(BioqaError):
    """Training whose loss is no longer a number."""

    exit_code = 9


def shown(value: object) -> str:
    """``repr(value)`` without its end if it is long, to quote a value from a file."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def first_line(error: BaseException) -> str:
    """The first line of a library's error message with a period at its end, to finish a sentence with."""
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".:") + "."
