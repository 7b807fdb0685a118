# docker build -t numstab .      docker run --init -p 127.0.0.1:8000:8000 -v numstab:/var/lib/numstab numstab
# With PostgreSQL, two workers and a proxy in front: deploy/compose.yaml
# The reasons, and how to build it without a Docker engine: docs/decisions/0005-container.md
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Options for pip, such as a mirror or an index with the CPU build of torch (the default index gives Linux the CUDA build,
# several GB). Used only while this stage is built, not in the image:
#   docker build --build-arg PIP_INDEX_ARGS="--extra-index-url <an index that has torch's CPU build>" .
ARG PIP_INDEX_ARGS=""
# What is taken from the dev lock, as a regular expression. With the packages of the extra `cluster`:
#   --build-arg FROM_DEV_LOCK='psycopg|(redis|ray|msgpack|requests|charset-normalizer|urllib3|certifi|protobuf)=='
ARG FROM_DEV_LOCK="psycopg|redis="
WORKDIR /src
COPY requirements.lock requirements-dev.lock pyproject.toml ./
# The lock first, so that what torch needs besides CUDA is already installed, each file checked against its hash. From the
# dev lock, only the PostgreSQL driver and the client of Valkey, unless told otherwise.
# hadolint ignore=SC2086  # PIP_INDEX_ARGS is a list of words
RUN python -m venv /app \
 && awk -v some="^($FROM_DEV_LOCK)" '/^[a-z]/ { wanted = ($0 ~ some) } wanted' requirements-dev.lock > extras.lock \
 && /app/bin/pip install $PIP_INDEX_ARGS --no-cache-dir --no-compile --no-deps --require-hashes \
      --requirement requirements.lock --requirement extras.lock \
 && sed -n 's/^\([a-z].*\) \\$/\1/p' requirements.lock > locked.txt \
 && /app/bin/pip install $PIP_INDEX_ARGS --no-cache-dir --no-compile --constraint locked.txt \
      "$(grep --only-matching --max-count=1 'torch==[0-9.]*' pyproject.toml)"
COPY LICENSE README.md ./
COPY numstab numstab
COPY qa_service qa_service
COPY demos demos
COPY kb kb
COPY watch/numstab_watch watch/numstab_watch
# hatchling comes from the lock. Byte code with unchecked hashes stays valid however layers are copied. `|| true`: torch
# contains a file for a newer Python, which does not compile.
RUN /app/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /app/bin/pip install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
 && { /app/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /app/lib || true; }

FROM ${BASE}
# A Chinese font of 5 MB, for the pictures of entries (card.png); the base image has none.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fonts-wqy-microhei \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --home-dir /var/lib/numstab --no-create-home --shell /usr/sbin/nologin numstab \
 && install --directory --owner=numstab --group=numstab /var/cache/numstab /var/lib/numstab
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMSTAB_CACHE=/var/cache/numstab \
    NUMSTAB_DATA=/var/lib/numstab
USER 10001
WORKDIR /var/lib/numstab
# Builds the index and the chart script, so that the first request does not wait for them.
RUN numstab prepare
EXPOSE 8000
# no_proxy: a container often inherits proxy settings from its environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["env", "no_proxy=127.0.0.1", "python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# docker run decides where the port is published. To require API keys: numstab keys add, and drop --public.
CMD ["numstab", "serve", "--host", "0.0.0.0", "--public"]
