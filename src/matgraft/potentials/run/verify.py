"""Whether a run folder, a model folder, an export, a store of frames or of labels is what was written.

state = verify(Path("runs/si"))
state.is_whole, state.changed, state.missing, state.unknown
"""

from __future__ import annotations

from pathlib import Path

from matgraft.core.errors import DataError
from matgraft.core.files import is_part
from matgraft.core.locks import is_lock
from matgraft.core.manifest import FILE, FolderState, folder_state
from matgraft.core.registry import part_head
from matgraft.core.run_folder import BEGUN, UNFINISHED, beginning
from matgraft.potentials.active.labelling.store import LOG
from matgraft.potentials.data.store import verify_store
from matgraft.potentials.data.store_format import ENDINGS, is_store


def verify(path: Path) -> FolderState:
    """Hold every file of a folder, or a store of frames, against the hashes of what was written.

    Parameters
    ----------
    path
        A run, a model folder, an export, a folder of prompts or of a metric, a store of labels; or a file ``.h5``.

    Raises
    ------
    DataError
        If there is nothing, or a file that has no hashes.
    """
    if path.is_file():
        if is_store(path):
            return verify_store(path)
        raise DataError(
            "this file has no hashes", where=str(path), allowed=["a folder", *(f"*{one}" for one in ENDINGS)]
        )
    folder = path if path.is_dir() else part_head(str(path))[0]
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder))
    if not (folder / FILE).is_file() and (folder / BEGUN.name).is_file():
        beginning(folder)  # raises where it had a manifest
    state = folder_state(folder, passes=is_passing)
    if (folder / UNFINISHED).exists():
        broken_off = {UNFINISHED: "what made the folder was killed before all was written: type its command again"}
        return state.model_copy(update={"changed": state.changed | broken_off})
    return state


def is_passing(file: Path) -> bool:
    """Say whether a file is one that comes and goes: what a killed write has left, or a lock."""
    return any(map(is_part, (file, file.parent))) or is_lock(file) or file.name in (LOG, UNFINISHED)
