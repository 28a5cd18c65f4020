#!/usr/bin/env bash
# Many publish at once: every answer names a version of its own, none is missing, and the worker ends on the last one.
# Arguments: how many publishers (8), and how often each publishes (25).
source "$(dirname "$0")/lib.sh"

publishers=${1:-8} times=${2:-25}
start_target
start_controller --default-poll-interval 1
start_worker
start_agent --distribution-strategy STREAM

# Each version has a document of its own: a worker gets no newer tag of the document that it holds.
publisher() {
    for number in $(seq "$times"); do publish "$1-$number" | field version; done >"$folder/versions.$1"
}

waiting=()
for number in $(seq "$publishers"); do
    publisher "$number" &
    waiting+=("$!")
done
for pid in "${waiting[@]}"; do wait "$pid" || die "a publish failed"; done

last=$((publishers * times + 1))
sort -n "$folder"/versions.* | diff -q - <(seq 2 "$last") >/dev/null || die "versions are missing, or were given twice"
echo "$((last - 1)) publishes by $publishers at once: versions 2 to $last, each once"

before=$((last + 1)) listed=0
while :; do
    page=$(curl -sSf -u admin:admin123 "$controller/api/v1/config/history?limit=500&before=$before")
    count=$(echo "$page" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["items"]))')
    listed=$((listed + count))
    before=$(echo "$page" | python3 -c 'import json, sys; print(json.load(sys.stdin).get("next") or "")')
    [ -n "$before" ] || break
done
[ "$listed" = "$last" ] || die "the history has $listed versions, and should have $last"
echo "the history has each of them"

holds_last() { [ "$(curl -sS "$worker/health" | field version | sed 's/.*\.//')" = "$last" ]; }
eventually holds_last
echo "the worker holds the last one"
echo passed
