# Shared by the scripts: processes that end with the script, free ports, and a way to fail.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# An active environment comes first, then the environment of the clone; a twistd without confd does not count.
# Without -q: grep would end first, and twistd would fail.
knows_confd() { twistd --help 2>/dev/null | grep confd-controller >/dev/null; }
knows_confd || PATH="$root/.venv/bin:$PATH"
knows_confd || { echo "no twistd that knows confd: run 'make run' once, or pip install confd" >&2; exit 1; }
command -v curl >/dev/null || { echo "no curl: install it (Debian: apt install curl)" >&2; exit 1; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/confd-script.XXXXXX")
pids=()

# End the processes that the script started.
finish() {
    local status=$?
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" != 0 ]; then
        echo "FAILED; the ends of the logs:" >&2
        tail -n 5 "$folder"/*.log >&2 || true
    fi
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

die() { echo "$*" >&2; exit 1; }

# A port below the range from which the kernel picks ports.
free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            break
print(port)'
}

# start NAME COMMAND ...: run in the background; $started is the process id.
start() {
    local name=$1
    shift
    (cd "$folder" && exec "$@") >>"$folder/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
}

# The limit of each wait in seconds.
patience=${PATIENCE:-30}

# eventually COMMAND ...: repeat a command until it succeeds.
eventually() {
    local until=$((SECONDS + patience))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || die "in vain: $*"
        sleep 0.2
    done
}

# answers URL TEXT: succeed if a GET returns exactly this text.
answers() { [ "$(curl -sS --max-time 5 "$1")" = "$2" ]; }

# status ARGUMENTS ...: print the HTTP status of a request.
status() { curl -sS --max-time 30 -o /dev/null -w '%{http_code}' "$@"; }

# field NAME: print a member of the JSON object on standard input.
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# start_controller OPTION ...: start a controller; $controller is its address.
start_controller() {
    controller_port=${controller_port:-$(free_port)}
    controller=http://127.0.0.1:$controller_port
    start controller twistd -n --pidfile= confd-controller --port "$controller_port" "$@"
    eventually curl -sSf "$controller/ready"
}

# start_worker: then $worker is its address.
start_worker() {
    worker_port=${worker_port:-$(free_port)}
    worker=http://127.0.0.1:$worker_port
    start worker twistd -n --pidfile= confd-worker --port "$worker_port"
    worker_pid=$started
    eventually curl -sSf "$worker/health"
}

# start_agent OPTION ...
start_agent() {
    start agent twistd -n --pidfile= confd-agent --controller-url "$controller" --worker-url "$worker" \
        --cache-file "$folder/agent.cache" "$@"
    agent_pid=$started
}

# start_target: something to fetch; $target/one.txt says one, and so on.
start_target() {
    mkdir "$folder/site"
    for name in one two three four; do printf '%s' "$name" >"$folder/site/$name.txt"; done
    local port
    port=$(free_port)
    target=http://127.0.0.1:$port
    start target python3 -m http.server --bind 127.0.0.1 --directory "$folder/site" "$port"
    eventually curl -sSf "$target/one.txt"
}

# publish NAME [CURL OPTION ...]: that file of the target; prints the answer.
publish() {
    local name=$1
    shift
    curl -sSf --max-time 30 -u admin:admin123 -H 'Content-Type: application/json' "$@" \
        -d "{\"url\": \"$target/$name.txt\"}" "$controller/api/v1/config"
}
