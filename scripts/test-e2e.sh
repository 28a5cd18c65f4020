#!/usr/bin/env bash
# One controller, agent and worker: publish, arrive, refuse, die and come back. Ends with status 0 only if all of it held.
source "$(dirname "$0")/lib.sh"

start_target
start_controller --default-poll-interval 1
start_worker
start_agent --distribution-strategy "${1:-POLLER}"

publish one >/dev/null
eventually answers "$worker/hit" one
echo "a change arrives"

json=(-H 'Content-Type: application/json')
[ "$(status -u admin:wrong "${json[@]}" -d '{"url": "http://x/"}' "$controller/api/v1/config")" = 401 ] || die "a wrong password"
[ "$(status -u agent:secret123 "${json[@]}" -d '{"url": "http://x/"}' "$controller/api/v1/config")" = 403 ] || die "an agent that publishes"
[ "$(status -u admin:admin123 "${json[@]}" -d '{"url": "gopher://x/"}' "$controller/api/v1/config")" = 422 ] || die "a document that does not fit"
[ "$(status -u admin:admin123 "${json[@]}" -d '{"url": ' "$controller/api/v1/config")" = 400 ] || die "half a document"
answers "$worker/hit" one || die "what was refused changed something"
echo "what is wrong is refused, and changes nothing"

kill -9 "$worker_pid"
wait "$worker_pid" 2>/dev/null || true
start_worker
eventually answers "$worker/hit" one
echo "a worker that was killed is put right"

kill "$agent_pid"
publish two >/dev/null
start_agent
eventually answers "$worker/hit" two
[ "$(curl -sS -u admin:admin123 "$controller/api/v1/agents" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" = 1 ] ||
    die "the agent came back as another one"
echo "an agent that was stopped catches up, as the same agent"

version=$(publish three | field version)
eventually answers "$worker/hit" three
curl -sSf -u admin:admin123 "${json[@]}" -d "{\"version\": $((version - 1))}" "$controller/api/v1/config/rollback" >/dev/null
eventually answers "$worker/hit" two
echo "a rollback arrives"
echo passed
