"""The modules of a sentence-transformers model, by its modules.json."""

from pathlib import Path

from bioqa.errors import ModelError
from bioqa.rerank.model_folder.files import read_json


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder below) of each module of a model folder; empty without a modules.json.

    Raises ModelError if modules.json is not a list of modules, or one is outside the folder.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        modules = [(str(module["type"]), str(module.get("path", ""))) for module in read_json(path)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a list of modules; fetch the model again.") from error
    for _, name in modules:
        if name and (Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name):
            raise ModelError(
                f"{path} names the folder {name[:100]!r}, which is not in the model's own; fetch the model again."
            )
    return modules
