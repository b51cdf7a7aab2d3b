import hashlib
import os
import threading
from pathlib import Path

import pytest

from pri3d_zoo.files import sha256_of, whole_file, whole_folder, write_whole


@pytest.fixture
def synced(monkeypatch):
    """What was forced on the disk: contents, in the order in which it was."""
    found = []
    fsync = os.fsync

    def record(descriptor):
        found.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return found


def test_a_file_appears_whole_and_on_the_disk(tmp_path, synced):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        temporary.write_text("whole")
        assert synced == []
    assert path.read_text() == "whole"
    assert synced == [b"whole"]
    write_whole(path, "Straße\n")
    assert path.read_bytes() == "Straße\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_files_can_be_read_by_whom_the_process_lets(tmp_path):
    mask = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "")
        with whole_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    write_whole(tmp_path / "file", "before")
    with pytest.raises(error), whole_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), whole_folder(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("half")
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "other"):
        pass  # nothing was written
    with pytest.raises(NotADirectoryError), whole_folder(tmp_path / "file"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_whole_and_on_the_disk(tmp_path, synced):
    path = tmp_path / "new" / "folder"
    with whole_folder(path) as temporary:
        (temporary / "one").write_text("1")
        (temporary / "two").write_text("2")
        assert not path.exists()
    assert sorted(synced) == [b"1", b"2"]
    assert sorted(file.name for file in path.iterdir()) == ["one", "two"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError), whole_folder(path) as temporary:  # a folder that holds something is not replaced
        (temporary / "one").write_text("other")
    assert (path / "one").read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


def test_those_who_write_the_same_file_do_not_meet(tmp_path):
    path, texts = tmp_path / "file", [str(i) * 10_000 for i in range(4)]
    errors = []

    def write(text):
        try:
            for _ in range(20):
                write_whole(path, text)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_sha256(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()
