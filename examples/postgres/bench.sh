# SPDX-License-Identifier: MIT
# In the guest: makes a database cluster, starts the server, runs pgbench.
set -e
PATH=/usr/local/pgsql/bin:/usr/bin
mkdir -p /pg /tmp
chown nobody /pg

# The server refuses to be root. Who gives up root stays entitled to ring 0 only
# with the capability for raw access to the machine.
as_user() {
	setpriv --reuid=nobody --clear-groups --inh-caps=+sys_rawio --ambient-caps=+sys_rawio "$@"
}

as_user initdb -D /pg/data -A trust --no-locale -U postgres > /tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
as_user pg_ctl -D /pg/data -o '-c listen_addresses= -c unix_socket_directories=/tmp' -l /tmp/server.log -w start || { cat /tmp/server.log; exit 1; }

# Of all VMAs in the machine, only those of ring 0 programs have the flag "uk".
for process in /proc/[0-9]*; do
	read -r name < "$process/comm"
	if [ "$name" = postgres ] && grep -q '^VmFlags:.* uk' "$process/smaps"; then
		echo "in ring 0: $(tr '\0' ' ' < "$process/cmdline")"
	fi
done

client() { as_user "$@" -h /tmp -U postgres; }
client createdb bench
client pgbench -q -i -s 1 bench 2>&1 | tail -1
client pgbench -c "${CLIENTS:-4}" -j 1 -t "${TRANSACTIONS:-50}" bench 2>&1 | grep -E 'tps|processed|failed'
client psql -At bench -c 'select count(*), sum(abalance) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts'
as_user pg_ctl -D /pg/data -m fast -w stop
