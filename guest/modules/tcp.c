// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send and receive on a connected TCP socket, straight to the protocol.  The
 * results are those of send(2) and recv(2); what is no TCP socket is left to
 * these (ENOSYS).
 */
#include <ukl.h>
#include "tcp.h"

SYSCALL_DEFINE4(ukl_recv, int, fd, void __user *, buf, size_t, len, int, flags)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;
	int name_len;

	if (set_msg(&msg, ITER_DEST, buf, len, 0))
		return -EFAULT;

	CLASS(fd, f)(fd);
	sk = tcp_of(f);
	if (IS_ERR(sk))
		return PTR_ERR(sk);
	return READ_ONCE(sk->sk_prot)->recvmsg(sk, &msg, msg_data_left(&msg),
					       flags | block_flag(f),
					       &name_len);
}

SYSCALL_DEFINE4(ukl_send, int, fd, void __user *, buf, size_t, len, int, flags)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;

	flags &= ~MSG_INTERNAL_SENDMSG_FLAGS;
	if (set_msg(&msg, ITER_SOURCE, buf, len, flags))
		return -EFAULT;

	CLASS(fd, f)(fd);
	sk = tcp_of(f);
	if (IS_ERR(sk))
		return PTR_ERR(sk);
	msg.msg_flags |= block_flag(f);
	return READ_ONCE(sk->sk_prot)->sendmsg(sk, &msg, msg_data_left(&msg));
}

UKL_SHORTCUTS(UKL_SHORTCUT(ukl_recv), UKL_SHORTCUT(ukl_send));

MODULE_DESCRIPTION("TCP below the virtual file system");
MODULE_LICENSE("GPL");
