# docker build .                    the service: no shell, no package manager, not root
# docker build --target sandbox .   Stripe's stand-in, for development only

FROM rust:1.95-slim-bookworm AS base
WORKDIR /src
ENV CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never


# Dependencies alone: this layer stays until a manifest changes, whatever happens to the sources. Both programs are named
# here and below, so that cargo gives their dependencies the same features and both images share what is compiled here.
FROM base AS dependencies
COPY Cargo.toml Cargo.lock ./
COPY dev/postgres/Cargo.toml dev/postgres/Cargo.toml
COPY dev/stripe-sandbox/Cargo.toml dev/stripe-sandbox/Cargo.toml
COPY dev/neighbours/Cargo.toml dev/neighbours/Cargo.toml
RUN mkdir -p src dev/neighbours/src dev/postgres/src dev/stripe-sandbox/src examples \
    && echo 'fn main() {}' | tee src/main.rs dev/postgres/src/main.rs dev/stripe-sandbox/src/main.rs > build.rs \
    && touch src/lib.rs dev/neighbours/src/lib.rs dev/postgres/src/lib.rs dev/stripe-sandbox/src/lib.rs
RUN cargo build --release --locked --package dues --package stripe-sandbox


FROM dependencies AS build
COPY build.rs ./
COPY src src
COPY migrations migrations
COPY config config
# Cargo goes by time stamps, and those of the sources are older than those of their stand-ins.
RUN touch build.rs src/lib.rs src/main.rs \
    && cargo build --release --locked --package dues --package stripe-sandbox --bin dues
COPY .ci/image-root .ci/image-root
RUN sh .ci/image-root target/release/dues /image \
    && mkdir -p /image/app/config \
    && cp config/production.toml /image/app/config/


FROM dependencies AS build-sandbox
COPY dev/stripe-sandbox dev/stripe-sandbox
RUN touch dev/stripe-sandbox/src/lib.rs dev/stripe-sandbox/src/main.rs \
    && cargo build --release --locked --package dues --package stripe-sandbox --bin stripe-sandbox
COPY .ci/image-root .ci/image-root
RUN sh .ci/image-root target/release/stripe-sandbox /image


FROM scratch AS sandbox
COPY --from=build-sandbox /image /
COPY config/sandbox-catalogue.toml /app/config/
WORKDIR /app
USER 10001:10001
EXPOSE 12111
# Other containers must reach it; publish it on 127.0.0.1 only.
ENV STRIPE_SANDBOX_LISTEN=0.0.0.0:12111 \
    STRIPE_SANDBOX_ALLOW_REMOTE=true \
    STRIPE_SANDBOX_CATALOGUE=config/sandbox-catalogue.toml
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/stripe-sandbox", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/stripe-sandbox"]


FROM scratch AS service
COPY --from=build /image /
WORKDIR /app
USER 10001:10001
# config/production.toml listens on this port. The plans file is yours: mount it as /app/config/plans.toml.
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/usr/local/bin/dues", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/dues"]
CMD ["serve"]
