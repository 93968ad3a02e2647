# A full version tag, as docker-library/official-images lists it. A build argument, so that tests and companies can put their own base in its place:
# Debian or Ubuntu with python3 (3.11 or later) and pip.
ARG BASE_IMAGE=python:3.11.16-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies

COPY requirements/image.txt scripts/compile_imported.py /tmp/

# The base's own pip installs from outside, so that neither pip nor setuptools ends up in /opt/venv. Wheels only: a source distribution would run its code.
# Byte code of what is imported costs 10 MB to pull and saves over a second of every start.
RUN python3 -m venv --without-pip /opt/venv \
 && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps \
      --only-binary :all: --require-hashes --requirement /tmp/image.txt \
 && rm /opt/venv/bin/uvx \
 && HOME=/tmp PYTHONDONTWRITEBYTECODE=1 /opt/venv/bin/python /tmp/compile_imported.py \
 && /opt/venv/bin/python -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'app.pth').write_text('/app\n')"


FROM ${BASE_IMAGE}

ARG VERSION=0.0.0+unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlaz-ci" \
      org.opencontainers.image.description="From an MLflow run to a verified scoring URI, and safely away again" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/mlaz-ci/mlaz-ci" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# MLAZ_CONTAINER tells the action that its processes end with the step.
ENV PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLAZ_CONTAINER=1

COPY --from=dependencies /opt/venv /opt/venv
COPY entrypoint.py /app/entrypoint.py
COPY mlaz_ci /app/mlaz_ci
RUN ["/opt/venv/bin/python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/app"]

# No USER: GitHub's workspace, home and file commands belong to root or to the runner's user, and only root can write all of them.
# No WORKDIR: the runner mounts the workspace and sets the directory itself.
# https://docs.github.com/en/actions/reference/workflows-and-actions/dockerfile-support

# Exec form and absolute, because the job's PATH and HOME leak in, dash drops INPUT_MODEL-PATH, and a shell keeps SIGTERM to itself.
# -I, because a job's PYTHONPATH leaks in as well and would put the workspace's modules before ours. -I ignores PYTHONUNBUFFERED, hence -u.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-u", "/app/entrypoint.py"]
