# One program, not root. The first stage builds it, the second one holds it and the two libraries it links.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends \
        build-essential pkg-config libssl-dev librocksdb-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package wiesel

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends \
        ca-certificates libssl3 librocksdb7.8 tzdata && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 wiesel && install --directory --owner wiesel /state /data
COPY --from=build /source/target/release/wiesel /usr/local/bin/wiesel
USER wiesel
WORKDIR /home/wiesel
# SIGTERM stops with a checkpoint.
STOPSIGNAL SIGTERM
ENTRYPOINT ["wiesel"]
