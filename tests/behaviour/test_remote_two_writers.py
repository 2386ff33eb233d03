"""Several processes write the same names into one directory: of each, exactly one is told that it wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SLOTS = 40
PROCESSES = 4
WRITER = """
import sys
from pathlib import Path
from opambin.remote.directory import DirectoryRemote
remote = DirectoryRemote(Path(sys.argv[1]), write=True, sync=False)
print("ready", flush=True)
sys.stdin.readline()
for slot in range(int(sys.argv[3])):
    if remote.put(f"keys/ab/{slot}/0", sys.argv[2].encode() * 10_000):
        print(slot)
"""


def test_exactly_one_process_wins_each_slot(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "remote"), str(number), str(SLOTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won: dict[int, int] = {}
    for number, process in enumerate(processes):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        for line in out.split():
            assert int(line) not in won
            won[int(line)] = number
    assert sorted(won) == list(range(SLOTS))
    for slot, number in won.items():
        content = (tmp_path / "remote" / f"keys/ab/{slot}/0").read_bytes()
        assert content == str(number).encode() * 10_000
    assert list((tmp_path / "remote/.drafts").iterdir()) == []
