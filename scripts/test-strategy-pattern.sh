#!/usr/bin/env bash
# Each strategy delivers a change, also after its broker was killed and came back empty. Arguments pick strategies.
source "$(dirname "$0")/lib.sh"

start_redis() {
    start redis redis-server --port "$broker_port" --bind 127.0.0.1 --save '' --dir "$folder"
    broker_pid=$started
    eventually redis-cli -p "$broker_port" ping
}

start_nats() {
    start nats nats-server --addr 127.0.0.1 --port "$broker_port"
    broker_pid=$started
    eventually bash -c "exec 3<>/dev/tcp/127.0.0.1/$broker_port"
}

tried=0
start_target
for strategy in "${@:-POLLER STREAM REDIS NATS}"; do
    for name in $strategy; do
        both=() publishing=() interval=1
        case $name in
            POLLER | STREAM) ;;
            REDIS | NATS)
                server=$(echo "$name" | tr '[:upper:]' '[:lower:]')
                if ! command -v "$server-server" >/dev/null; then
                    echo "$name: SKIPPED, $server-server is not installed (Debian: apt install $server-server)"
                    continue
                fi
                broker_port=$(free_port)
                "start_$server"
                both=(--redis-address "127.0.0.1:$broker_port")
                [ "$name" = REDIS ] || both=(--nats-url "nats://127.0.0.1:$broker_port")
                publishing=(--distribution-strategy "$name")
                ;;
            *) die "no strategy is called $name" ;;
        esac
        # A change that arrives sooner than this interval was pushed.
        [ "$name" = POLLER ] || interval=300
        rm -f "$folder/controller.db"* "$folder/agent.cache"*
        unset controller_port worker_port
        start_controller --db-path "$folder/controller.db" --default-poll-interval "$interval" "${publishing[@]}" "${both[@]}"
        start_worker
        start_agent --distribution-strategy "$name" "${both[@]}"
        eventually grep -q 'configuration .* applied' "$folder/agent.log"
        publish one >/dev/null
        eventually answers "$worker/hit" one
        if [ "${#both[@]}" != 0 ]; then
            kill -9 "$broker_pid"
            wait "$broker_pid" 2>/dev/null || true
            publish two >/dev/null
            "start_$server"
            eventually answers "$worker/hit" two
        fi
        publish three >/dev/null
        eventually answers "$worker/hit" three
        for pid in "${pids[@]:1}"; do kill "$pid" 2>/dev/null || true; done
        for pid in "${pids[@]:1}"; do wait "$pid" 2>/dev/null || true; done
        pids=("${pids[0]}")
        rm -f "$folder"/{controller,agent,worker,redis,nats}.log
        echo "$name: passed"
        tried=$((tried + 1))
    done
done
[ "$tried" != 0 ] || die "nothing was tried"
