#!/usr/bin/env bash
# What is done on a machine that a real systemd has started; each line of the result is a proof.
# Ends with "all done" as the last line of /mnt/result, or with the command that failed.
set -euo pipefail
exec > /mnt/result 2>&1
trap 'echo "failed: $BASH_COMMAND"; journalctl --no-pager -u "geosync@*" | tail -60' ERR
here=$1

install -m 0755 /dev/stdin /usr/bin/geosync <<END
#!/bin/sh
cd / && exec $here/.venv/bin/python -P -m geosync "\$@"
END
install -D -m 0644 "$here/systemd/geosync.sysusers" /usr/lib/sysusers.d/geosync.conf
install -D -m 0644 "$here/systemd/geosync.tmpfiles" /usr/lib/tmpfiles.d/geosync.conf
install -D -m 0644 "$here/systemd/geosync@.service" /etc/systemd/system/geosync@.service
for unit in geosync-verify@.service geosync-verify@.timer; do
  install -m 0644 "$here/systemd/$unit" "/etc/systemd/system/$unit"
done
systemd-sysusers geosync.conf
systemd-tmpfiles --create geosync.conf
mkdir -p /etc/systemd/system/geosync@files.service.d
printf '[Service]\nWatchdogSec=6s\n' > /etc/systemd/system/geosync@files.service.d/quick.conf
systemctl daemon-reload

# The files are an application's, and closed to everybody else; the store is the daemon's.
install -d -o www-data -g www-data -m 0750 /srv/files /srv/files/closed
install -d -o geosync -g geosync -m 0700 /srv/store
install -d -m 0755 /srv/elsewhere
geosync init --volume files --site bari --root /srv/files --store directory \
  --directory-path /srv/store --listen 127.0.0.1:8484
systemctl start geosync@files
echo "started: $(systemctl show -P ActiveState,StatusText geosync@files | tr '\n' ' ')"

daemon=$(systemctl show -P MainPID geosync@files)
echo "runs as: $(stat -c %U "/proc/$daemon")"
echo "capabilities: $(sed -n 's/^CapEff:\s*//p' "/proc/$daemon/status")"

runuser -u www-data -- sh -c 'umask 077; echo "of the application" > /srv/files/closed/private'
geosync sync --timeout 60
sed 's/"bari"/"rome"/; s#/srv/files#/srv/elsewhere#; s/127.0.0.1:8484//' /etc/geosync/files.toml > /root/rome.toml
sed -i '/^state_dir/d' /root/rome.toml
sed -i '1i state_dir = "/srv/state-rome"' /root/rome.toml
geosync sync --config /root/rome.toml --timeout 60
echo "elsewhere: $(stat -c '%U:%G %a' /srv/elsewhere/closed/private) $(cat /srv/elsewhere/closed/private)"
echo "from elsewhere" > /srv/elsewhere/closed/private
chown backup:www-data /srv/elsewhere/closed/private
chmod 0640 /srv/elsewhere/closed/private
geosync sync --config /root/rome.toml --timeout 60
geosync sync --timeout 60
echo "came back: $(stat -c '%U:%G %a' /srv/files/closed/private) $(cat /srv/files/closed/private)"

systemctl start geosync-verify@files
echo "verified: $(systemctl show -P Result geosync-verify@files)," \
  "$(journalctl --no-pager -o cat -u geosync-verify@files | grep 'all is as it should be')"
systemctl enable --now geosync-verify@files.timer
echo "timer: $(systemctl is-active geosync-verify@files.timer)"

systemctl reload geosync@files
echo "reloaded: $(journalctl --no-pager -u geosync@files | grep -c configuration_reloaded)"
sed -i 's/^mode = .*/mode = "nonsense"/' /etc/geosync/files.toml
systemctl reload geosync@files && echo "a wrong file was taken"
echo "after a wrong file: $(systemctl is-active geosync@files)"
sed -i 's/^mode = .*/mode = "multi-master"/' /etc/geosync/files.toml

for second in $(seq 20); do sleep 1; done
echo "watched: restarted $(systemctl show -P NRestarts geosync@files) times while it worked"
kill -STOP "$(systemctl show -P MainPID geosync@files)"
for second in $(seq 120); do
  [ "$(systemctl show -P NRestarts geosync@files)" = 0 ] || break
  sleep 0.5
done
until [ "$(systemctl is-active geosync@files)" = active ]; do sleep 0.5; done
echo "hung: restarted $(systemctl show -P NRestarts geosync@files) times"

echo "priorities: $(journalctl --no-pager -o json -u geosync@files | grep -o '"MESSAGE":"event=daemon_started[^"]*"' | head -1 | cut -c1-40)" \
  "$(journalctl --no-pager -o json -u geosync@files | grep 'event=daemon_started' | grep -o '"PRIORITY":"."' | sort -u)"
systemctl stop geosync@files
echo "stopped: $(systemctl show -P Result geosync@files) $(systemctl show -P ExecMainStatus geosync@files)"
echo "denied: $(journalctl --no-pager -u geosync@files | grep -ci 'operation not permitted\|permission denied' || true)"
echo "all done"
