/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP sockets as calls of ring 0 programs see them: no layer between file and protocol. */
#ifndef _UKL_TCP_H
#define _UKL_TCP_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/sock.h>

/* The socket, or why not.  The file that holds it is the caller's to put. */
static __always_inline struct sock *tcp_of(struct fd f)
{
	struct socket *sock;

	if (fd_empty(f))
		return ERR_PTR(-EBADF);
	sock = sock_from_file(fd_file(f));
	if (!sock)
		return ERR_PTR(-ENOTSOCK);
	return sk_is_tcp(sock->sk) ? sock->sk : ERR_PTR(-ENOSYS);
}

static __always_inline int block_flag(struct fd f)
{
	return fd_file(f)->f_flags & O_NONBLOCK ? MSG_DONTWAIT : 0;
}

/* All members, one by one: the compiler would zero a msghdr in a loop. */
static __always_inline int set_msg(struct msghdr *msg, unsigned int direction,
				   void __user *buf, size_t len, int flags)
{
	if (!access_ok(buf, len))
		return -EFAULT;
	msg->msg_name = NULL;
	msg->msg_namelen = 0;
	msg->msg_inq = 0;
	iov_iter_ubuf(&msg->msg_iter, direction, buf,
		      min_t(size_t, len, MAX_RW_COUNT));
	msg->msg_control = NULL;
	msg->msg_control_is_user = false;
	msg->msg_get_inq = false;
	msg->msg_flags = flags;
	msg->msg_controllen = 0;
	msg->msg_iocb = NULL;
	msg->msg_ubuf = NULL;
	msg->sg_from_iter = NULL;
	return 0;
}

#endif /* _UKL_TCP_H */
