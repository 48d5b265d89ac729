"""A real Slurm of the test's own: one node, this machine, behind daemons on free ports and a socket for munge.

Four further nodes with a GPU each stand in its tables only, so that `sbatch --test-only` can place larger jobs.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "scontrol")
PATIENCE_SECONDS = 60.0
_PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=600
GresTypes=gpu
NodeName=paper[1-4] CPUs=8 Gres=gpu:1 State=CLOUD
NodeName=localhost CPUs={cores} State=UNKNOWN
PartitionName=here Nodes=localhost State=UP
PartitionName=large Nodes=paper[1-4] Default=YES State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, if none can."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_PATH)]
    if absent:
        return f"{absent[0]} is not installed (Debian: apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Starts the daemons, and gives the configuration that `SLURM_CONF` names.

    Raises:
        RuntimeError: they did not come up; with their last words.
    """
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    for path in (key, key.parent):
        shutil.chown(path, "munge", "munge")
    configuration = folder / "slurm.conf"
    controller, daemon = _free_ports(2)
    configuration.write_text(
        CONFIGURATION.format(folder=folder, controller=controller, daemon=daemon, cores=len(os.sched_getaffinity(0)))
    )
    sealed = (f"--{name}-file={key.parent / name}" for name in ("key", "pid", "seed"))
    as_munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
    commands = (
        [*as_munge, "munged", "--foreground", f"--socket={key.parent / 'socket'}", *sealed],
        ["slurmctld", "-D", "-f", configuration],
        ["slurmd", "-D", "-N", "localhost", "-f", configuration],
    )
    environment = os.environ | {"PATH": _PATH, "SLURM_CONF": str(configuration)}
    with contextlib.ExitStack() as stack, (folder / "daemons.log").open("w") as log:
        for command in commands:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(1.0)  # Each asks the one before it, and gives up at once.
        _wait_for_the_node(configuration, folder / "daemons.log")
        try:
            yield configuration
        finally:
            # A result is there before its job has ended; without the daemons, what is left of it would never end.
            subprocess.run(["scancel", "--partition=here"], env=environment, check=True)
            _wait_for_the_node(configuration, folder / "daemons.log")


def _wait_for_the_node(configuration: Path, log: Path) -> None:
    ask = ["sinfo", "--noheader", "--partition=here", "--format=%T"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        said = subprocess.run(ask, env=os.environ | {"SLURM_CONF": str(configuration)}, capture_output=True, text=True)
        if said.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"Slurm's node is not idle:\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
