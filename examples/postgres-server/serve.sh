# SPDX-License-Identifier: MIT
# In the guest: makes a database cluster if there is none, and serves it to anybody who connects.
set -e
PATH=/usr/local/pgsql/bin:/usr/bin
mkdir -p /pg /tmp
chown nobody /pg

# The server refuses to be root. Who gives up root stays entitled to ring 0 only
# with the capability for raw access to the machine.
as_user() {
	setpriv --reuid=nobody --clear-groups --inh-caps=+sys_rawio --ambient-caps=+sys_rawio "$@"
}

# A cluster that was not finished is none.
if ! [ -e /pg/complete ]; then
	rm -rf /pg/data
	as_user initdb -D /pg/data -A trust --no-locale -U postgres > /tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
	echo 'host all all 0.0.0.0/0 trust' >> /pg/data/pg_hba.conf
	sync
	: > /pg/complete
	sync
fi
rm -f /pg/data/postmaster.pid
exec setpriv --reuid=nobody --clear-groups --inh-caps=+sys_rawio --ambient-caps=+sys_rawio \
	postgres -D /pg/data -c listen_addresses='*' -c unix_socket_directories=/tmp
