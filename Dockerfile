# docker build -t numstab .      docker run --init -p 127.0.0.1:8000:8000 -v numstab:/var/lib/numstab numstab
# With PostgreSQL, two workers and a proxy before them: deploy/compose.yaml
# Why it looks like this, and how to build it without a Docker engine: docs/decisions/0005-container.md
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Options for pip, for whoever has a mirror or an index with the CPU build of torch (the plain index gives Linux the CUDA
# build, several GB). Used while this stage is built, and not in the image:
#   docker build --build-arg PIP_INDEX_ARGS="--extra-index-url <an index that has torch's CPU build>" .
ARG PIP_INDEX_ARGS=""
WORKDIR /src
COPY requirements.lock requirements-dev.lock pyproject.toml ./
# The lock first: what torch needs besides CUDA is then there already, each file checked against its hash. Of the other
# lock, what speaks to PostgreSQL.
# hadolint ignore=SC2086  # PIP_INDEX_ARGS is a list of words
RUN python -m venv /app \
 && awk '/^[a-z]/ { wanted = /^psycopg/ } wanted' requirements-dev.lock > postgres.lock \
 && /app/bin/pip install $PIP_INDEX_ARGS --no-cache-dir --no-compile --no-deps --require-hashes \
      --requirement requirements.lock --requirement postgres.lock \
 && sed -n 's/^\([a-z].*\) \\$/\1/p' requirements.lock > locked.txt \
 && /app/bin/pip install $PIP_INDEX_ARGS --no-cache-dir --no-compile --constraint locked.txt \
      "$(grep --only-matching --max-count=1 'torch==[0-9.]*' pyproject.toml)"
COPY LICENSE README.md ./
COPY qa_service qa_service
COPY demos demos
COPY kb kb
# hatchling comes from the lock. Byte code that never looks at its source's date survives every way of copying layers;
# that torch carries a file for a newer Python than ours is no reason to stop.
RUN /app/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /app/bin/pip install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
 && { /app/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /app/lib || true; }

FROM ${BASE}
RUN useradd --uid 10001 --home-dir /var/lib/numstab --no-create-home --shell /usr/sbin/nologin numstab \
 && install --directory --owner=numstab --group=numstab /var/cache/numstab /var/lib/numstab
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMSTAB_CACHE=/var/cache/numstab \
    NUMSTAB_DATA=/var/lib/numstab
USER 10001
WORKDIR /var/lib/numstab
# The index, and the script that draws charts: no first reader waits for them.
RUN numstab prepare
EXPOSE 8000
# no_proxy: a container often inherits the proxy of whoever started it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["env", "no_proxy=127.0.0.1", "python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# Whom the port is published to is said to docker run, not here; for keys instead: numstab keys add, and no --public.
CMD ["numstab", "serve", "--host", "0.0.0.0", "--public"]
