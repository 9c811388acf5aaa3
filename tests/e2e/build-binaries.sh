#!/usr/bin/env bash
# Builds the real programs that the end-to-end tests run, from Go modules: Jaeger v2, an OpenTelemetry Collector with
# the components of collector-config/, Prometheus, and a reader of Compose files. Prints the directory they are in.
#
# They are kept outside the repository, under the hash of everything that decides what they are: the first call takes
# minutes, later ones nothing. Callers at the same time wait for one another. Needs Go 1.26 and a module proxy.
set -euo pipefail

JAEGER=v1.76.0 # the module's number for Jaeger 2.13.0, the image in docker-compose.yml
COMPOSE=v2.16.2
PROMETHEUS=v0.316.0 # the module's number for Prometheus 3.16.0, the image in docker-compose.yml

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=("$here/build-binaries.sh" "$here/binaries/collector.yaml" "$here/binaries/compose/main.go")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dbbtrace-e2e
bin=$cache/$(cat "${sources[@]}" | sha256sum | cut -c1-16)

build() {
    export GOFLAGS='-mod=mod -trimpath' GOWORK=off CGO_ENABLED=0
    local work
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # the directory of now, not of then
    trap "rm -rf '$work'" EXIT
    jaeger "$work/jaeger"
    collector "$work/collector"
    compose "$work/compose"
    prometheus "$work/prometheus"
}

# Jaeger's module can't be installed by name (it replaces a module), so a module of our own names it. Its web pages
# are built elsewhere and are not in the module: the query API, which the tests read, is.
jaeger() {
    module "$1" jaeger
    go get -tool "github.com/jaegertracing/jaeger/cmd/jaeger@$JAEGER"
    link jaeger github.com/jaegertracing/jaeger/cmd/jaeger
}

# The Collector's own builder writes the program. Its next step, `go mod tidy`, would ask for the modules of all its
# components' tests; the components alone are enough.
collector() {
    module "$1" collector
    cp "$here/binaries/collector.yaml" .
    local version requirement
    version=$(sed -n 's/^  version: //p' collector.yaml)
    go run "go.opentelemetry.io/collector/cmd/builder@v$version" --config collector.yaml \
        --skip-get-modules --skip-compilation
    while read -r requirement; do
        go mod edit -require="$requirement"
    done < <(sed -n 's/^ *- gomod: \([^ ]*\) /\1@/p' collector.yaml)
    # load_balancing asks for v1.48.0 of this client, which not every module proxy has; nothing here uses it
    go mod edit -require=github.com/aws/aws-sdk-go-v2/service/servicediscovery@v1.49.0
    link otelcol .
}

compose() {
    module "$1" compose
    cp "$here/binaries/compose/main.go" .
    go get "github.com/compose-spec/compose-go/v2@$COMPOSE"
    link compose-read .
}

# Prometheus and promtool, without the service discoveries (Kubernetes, the clouds), which are most of what there is to
# build: the configuration of dbbtrace names its targets. Prometheus' web pages are not in the module: its API is.
prometheus() {
    module "$1" prometheus
    local program
    for program in prometheus promtool; do
        go get -tool "github.com/prometheus/prometheus/cmd/$program@$PROMETHEUS"
        GOFLAGS="$GOFLAGS -tags=remove_all_sd" link "$program" "github.com/prometheus/prometheus/cmd/$program"
    done
}

module() {
    mkdir -p "$1"
    cd "$1"
    go mod init "dbbtrace.invalid/$2"
}

# Builds the package into the cache; the name appears there when the program is whole.
link() {
    go build -ldflags='-s -w' -o "$bin/.$1" "$2"
    mv "$bin/.$1" "$bin/$1"
}

if [[ ${1:-} == --build ]]; then # from below: a process of its own, so that the first fault ends it
    build
    exit
fi

command -v go >/dev/null || { echo "build-binaries.sh: Go is not installed" >&2; exit 1; }
mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9
if [[ ! -e $bin/.complete ]]; then
    "$BASH" "${BASH_SOURCE[0]}" --build >"$bin/build.log" 2>&1 9>&- || { tail -n 20 "$bin/build.log" >&2; exit 1; }
    touch "$bin/.complete"
fi
echo "$bin"
