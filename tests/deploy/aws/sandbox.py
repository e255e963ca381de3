"""A copy-on-write view of this machine in which a bootstrap really runs, as root.

Real: bash, users, files, Python, pip, the virtual environment, checksums, tar. Replaced at the
edge, because they need EC2, systemd as PID 1 or a network: dnf, systemctl, aws, curl, ethtool, ip,
udevadm, modprobe, devlink (see `edge.sh`); /proc/sys and /sys are folders of plain files.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

EDGE = Path(__file__).with_name("edge.sh")
EDGES = ("dnf", "systemctl", "aws", "curl", "ethtool", "ip", "udevadm", "modprobe", "devlink")
_MEMORY = Path("/dev/shm")
# Not state of the machine, but traces of the run.
_TRACES = ("tmp", "edge", "root", "proc", "dev")

_ENTER = """\
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/merged"
mount --rbind /dev "$1/merged/dev"
mount --rbind /proc "$1/merged/proc"
mount --bind "$1/sysctl" "$1/merged/proc/sys"
mount --bind "$1/sysfs" "$1/merged/sys"
merged=$1/merged
shift
exec chroot "$merged" "$@"
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One overlay; it keeps its state from run to run."""

    folder: Path

    @classmethod
    def create(cls) -> Sandbox | None:
        """A fresh one, or None where the kernel or its rules refuse."""
        if not _MEMORY.is_dir():
            return None
        made = cls(Path(tempfile.mkdtemp(prefix="sweep-sandbox-", dir=_MEMORY)))
        for name in ("upper", "work", "merged", "sysctl", "sysfs"):
            (made.folder / name).mkdir()
        for name in EDGES:
            made.write(f"/edge/bin/{name}", EDGE.read_bytes(), mode=0o755)
        if made.run(["/bin/true"]).returncode:
            made.remove()
            return None
        return made

    @property
    def upper(self) -> Path:
        """What differs from the machine."""
        return self.folder / "upper"

    def write(self, path: str, content: bytes | str, *, mode: int = 0o644) -> None:
        target = self.upper / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        target.write_bytes(data)
        target.chmod(mode)

    def knob(self, path: str, value: str) -> Path:
        """A plain file in place of a kernel setting, `/proc/sys/...` or `/sys/...`."""
        for mounted, folder in (("/proc/sys/", "sysctl"), ("/sys/", "sysfs")):
            if path.startswith(mounted):
                target = self.folder / folder / path.removeprefix(mounted)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(value + "\n")
                return target
        raise ValueError(path)

    def run(
        self, command: list[str], *, network: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root; without `network` it has a loopback of its own."""
        variables = {
            "PATH": "/edge/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
            "LANG": "C.UTF-8",
            "HOME": "/root",
            **environment,
        }
        isolation = ["unshare", "--mount", "--propagation", "private"]
        if not network:
            isolation.append("--net")
        return subprocess.run(
            [
                *isolation,
                *([] if network else ["--net"]),
                "sh",
                "-c",
                _ENTER,
                "sh",
                str(self.folder),
                *command,
            ],
            env=variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the edges were asked, in order."""
        log = self.upper / "edge/calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def forget_calls(self) -> None:
        (self.upper / "edge/calls.log").unlink(missing_ok=True)

    def state(self) -> dict[str, tuple[int, int, int, int, str]]:
        """Every changed file: mode, owner, group, time of writing, content."""
        found = {}
        for path in sorted(self.upper.rglob("*")):
            name = path.relative_to(self.upper)
            if name.parts[0] in _TRACES or "__pycache__" in name.parts:
                continue
            status = path.lstat()
            content = ""
            if path.is_symlink():
                content = str(path.readlink())
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            time = 0 if path.is_dir() else status.st_mtime_ns
            found[str(name)] = (status.st_mode, status.st_uid, status.st_gid, time, content)
        return found

    def remove(self) -> None:
        shutil.rmtree(self.folder)
