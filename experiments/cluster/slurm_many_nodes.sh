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
# Four nodes work on one sweep through the journal in a shared folder: EXPERIMENT is a sweep file.
# A node that is lost gives its trial back to the others.
set -euo pipefail
srun spermjax sweep @{experiment} --out sweeps/@{name} @{arguments}
