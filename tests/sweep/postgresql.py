"""A PostgreSQL server of the tests' own."""

import os
import shutil
import subprocess
from pathlib import Path


def initdb() -> str | None:
    """The program that makes a cluster, or None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return shutil.which("initdb") or (str(found[-1]) if found else None)


class Cluster:
    """On a socket in a temporary folder, as an unprivileged user; it can be stopped and started again.

    Attributes:
        url: as `--storage` takes it.
    """

    def __init__(self, initdb: str):
        self._folder = Path("/tmp") / f"spermjax-postgresql-{os.getpid()}"  # A socket's path must be short.
        self._folder.mkdir(mode=0o700)
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            self._as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(self._folder, "nobody", "nogroup")
        self._pg_ctl = str(Path(initdb).resolve().parent / "pg_ctl")
        self._data = str(self._folder / "data")
        self.url = f"postgresql://sweep@/postgres?host={self._folder}"
        self._run(initdb, "-D", self._data, "-U", "sweep", "--auth=trust", "--no-sync", "--encoding=UTF8")

    def start(self) -> None:
        """Returns when it answers."""
        options = f"-k {self._folder} -c listen_addresses='' -F"
        self._run(self._pg_ctl, "-D", self._data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As when its machine loses power: connections are cut."""
        self._run(self._pg_ctl, "-D", self._data, "-m", "immediate", "stop")

    def remove(self) -> None:
        """Deletes all, the server being stopped."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        subprocess.run(
            [*self._as_user, *command],
            check=True,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
        )
