"""Names for what is not whole yet: each process has its own, so that two may write the same thing side by side.

A name tells the machine and the process that writes, so what a killed one has left can be told from what is still
growing, on a disk that machines share too.
"""

import os
import re
import secrets
import shutil
import socket
from pathlib import Path

HOST = re.sub(r"\W", "_", socket.gethostname())
PATTERN = re.compile(rf"\..+\.{HOST}-(\d{{1,9}})-[0-9a-f]{{8}}\.tmp", re.DOTALL)


def temporary_path(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses, to be renamed to it when it is whole."""
    return path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_abandoned(folder: Path) -> None:
    """Remove the files and folders in ``folder`` that processes of this machine left unfinished when they were killed.

    What other machines have left stays, because from here nobody sees whether their processes still run.
    """
    for path in folder.glob(".*.tmp"):
        found = PATTERN.fullmatch(path.name)
        if found is None or _is_running(int(found[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # there the question would end the process, and a folder is cleared by hand
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
