# Two images, each with static binaries on an empty base: no shell, no package
# manager.
#
#   docker build -t errand .                         the commands worker and enqueue
#   docker build -t errand-sandbox --target demo .   the vendors' sandboxes, to try things out
#
#   docker run --env-file .env errand                a worker
#   docker run --env-file .env errand enqueue types  any other command
#
# BuildKit and Docker's older builder both build them.
FROM golang:1.26-trixie AS build
WORKDIR /src
# A separate layer, so that modules are downloaded again only when go.mod or go.sum
# change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
ARG VERSION=dev
ARG COMMIT=
RUN go build -trimpath \
	-ldflags "-s -w -X errand.internal/internal/buildinfo.Version=${VERSION} -X errand.internal/internal/buildinfo.Commit=${COMMIT}" \
	-o /out/ ./cmd/worker ./cmd/enqueue

FROM build AS build-demo
RUN go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/demo

# The sandboxes have an image of their own, so that the worker's contains none of
# them.
FROM scratch AS demo
COPY --from=build-demo /out/demo /demo
USER 65532:65532
EXPOSE 8099
STOPSIGNAL SIGTERM
ENTRYPOINT ["/demo"]
CMD ["-vendors-only", "-addr", "0.0.0.0:8099"]

# The last stage is the one that a build without --target makes.
FROM scratch AS worker
ARG VERSION=dev
ARG COMMIT=
LABEL org.opencontainers.image.title="errand" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${COMMIT}"
# Certificates for TLS to vendors and Redis. Time zones are in the binaries.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/worker /out/enqueue /usr/local/bin/
ENV PATH=/usr/local/bin
# A number, so that Kubernetes can verify that it is not root. It must be able to
# read the files that X_FILE variables name. It writes no files, so the root file
# system may be read-only.
USER 65532:65532
# The usual port of HTTP_ADDR. Its default can be reached only from inside the
# container, which is enough for the health check.
EXPOSE 8080
# SHUTDOWN_GRACE is 25 s, but `docker stop` waits only 10 s by default: stop with
# -t 40, or run with --stop-timeout 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["worker", "health"]
# No ENTRYPOINT, so that another command can replace the worker.
CMD ["worker"]
