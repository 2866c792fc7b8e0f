#!/bin/bash
# One run on all workers of a Cloud TPU slice:
#   TPU=my-slice ZONE=us-central2-b launch/tpu_pod.sh --config configs/gan.py --workdir /mnt/shared/runs/gan
# Each worker needs this repository in ~/gen_jax, installed by  pip install -c constraints.txt -e '.[tpu]'  , and sees --workdir.
set -euo pipefail
: "${TPU:?the name of the TPU slice}" "${ZONE:?its zone}"

arguments=$(printf ' %q' "$@")
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all \
  --command "cd ~/gen_jax && GEN_JAX_DISTRIBUTED=1 exec ${PYTHON:-python3} -m gen_jax.train --quiet$arguments"
