# What the scripts of this laboratory share: names, addresses, users, and how a process is started
# on one of the machines. Sourced, never run.
#
# A machine is a network namespace, joined to the others by the emulated WAN, and a mount namespace
# in which its own directories lie over /etc/mysql, /var/lib/redmine and the like. So every
# configuration file is where production has it, and nothing of the host is touched.

RECIPE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$RECIPE/../.." && pwd)
PYTHON=$REPOSITORY/.venv/bin/python
LABORATORY=${GEOSYNC_LABORATORY:-/var/tmp/geosync-redmine}
MACHINES=(bari cnaf roma) # two sites with everything, and one that arbitrates and has the clients
SITES=(bari cnaf)
declare -A ADDRESS=([bari]=10.77.0.1 [cnaf]=10.77.0.2 [roma]=10.77.0.3)
declare -A REGION=([bari]=1 [cnaf]=2)
# Directory of the machine -> where it lies over the host's. Made on the host where it is missing.
COVERED=(/etc/mysql /etc/redmine /etc/geosync /etc/powerdns /etc/haproxy /run/mysqld
  /var/lib/mysql /var/lib/redmine /var/lib/geosync /usr/share/redmine/plugins)
NAMESPACES=/run/geosync-laboratory

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

require_root() {
  [ "$(id -u)" = 0 ] || fail "network namespaces need root: run it as root"
}

require_machine() {
  [ -e "$NAMESPACES/$1.mount" ] || fail "there is no machine $1: run recipes/redmine/setup first"
}

# The process that holds the WAN makes the namespaces, and puts its id into their names.
network_namespace() { echo "laboratory-$(<"$LABORATORY/roma/run/wan.pid")-$1"; }

wan() { PYTHONPATH=$REPOSITORY "$PYTHON" -m recipes.redmine.wan ask "$LABORATORY/wan.socket" "$@"; }

# enter MACHINE COMMAND...: becomes the command, as root, on that machine.
enter() {
  local machine=$1
  shift
  exec nsenter --net="/run/netns/$(network_namespace "$machine")" \
    --mount="$NAMESPACES/$machine.mount" --wd=/ -- "$@"
}

# The daemon has the capabilities that systemd/geosync@.service gives it; all others have none.
become() {
  local user=$1 capabilities=-all
  shift
  [ "$user" = root ] && exec "$@"
  [ "$user" = geosync ] && capabilities=-all,+dac_override,+chown,+fowner,+fsetid,+lease
  exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --bounding-set "$capabilities" \
    --inh-caps "$capabilities" --ambient-caps "$capabilities" --no-new-privs -- "$@"
}

# launch MACHINE NAME USER COMMAND...: starts a process with a log and a file with its id.
launch() {
  local machine=$1 name=$2 user=$3
  shift 3
  require_machine "$machine"
  is_running "$machine" "$name" && return 0
  local place=$LABORATORY/$machine
  rm -f "$place/run/$name.pid"
  (
    umask 022
    export TZ=UTC LANG=C.UTF-8 HOME=/nonexistent TMPDIR=$place/tmp PYTHONPATH=$REPOSITORY
    export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore
    enter "$machine" setsid bash -c "echo \$\$ > '$place/run/$name.pid'
      . '$RECIPE/laboratory.bash'; become $user \"\$@\"" "$name" "$@"
  ) </dev/null >>"$place/log/$name.log" 2>&1 &
  disown
  await "the start of $name at $machine" is_running "$machine" "$name"
}

is_running() {
  local file=$LABORATORY/$1/run/$2.pid
  [ -s "$file" ] && kill -0 "$(<"$file")" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$(<"$file")/status" 2>/dev/null
}

# halt MACHINE NAME [SIGNAL]: ends a process of ours by its id; by SIGKILL when it does not end.
halt() {
  local machine=$1 name=$2 signal=${3:-TERM} file=$LABORATORY/$1/run/$2.pid
  is_running "$machine" "$name" || { rm -f "$file"; return 0; }
  local process
  process=$(<"$file")
  kill "-$signal" -- "-$process" 2>/dev/null || kill "-$signal" "$process" || true
  for _ in $(seq 200); do
    is_running "$machine" "$name" || { rm -f "$file"; return 0; }
    sleep 0.1
  done
  kill -KILL -- "-$process" 2>/dev/null || true
  rm -f "$file"
}

# await WHAT COMMAND...: until the command succeeds.
await() {
  local what=$1
  shift
  for _ in $(seq "${AWAIT_TRIES:-600}"); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  fail "waited in vain for $what; logs are in $LABORATORY/*/log"
}

# fill TEMPLATE FILE MACHINE: writes a configuration file with what differs between machines.
fill() {
  local machine=$3 other=cnaf
  [ "$machine" = cnaf ] && other=bari
  SITE=$machine OTHER_SITE=$other SITE_ADDRESS=${ADDRESS[$machine]} \
    OTHER_ADDRESS=${ADDRESS[$other]} BARI_ADDRESS=${ADDRESS[bari]} CNAF_ADDRESS=${ADDRESS[cnaf]} \
    ROMA_ADDRESS=${ADDRESS[roma]} SWIFT_KEY=$(<"$LABORATORY/swift-key") MODE=${MODE:-multi-master} \
    VOLUME=${VOLUME:-redmine} envsubst \
    '$SITE $OTHER_SITE $SITE_ADDRESS $OTHER_ADDRESS $BARI_ADDRESS $CNAF_ADDRESS $ROMA_ADDRESS $SWIFT_KEY $MODE $VOLUME' \
    <"$RECIPE/configuration/$1" >"$2"
}

# enter_and_wait MACHINE COMMAND...: runs a command there, and comes back.
enter_and_wait() { (enter "$@"); }

# What Redmine and its commands need to know; see configuration/puma.rb.
redmine_environment() {
  cd /usr/share/redmine
  export RAILS_ENV=production REDMINE_INSTANCE=default GEOSYNC_SITE=$1 HOME=/nonexistent TZ=UTC LANG=C.UTF-8
  export TMPDIR=$LABORATORY/$1/tmp
  # What a demonstration sets otherwise: GEOSYNC_SITE= and GEOSYNC_WAIT_S=0 turn the plugins off.
  if [ -e "$LABORATORY/redmine-options" ]; then . "$LABORATORY/redmine-options"; fi
}

# as_redmine SITE COMMAND...: runs one of Redmine's commands as its user.
as_redmine() {
  local site=$1
  shift
  enter_and_wait "$site" bash -c ". '$RECIPE/laboratory.bash'
    redmine_environment $site
    become www-data \"\$@\"" as_redmine "$@"
}

# geosync_at SITE COMMAND...: runs a command of geosync at a site.
geosync_at() {
  local site=$1
  shift
  PYTHONPATH=$REPOSITORY enter_and_wait "$site" "$PYTHON" -m geosync "$@" --config /etc/geosync/redmine.toml
}
