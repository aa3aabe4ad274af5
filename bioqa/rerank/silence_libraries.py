"""Keep libraries from printing while a model loads."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, load reports or warnings from transformers and huggingface_hub inside; as before afterwards.

    What matters of them is raised by the caller as an error of its own.
    """
    from transformers.utils import logging as transformers_logging

    library: Any = transformers_logging
    level = library.get_verbosity()
    bars = library.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
        try:
            yield
        finally:
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()
