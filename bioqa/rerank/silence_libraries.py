"""Keep libraries from printing while a model loads."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Suppress progress bars, load reports and warnings of transformers and huggingface_hub inside the block.

    The caller raises an error of its own for whatever matters among them.
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
