"""A save that does not finish changes nothing."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from nablatom.io import atomic, load, save

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of POSIX")


def failing():
    yield b"half of the new content"
    raise KeyboardInterrupt


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.mts"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        atomic.write(path, failing())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_map_that_cannot_be_written_leaves_the_old_file(tensor, tmp_path, monkeypatch):
    path = tmp_path / "file.mts"
    save(path, tensor)
    old = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, tensor.to(dtype="float32"))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@posix_only
def test_killed_process_leaves_the_old_file(tensor, tmp_path):
    path = tmp_path / "file.mts"
    save(path, tensor)
    code = (
        "import sys, os, time; from nablatom.io import atomic\n"
        "def pieces():\n"
        "    yield b'x' * 10**6\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "atomic.write(sys.argv[1], pieces())"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert load(path) == tensor


@posix_only
def test_permissions_follow_the_old_file_or_the_mask(tmp_path):
    kept, new = tmp_path / "kept", tmp_path / "new"
    kept.touch()
    kept.chmod(0o640)
    mask = os.umask(0o027)
    try:
        atomic.write(kept, [b"new"])
        atomic.write(new, [b"new"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    kept.chmod(0o666)
    atomic.write(kept, [b"newer"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o666


@posix_only
def test_links_stay_links(tmp_path):
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    atomic.write(link, [b"new"])
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


@posix_only
def test_pipes_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    atomic.write(tmp_path / "pipe", [b"through ", memoryview(b"the pipe")])
    reader.join(10)
    assert received == [b"through the pipe"]


def test_folder_that_is_not_there(tensor, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such folder to write to: '.*none'"):
        save(tmp_path / "none" / "file.mts", tensor)
    with pytest.raises(IsADirectoryError):
        save(tmp_path, tensor)
