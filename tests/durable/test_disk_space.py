"""Full disks and limits, as the libraries tell of them."""

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from durable.disk_space import full_disk_named, no_space_reason, space_for
from durable.errors import NoSpaceError

WRITERS = {
    "python": "open(path, 'wb').write(bytes(2_000_000))",
    "safetensors": "from safetensors.numpy import save_file; save_file({'a': np.zeros(500_000)}, path)",
    "numpy": "np.save(open(path, 'wb'), np.zeros(500_000))",
    "arrow": "import pyarrow as pa; pa.OSFile(path, 'wb').write(bytes(2_000_000))",
    "faiss": "import faiss; i = faiss.IndexFlatL2(8); i.add(np.zeros((90_000, 8), 'f')); "
    "faiss.write_index(i, path)",
    "torch": "import torch; torch.save(torch.zeros(500_000), path)",
}
SCRIPT = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from durable.disk_space import space_for
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = sys.argv[1]
with space_for(Path(path), need=2_000_000):
    {write}
"""


@pytest.mark.parametrize("library", WRITERS)
def test_a_limit_is_told_in_one_line_whatever_library_writes(library: str, tmp_path: Path) -> None:
    script = SCRIPT.format(write=WRITERS[library])
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")], cwd=root, capture_output=True, text=True
    )
    assert "durable.errors.NoSpaceError: " in found.stderr, found.stderr
    line = found.stderr.strip().splitlines()[-1]
    assert str(tmp_path / "file") in line
    assert "2.0 MB are needed" in line
    assert "are free" in line


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), space_for(tmp_path):
        (tmp_path / "none").read_bytes()
    assert no_space_reason(OSError(errno.ENOENT, "No such file")) is None
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_the_line_of_a_file_within_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with space_for(tmp_path), space_for(tmp_path / "inner"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpaceError, match=r"inner: cannot be written \(the disk is full"):
        write()


def test_a_command_names_the_file_that_did_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        pytest.raises(NoSpaceError, match=r"log: cannot be written \(the quota is used up"),
        full_disk_named(),
    ):
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
    with pytest.raises(PermissionError), full_disk_named():
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
