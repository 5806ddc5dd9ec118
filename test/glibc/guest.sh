# SPDX-License-Identifier: MIT
# In the guest, in ring 3: puts the image's ring 0 programs in their places in
# the shared build tree, $1, and serves glibc's cross-test-ssh.sh.
set -e
# The host does not change what was read here: everything may be cached.
umount "$1"
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=512000 ukl0 "$1"
while read -r image tree; do
	mount --bind "$image" "$tree"
done < /ring0/list
mkdir -p /var/lock /root/.ssh
cat /authorized_keys > /root/.ssh/authorized_keys
exec dropbear -F -E -s -r /host_key -p 22
