# Lockkeeper as a container: the same `lockkeeper serve` that docs/operating.md describes.
# BASE is any Debian 13 (Python 3.13 with SQLite 3.46).
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/lockkeeper
WORKDIR /src
# Every dependency is pinned and hashed; the layer is built anew only when the lock changes.
COPY requirements.lock requirements-dev.lock ./
RUN /opt/lockkeeper/bin/pip install --no-cache-dir --disable-pip-version-check \
    --only-binary :all: --no-deps --require-hashes -r requirements.lock
# The build backend by the same rule, in a venv that is left behind.
RUN python3 -m venv /opt/backend \
 && awk '/^[a-zA-Z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
    requirements-dev.lock > backend.lock \
 && /opt/backend/bin/pip install --no-cache-dir --disable-pip-version-check \
    --only-binary :all: --no-deps --require-hashes -r backend.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
RUN /opt/backend/bin/pip wheel --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir dist . \
 && /opt/lockkeeper/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --no-index dist/*.whl \
 && /opt/lockkeeper/bin/pip check --disable-pip-version-check \
 && /opt/lockkeeper/bin/pip uninstall --quiet --yes pip

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git python3 \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/lockkeeper \
    --shell /usr/sbin/nologin lockkeeper \
 && install --directory /usr/share/lockkeeper \
 && dpkg-query --show >/usr/share/lockkeeper/packages \
 && install --directory --owner lockkeeper --group lockkeeper --mode 0700 /var/lib/lockkeeper
COPY --from=build /opt/lockkeeper /opt/lockkeeper
# What it was built of: the commit and version by the release, Debian's packages in the file above.
ARG REVISION=unknown
ARG VERSION=unreleased
LABEL org.opencontainers.image.title=lockkeeper \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.version=${VERSION}
ENV PATH=/opt/lockkeeper/bin:/usr/local/bin:/usr/bin:/bin
# By number, so that a cluster can prove that it is not root (runAsNonRoot).
USER 10001:10001
WORKDIR /var/lib/lockkeeper
VOLUME /var/lib/lockkeeper
EXPOSE 8080
# Asks the default LOCKKEEPER_BOARD_LISTEN; with another one, override this check as well.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8081/healthz', timeout=3)"]
ENTRYPOINT ["lockkeeper"]
CMD ["serve"]
