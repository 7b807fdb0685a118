#!/bin/sh
# Resolves the two lock files for every platform at once. Needs uv. Run it after changing dependencies in pyproject.toml.
# torch and the CUDA packages that its GPU build needs are left out: scripts/setup.py installs torch by its exact
# version, so that pip can take the CPU build where the package index offers one (the hash differs between indexes).
set -eu
cd "$(dirname "$0")/.."
skip=""
for name in torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
    nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
    nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx; do
    skip="$skip --no-emit-package $name"
done
pin=$(mktemp)
trap 'rm -f "$pin"' EXIT
grep -o 'torch==[0-9.]*' pyproject.toml > "$pin" # what torch needs depends on its version
lock() { # the lock to write, then the dependency groups in it
    out=$1; shift
    # shellcheck disable=SC2086  # $skip is a list of words
    ${UV:-uv} pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --constraint "$pin" $skip pyproject.toml "$@" -o "$out"
}
lock requirements.lock --group install
lock requirements-dev.lock --group install --group dev --constraint requirements.lock
