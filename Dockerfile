# One program, not root. The first stage builds it, the last one holds it and the two libraries it links. `--target python` gives the same
# with an interpreter and pyarrow, for jobs with functions in Python.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends \
        build-essential pkg-config libssl-dev librocksdb-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package wiesel

FROM debian:bookworm-slim AS program
RUN apt-get update && apt-get install --yes --no-install-recommends \
        ca-certificates libssl3 librocksdb7.8 tzdata && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 wiesel && install --directory --owner wiesel /state /data
COPY --from=build /source/target/release/wiesel /usr/local/bin/wiesel
USER wiesel
WORKDIR /home/wiesel
# SIGTERM stops with a checkpoint.
STOPSIGNAL SIGTERM
ENTRYPOINT ["wiesel"]

FROM program AS python
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/python && /opt/python/bin/pip install --no-cache-dir pyarrow==26.0.1
ENV PYFLINK_EXECUTABLE=/opt/python/bin/python
USER wiesel

FROM program
