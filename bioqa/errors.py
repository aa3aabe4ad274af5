"""Every error that bioqa raises on purpose.

BioqaError                  exit code 1
├── UsageError              2   an argument or combination of arguments makes no sense
├── SourceError             3   a corpus file cannot be read: missing, empty, truncated, wrong format
│   ├── RecordError         3   one record in it is malformed (skippable with --skip-bad)
│   └── PairsError          3   a file of training pairs, or what pairs are made from, cannot be used
│       └── LeakError       3   splits share questions or passages
├── QuestionError           4   a question file or a question cannot be used
├── IndexStateError         5   not an index, half built, of a newer format, locked, or already there
├── ModelError              6   a reranker cannot be loaded
├── OutputError             7   a result cannot be written
├── SetupError              8   Java, a device or a package is missing on this machine
└── TrainingError           9   a training diverged

Each message is one or two sentences: what was wrong, where (file, line or record), what to do.
"""


class BioqaError(Exception):
    """Base of all errors a user can cause; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class UsageError(BioqaError):
    """An argument, or a combination of arguments, that makes no sense."""

    exit_code = 2


class SourceError(BioqaError):
    """A corpus file or folder that cannot be read."""

    exit_code = 3


class RecordError(SourceError):
    """One malformed record in an otherwise readable corpus file."""


class PairsError(SourceError):
    """A file of training pairs, or a source of them, that cannot be used."""


class LeakError(PairsError):
    """Splits of training data that share questions or passages."""


class QuestionError(BioqaError):
    """A question, or a file of questions, that cannot be used."""

    exit_code = 4


class IndexStateError(BioqaError):
    """A folder that is not a usable index, or an index that must not be touched."""

    exit_code = 5


class ModelError(BioqaError):
    """A reranker that cannot be found, loaded or used."""

    exit_code = 6


class OutputError(BioqaError):
    """A result that cannot be written where it was asked for."""

    exit_code = 7


class SetupError(BioqaError):
    """Something missing on this machine: a Java runtime, a device, a package."""

    exit_code = 8


class TrainingError(BioqaError):
    """A training whose loss is no longer a number."""

    exit_code = 9


def first_line(error: BaseException) -> str:
    """The first line of a library's error message with a period at its end, to finish a sentence with."""
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".:") + "."
