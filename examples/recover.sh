#!/bin/sh
# Recover a JobSet with nobody watching: restart it in place, or recreate its Pods where that cannot be, and wait until
# it is well.
#   NAMESPACE=training JOBSET=llama ./recover.sh
# PATIENCE, such as 5m, leaves a JobSet alone that is well, or gets well by itself, within that time: for a schedule.
# TIMEOUT (15m) is how long the restart may take, WAIT (10m) how long to wait after it, or for somebody else's.
# METRICS_FILE, such as /var/lib/node_exporter/jsr-llama.prom, is where a restart leaves its metrics.
# Writes events.jsonl (`jsr replay` shows it) and result.json (the outcome, or the plan that was refused) to the
# current folder.
#
# Exits with 0 when the JobSet is well or has completed, and with the code of `jsr` when a person is needed.
set -u
: "${NAMESPACE:?which namespace}" "${JOBSET:?which JobSet}"
PATIENCE=${PATIENCE:-} TIMEOUT=${TIMEOUT:-15m} WAIT=${WAIT:-10m}

say() { echo "recover: $*" >&2; }

leave() {
  code=$1
  shift
  say "$*"
  exit "$code"
}

# Running, Suspended, Completed, Failed ...
state() { jsr status "$JOBSET" -n "$NAMESPACE" -o json | sed -n 's/^  "state": "\(.*\)",$/\1/p'; }

# Ends the script for a JobSet that is over: its work is done, or it is a case for a person.
leave_over() {
  if [ "$(state)" = Completed ]; then leave 0 "$JOBSET has completed"; fi
  leave 5 "$JOBSET has failed: look at it"
}

# Returns when the JobSet is not well after so long; ends the script when there is nothing left to do.
wait_or_leave() {
  jsr wait "$JOBSET" -n "$NAMESPACE" --timeout "$1"
  code=$?
  case $code in
  0) leave 0 "$JOBSET is well" ;;
  5) leave_over ;;
  124) ;;
  *) leave "$code" "cannot watch $JOBSET (exit code $code)" ;;
  esac
}

rm -f events.jsonl result.json
jsr status "$JOBSET" -n "$NAMESPACE" || exit $?
if [ -n "$PATIENCE" ]; then
  wait_or_leave "$PATIENCE"
  if [ "$(state)" = Suspended ]; then leave 0 "$JOBSET is suspended: nothing to recover"; fi
fi

jsr restart "$JOBSET" -n "$NAMESPACE" --in-place --fallback recreate --yes --timeout "$TIMEOUT" \
  --events events.jsonl ${METRICS_FILE:+--metrics-file "$METRICS_FILE"} -o json >result.json
code=$?
case $code in
0) say "every Pod is back" ;;
3) leave 3 "refused, nothing was changed: result.json says why" ;;
4) leave 4 "some Pods did not come back: result.json says which" ;;
5) leave_over ;;
6) say "somebody else is restarting it, or it was replaced" ;;
124) say "not back within $TIMEOUT; the restart goes on" ;;
*) leave "$code" "error (exit code $code)" ;;
esac

# After 0 this is a second look: are they still there? After 6 and 124 it is about the restart that goes on.
wait_or_leave "$WAIT"
leave 124 "$JOBSET is not well after $WAIT: look at it"
