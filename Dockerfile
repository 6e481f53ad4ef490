# syntax=docker/dockerfile:1.7
# The image of Tidegate: one program on distroless Debian 12, without shell or package manager, as user 65532.
#
#     docker build -t tidegate:0.1.0 .
#     docker run --rm -p 8080:8080 -p 8081:8081 tidegate:0.1.0
#     docker run --rm -v "$PWD/rules:/rules:ro" tidegate:0.1.0 tidegate rules validate /rules
#
# It is linked against glibc, which is what the tests and the figures in docs/performance.md run with; musl's allocator
# makes threads wait for each other. For a build that can be repeated to the byte, give both bases by digest.
ARG RUST=rust:1.95.0-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY examples/rules examples/rules
# Cargo asks for the files of every target that the manifest names.
COPY benches benches
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile dist --bin tidegate \
    && install -D target/dist/tidegate /image/bin/tidegate \
    && ln -s tidegate /image/bin/ratelimit

FROM ${RUNTIME}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Rate limits and external authorization for Envoy and Istio" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# A folder, so that the link stays one: /bin/ratelimit is where deployments of envoyproxy/ratelimit look.
COPY --from=build /image/bin/ /bin/
USER 65532:65532
# gRPC for Envoy; HTTP; administration, which listens on loopback unless configured
EXPOSE 8081 8080 6070
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --start-interval=1s CMD ["/bin/tidegate", "health"]
# No ENTRYPOINT: `command: /bin/ratelimit` of an existing deployment has to be the command.
CMD ["/bin/tidegate", "serve"]
