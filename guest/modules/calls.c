// SPDX-License-Identifier: GPL-2.0-only
/*
 * read, write, readv, writev, send and receive of TCP sockets by ring 0 programs,
 * from the file straight to the protocol.  What is no TCP socket, and what wants
 * more than bytes (addresses, control messages), is left to the calls themselves.
 *
 * The results are theirs, and so are signals and restarts.  What is left out: the
 * checks of a security module, which the kernel must not have for that, and what
 * inotify tells of a socket that is read or written.
 */
#include <linux/module.h>
#include <linux/sched/xacct.h>
#include <asm/ukl.h>
#include <ukl.h>
#include "tcp.h"

#if IS_ENABLED(CONFIG_SECURITY_NETWORK)
#error "a security module would not be asked"
#endif

static struct ukl_call read, write, readv, writev, recvfrom, sendto, sendmsg;

static __always_inline long receive(struct sock *sk, struct msghdr *msg, int flags)
{
	int name_len;

	return READ_ONCE(sk->sk_prot)->recvmsg(sk, msg, msg_data_left(msg), flags, &name_len);
}

static __always_inline long transmit(struct sock *sk, struct msghdr *msg, int flags)
{
	msg->msg_flags = flags;
	return READ_ONCE(sk->sk_prot)->sendmsg(sk, msg, msg_data_left(msg));
}

/* For /proc/PID/io, which knows files, not sockets. */
static __always_inline long was_read(long n)
{
	if (n > 0)
		add_rchar(current, n);
	inc_syscr(current);
	return n;
}

static __always_inline long was_written(long n)
{
	if (n > 0)
		add_wchar(current, n);
	inc_syscw(current);
	return n;
}

static long serve_read(const struct pt_regs *regs)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || !regs->dx ||
	    set_msg(&msg, ITER_DEST, (void __user *)regs->si, regs->dx, 0))
		return read.other(regs);
	return was_read(receive(sk, &msg, block_flag(f)));
}

static long serve_write(const struct pt_regs *regs)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || set_msg(&msg, ITER_SOURCE, (void __user *)regs->si, regs->dx, 0))
		return write.other(regs);
	return was_written(transmit(sk, &msg, block_flag(f)));
}

static long serve_recvfrom(const struct pt_regs *regs)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || regs->r8 ||
	    set_msg(&msg, ITER_DEST, (void __user *)regs->si, regs->dx, 0))
		return recvfrom.other(regs);
	return receive(sk, &msg, (int)regs->r10 | block_flag(f));
}

static long serve_sendto(const struct pt_regs *regs)
{
	struct msghdr msg __uninitialized;
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || regs->r8 ||
	    set_msg(&msg, ITER_SOURCE, (void __user *)regs->si, regs->dx, 0))
		return sendto.other(regs);
	return transmit(sk, &msg, ((int)regs->r10 & ~MSG_INTERNAL_SENDMSG_FLAGS) | block_flag(f));
}

static long serve_readv(const struct pt_regs *regs)
{
	struct iovec fast[UIO_FASTIOV], *iov = fast;
	struct msghdr msg __uninitialized;
	struct sock *sk;
	ssize_t n;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || set_msg(&msg, ITER_DEST, NULL, 0, 0))
		return readv.other(regs);
	n = import_iovec(ITER_DEST, (void __user *)regs->si, regs->dx, ARRAY_SIZE(fast), &iov,
			 &msg.msg_iter);
	if (n < 0)
		return n;
	n = was_read(n ? receive(sk, &msg, block_flag(f)) : 0);
	kfree(iov);
	return n;
}

/* Nothing is written to a file if there is nothing to write, but a message may be empty. */
static __always_inline long transmit_vector(struct sock *sk, const struct iovec __user *vector,
					    unsigned long count, int flags, bool empty)
{
	struct iovec fast[UIO_FASTIOV], *iov = fast;
	struct msghdr msg __uninitialized;
	ssize_t n;

	set_msg(&msg, ITER_SOURCE, NULL, 0, 0);
	n = import_iovec(ITER_SOURCE, vector, count, ARRAY_SIZE(fast), &iov, &msg.msg_iter);
	if (n < 0)
		return n;
	if (n || empty)
		n = transmit(sk, &msg, flags);
	kfree(iov);
	return n;
}

static long serve_writev(const struct pt_regs *regs)
{
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk))
		return writev.other(regs);
	return was_written(transmit_vector(sk, (void __user *)regs->si, regs->dx, block_flag(f),
					   false));
}

static long serve_sendmsg(const struct pt_regs *regs)
{
	struct user_msghdr msg;
	struct sock *sk;

	CLASS(fd, f)(regs->di);
	sk = tcp_of(f);
	if (IS_ERR(sk) || copy_from_user(&msg, (void __user *)regs->si, sizeof(msg)) ||
	    msg.msg_name || msg.msg_controllen || msg.msg_iovlen > UIO_MAXIOV ||
	    (regs->dx & MSG_CMSG_COMPAT))
		return sendmsg.other(regs);
	return transmit_vector(sk, msg.msg_iov, msg.msg_iovlen,
			       ((int)regs->dx & ~MSG_INTERNAL_SENDMSG_FLAGS) | block_flag(f), true);
}

static struct ukl_call read = { __NR_read, serve_read },
	write = { __NR_write, serve_write },
	readv = { __NR_readv, serve_readv },
	writev = { __NR_writev, serve_writev },
	recvfrom = { __NR_recvfrom, serve_recvfrom },
	sendto = { __NR_sendto, serve_sendto },
	sendmsg = { __NR_sendmsg, serve_sendmsg };

static int __init calls_init(void)
{
	struct ukl_call *all[] = { &read, &write, &readv, &writev, &recvfrom, &sendto, &sendmsg };
	int i, err = 0;

	for (i = 0; !err && i < ARRAY_SIZE(all); i++)
		err = ukl_replace(THIS_MODULE, all[i]);
	return err;
}
module_init(calls_init);

MODULE_DESCRIPTION("System calls of ring 0 programs on TCP sockets");
MODULE_LICENSE("GPL");
