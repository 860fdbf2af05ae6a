# Two images from one file. Both are a static binary or two on an empty base:
# no shell, no package manager.
#
#   docker build -t errand .                         the commands worker and enqueue
#   docker build -t errand-sandbox --target demo .   the vendors' sandboxes, for trying things out
#
#   docker run --env-file .env errand                      a worker
#   docker run --env-file .env errand enqueue types        any other command
#
# Only plain Dockerfile instructions are used, so BuildKit and Docker's older
# builder both build it.
FROM golang:1.26-trixie AS build
WORKDIR /src
# A layer of its own: modules are downloaded again only when go.mod or go.sum
# change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
ARG VERSION=dev
ARG COMMIT=
RUN go build -trimpath \
	-ldflags "-s -w -X errand.internal/internal/app.Version=${VERSION} -X errand.internal/internal/app.Commit=${COMMIT}" \
	-o /out/ ./cmd/worker ./cmd/enqueue

FROM build AS build-demo
RUN go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/demo

# The sandboxes are an image of their own: nothing of them is in the worker's.
FROM scratch AS demo
COPY --from=build-demo /out/demo /demo
USER 65532:65532
EXPOSE 8099
STOPSIGNAL SIGTERM
ENTRYPOINT ["/demo"]
CMD ["-vendors-only", "-addr", "0.0.0.0:8099"]

# The last stage is what a build without --target makes.
FROM scratch AS worker
ARG VERSION=dev
ARG COMMIT=
LABEL org.opencontainers.image.title="errand" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${COMMIT}"
# For TLS to vendors and Redis. Time zones are in the binary.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/worker /out/enqueue /usr/local/bin/
ENV PATH=/usr/local/bin
# A number, so that Kubernetes can tell that it is not root. Files that X_FILE
# names must be readable by it. Nothing is written: a read-only root will do.
USER 65532:65532
# Where HTTP_ADDR usually points; its default is reachable inside the container
# only, which is enough for the health check.
EXPOSE 8080
# `docker stop` waits 10 s by default, SHUTDOWN_GRACE is 25 s: stop with -t 40,
# or run with --stop-timeout 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["worker", "health"]
# No ENTRYPOINT, so that a command can be named in place of the worker.
CMD ["worker"]
