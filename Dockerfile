# The image of the worker and of every command. The same sources, lock and base give the same files, byte for byte:
#   docker build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t bandshift .
# The base may be pinned, or another: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# A package index of one's own; whichever it is, the lock's hashes decide what is let in. (Not set: pip's default.)
ARG PIP_INDEX_URL
# Hash order and clock are the same in every build; compiling is left to the one command below.
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
# The lock is whole, so nothing is resolved here (--no-deps). What only other parts of OR-tools than its network flow
# would import is taken out again: pandas alone is a fifth of it all. The build's check, below, fails if that is wrong.
RUN python -m venv --without-pip /opt/bandshift \
 && pip --python /opt/bandshift/bin/python install -q --no-compile --no-deps --require-hashes -r requirements.lock \
 && pip --python /opt/bandshift/bin/python uninstall -q -y pandas python-dateutil absl-py immutabledict protobuf \
 && cd /opt/bandshift/lib/python3*/site-packages \
 && find ortools -mindepth 1 -maxdepth 1 -type d ! -name graph ! -name .libs -exec rm -r {} + \
 && rm -r numpy/*/tests \
 && find . -name '*.pyi' -delete
# What builds our own package, by hash as well.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements-dev.lock >build.lock \
 && python -m venv /build \
 && /build/bin/pip install -q --no-deps --require-hashes -r build.lock
COPY . .
ARG SOURCE_DATE_EPOCH=315532800
RUN /build/bin/pip wheel -q --no-deps --no-index --no-build-isolation -w /wheel . \
 && pip --python /opt/bandshift/bin/python install -q --no-compile --no-deps --no-index /wheel/*.whl \
 && rm -rf /opt/bandshift/lib/python3*/site-packages/bandshift-*.dist-info/direct_url.json
# Compiled once, here, since the root file system may be read-only later; by content, not by time.
RUN /opt/bandshift/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/bandshift/lib \
 && /opt/bandshift/bin/python -I -c "import app, importlib, pkgutil; \
    [importlib.import_module(module.name) for module in pkgutil.walk_packages(app.__path__, 'app.')]" \
 && mkdir -p /image/opt && mv /opt/bandshift /image/opt/ \
 && find /image -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

FROM ${PYTHON_IMAGE}
COPY --from=build /image/ /
# Nothing here multiplies matrices: without the last, each process would start a thread for each core of its host.
ENV PATH=/opt/bandshift/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp OPENBLAS_NUM_THREADS=1
# A number, so that a cluster can tell that it is not root. It owns nothing in the image and needs no line in passwd.
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1m --timeout=20s --start-period=1m --retries=3 CMD ["bandshift", "status"]
CMD ["python", "-m", "app.worker"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bandshift" \
      org.opencontainers.image.description="Keeps customer-success coverage bands aligned with reality" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
