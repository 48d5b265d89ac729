#!/bin/bash
#SBATCH --job-name=@{name}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@@120
#SBATCH --requeue
#SBATCH --output=%x-%j.log
# Two minutes before its end the job is told to stop: it saves, and a requeued job goes on.
set -euo pipefail
srun spermjax train @{experiment} --tracking.runs runs --tracking.run-id @{name} @{arguments}
