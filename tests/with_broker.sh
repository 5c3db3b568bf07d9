#!/usr/bin/env bash
# Tests scripts/with-broker: one line per check, then one line with the numbers.
set -u

tool=$(readlink -f -- "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/with-broker")
work=$(mktemp -d "${TMPDIR:-/tmp}/with-broker-test.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
chmod 755 "$work"
chmod 1777 "$TMPDIR"
unset AMQP_URL AMQPS_URL AMQP_BROKER_CONTROL AMQP_TLS_DIR WITH_BROKER_SERVER
passed=0 failed=0

check() {
    local name=$1
    shift
    if "$@"; then
        echo "ok - $name"
        passed=$((passed + 1))
    else
        echo "not ok - $name"
        failed=$((failed + 1))
    fi
}

is() { [[ $1 == "$2" ]] || { echo "# got '$1', not '$2'" && false; }; }
contains() { [[ $1 == *"$2"* ]] || { echo "# no '$2' in '$1'" && false; }; }

# Does the AMQP header get a Start method (class 10, method 10) for an answer?
greeted() {
    local port=${1##*:} head
    port=${port%%/*}
    head=$(
        exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$port" || exit
        printf 'AMQP\0\0\11\1' >&3
        timeout 5 dd bs=4096 count=1 <&3 | head -c 11 | od -An -tx1 | tr -d ' \n'
    )
    [[ $head == 010000????????000a000a ]]
}
export -f greeted

processes() {
    # [.] lest it finds itself.
    grep -ls -e "$TMPDIR/haypile-broker[.]" /proc/[0-9]*/environ /proc/[0-9]*/cmdline |
        cut -d/ -f3 | sort -u
}

nothing_left() {
    local tries=${1:-1} pids
    while ((tries--)); do
        pids=$(processes)
        [[ ! $pids ]] && [[ ! $(ls -A "$TMPDIR") ]] && return
        ((tries)) && sleep 0.1
    done
    echo "# left: $pids; $(ls -A "$TMPDIR")"
    false
}

await_file() {
    local tries=600
    until [[ -s $1 ]]; do
        ((tries--)) || return
        sleep 0.1
    done
}

# Wrong usage, and what starts nothing.
"$tool" >/dev/null 2>&1
check 'no command: 2' is $? 2
"$tool" --what true 2>/dev/null
check 'unknown option: 2' is $? 2
"$tool" --config /nonexistent true 2>/dev/null
check 'unreadable config: 2' is $? 2
"$tool" no-such-command 2>/dev/null
check 'no such command: 127' is $? 127
# shellcheck disable=SC2016
out=$(AMQP_URL=amqp://elsewhere "$tool" sh -c 'echo "$AMQP_URL"; exit 9')
check 'a given AMQP_URL: the status' is $? 9
check 'a given AMQP_URL is used' is "$out" amqp://elsewhere
AMQP_URL=amqp://elsewhere "$tool" --tls true 2>/dev/null
check 'a given AMQP_URL and --tls: 2' is $? 2
mkdir "$work/bin"
printf '#!/bin/sh\nexit 100\n' >"$work/bin/apt-get"
chmod 755 "$work/bin/apt-get"
out=$(PATH="$work/bin:$PATH" WITH_BROKER_SERVER=/nonexistent "$tool" true 2>&1)
check 'not installable: 69' is $? 69
check 'not installable: says what to do' contains "$out" AMQP_URL
check 'nothing left of those' nothing_left

# Two at once, one as an ordinary user.
other=()
if ((EUID == 0)); then
    other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
else
    echo '# not root: the ordinary user is the one there is'
fi
# shellcheck disable=SC2016
{
    "${other[@]}" bash "$tool" bash -c 'sleep 1; greeted "$AMQP_URL" && echo "$AMQP_URL"' </dev/null >"$work/one" 2>&1 &
    one=$!
    "$tool" bash -c 'sleep 1; greeted "$AMQP_URL" && echo "$AMQP_URL"; exit 7' <&- >"$work/two" 2>&1
}
check 'exit status 7 comes back' is $? 7
wait "$one"
check 'exit status 0 comes back, as an ordinary user' is $? 0
check 'the node of an ordinary user greets' contains "$(<"$work/one")" amqp://
check 'the node of this user greets' contains "$(<"$work/two")" amqp://
check 'two nodes, two ports' test "$(<"$work/one")" != "$(<"$work/two")"
check 'nothing left of the two' nothing_left

# Signals. Each run leads a session of its own, so that its group can be signalled.
run_apart() {
    rm -f "$work/up"
    # shellcheck disable=SC2016
    (
        trap - INT
        exec setsid "$tool" bash -c 'echo $$ >"$0"; exec sleep 100' "$work/up"
    ) </dev/null &
    apart=$!
    await_file "$work/up"
}

run_apart
kill -INT -- "-$apart"
wait "$apart"
check 'SIGINT to the group: 130' is $? 130
check 'nothing left after SIGINT' nothing_left

run_apart
kill -TERM "$apart"
wait "$apart"
check 'SIGTERM to with-broker: 143' is $? 143
check 'nothing left after SIGTERM' nothing_left

rm -f "$work/up"
# Stubborn: only a second Ctrl-C ends it.
# shellcheck disable=SC2016
(
    trap - INT
    exec setsid "$tool" bash -c 'trap "" INT; echo $$ >"$0"; exec sleep 100' "$work/up"
) </dev/null &
apart=$!
await_file "$work/up"
kill -INT -- "-$apart"
sleep 0.3
kill -INT -- "-$apart"
wait "$apart"
check 'a second SIGINT: 130' is $? 130
check 'nothing left after the second SIGINT' nothing_left

run_apart
{
    kill -KILL "$apart"
    wait "$apart"
} 2>/dev/null
kill "$(<"$work/up")"
check 'nothing left 3 s after SIGKILL' nothing_left 30

(
    trap - INT
    exec setsid "$tool" true
) </dev/null 2>/dev/null &
apart=$!
sleep 1.5
kill -INT -- "-$apart"
wait "$apart"
check 'SIGINT while the node starts: 130' is $? 130
check 'nothing left after that' nothing_left

# shellcheck disable=SC2016
bash -c '"$0" bash -c "greeted \$AMQP_URL && echo yes" >"$1" & wait' "$tool" "$work/background"
check 'works in the background of a shell' is "$(<"$work/background")" yes

# A broken config: said at once.
echo 'no_such_key = 1' >"$work/bad.conf"
out=$("$tool" --config "$work/bad.conf" true 2>&1)
check 'a node that does not start: 70' is $? 70
check 'a node that does not start: its log is shown' contains "$out" no_such_key
check 'nothing left of it' nothing_left

# TLS, config, control, on one node.
echo 'frame_max = 54321' >"$work/one.conf"
echo 'heartbeat = 17' >"$work/two.conf"
cat >"$work/inside" <<'END'
c=$AMQP_BROKER_CONTROL
handshake() {
    openssl s_client -connect "localhost:$tls_port" -servername localhost \
        -verify_return_error "$@" </dev/null >"$work/handshake" 2>&1
}
tls_port=${AMQPS_URL##*:} tls_port=${tls_port%%/*}
check '--tls: handshake' handshake -CAfile "$AMQP_TLS_DIR/ca.pem" -verify_hostname localhost
check '--tls: handshake with a client certificate' handshake -CAfile "$AMQP_TLS_DIR/ca.pem" \
    -cert "$AMQP_TLS_DIR/client.pem" -key "$AMQP_TLS_DIR/client.key"
check '--tls: the other CA does not do' eval '! handshake -CAfile "$AMQP_TLS_DIR/other-ca.pem"'
out=$("$c" ctl eval '{application:get_env(rabbit, frame_max), application:get_env(rabbit, heartbeat)}.')
check '--config, twice' contains "$out" '{{ok,54321},{ok,17}}'
check 'control url' is "$("$c" url)" "$AMQP_URL"
"$c" ctl add_user kept secret >/dev/null
check 'control kill' "$c" kill
check 'killed: no greeting' eval '! greeted "$AMQP_URL"'
check 'control start' "$c" start
check 'started: the same port greets' greeted "$AMQP_URL"
check 'started: the data is kept' contains "$("$c" ctl list_users)" kept
check 'control pause' "$c" pause
check 'paused: no greeting' eval '! greeted "$AMQP_URL"'
check 'control resume' "$c" resume
check 'resumed: greets' greeted "$AMQP_URL"
check 'control restart' "$c" restart
check 'restarted: greets' greeted "$AMQP_URL"
"$c" nonsense 2>/dev/null
check 'control nonsense: 2' is $? 2
check 'control pause, to the end' "$c" pause
echo "$passed $failed" >"$work/numbers"
END
export -f check is contains
export work passed failed
"$tool" --tls --control --config "$work/one.conf" --config "$work/two.conf" bash "$work/inside" 2>"$work/stderr"
status=$?
[[ ! -s $work/numbers ]] || read -r passed failed <"$work/numbers"
check 'with --tls, --control and --config: 0' is "$status" 0
check 'nothing said on stderr' is "$(<"$work/stderr")" ''
check 'nothing left of a paused node' nothing_left

echo "$passed passed, $failed failed"
((failed == 0))
