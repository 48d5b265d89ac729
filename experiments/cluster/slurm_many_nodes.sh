#!/bin/bash
#SBATCH --job-name=@{name}
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@@120
#SBATCH --requeue
#SBATCH --output=%x-%j.log
# Four nodes: of an experiment they train one run, every batch shared by all, and stop and save together two minutes before
# the end; of a sweep file each takes trials from the journal in a shared folder, and a lost node's trial goes to another.
set -euo pipefail
srun spermjax @{command}
