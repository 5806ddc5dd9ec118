// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded into QEMU before its libraries (LD_PRELOAD). QEMU's user network listens with a backlog
 * of one connection (libslirp, tcpx_listen()): a third client that comes before the first two were
 * accepted has its last ACK dropped, thinks itself connected, and is reset after a minute of resends.
 * The kernel cuts what is asked for here to net.core.somaxconn.
 */
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default")))
int listen(int fd, int backlog)
{
	(void)backlog;
	return syscall(SYS_listen, fd, INT_MAX);
}
