// SPDX-License-Identifier: GPL-2.0-only
/*
 * What clients sent, in place, and what they are to get, in one call for all of
 * them: for <ukl-upcall.h>, which calls a handler with each piece.
 *
 * A server is a file.  Connections are added to it; TCP's own callbacks put those
 * that have something on a list, so that nobody looks for them.  A turn sends the
 * answers of the last one and takes what has come: pieces of received packets, which
 * the program reads where they are, and which stay until the next turn.
 *
 * A ring 0 program can read the kernel's memory; no other gets here.  A connection
 * is still the program's file: what goes on by plain calls in between is right, too.
 */
#include <linux/anon_inodes.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/xarray.h>
#include <net/tcp.h>
#include <ukl.h>
#include <ukl-upcall.h>
#include "tcp.h"

#define SMALL	256

struct server {
	struct mutex turn;
	unsigned long turns;
	struct xarray clients;
	/* What the program reads at present. */
	struct sk_buff_head lent;
	/* Clients that have something. */
	spinlock_t lock;
	struct list_head ready;
	wait_queue_head_t wait;
	struct ukl_piece pieces[UKL_PIECES];
	/* To copy a small piece costs less than to hold its packet. */
	u8 small[UKL_PIECES][SMALL];
};

struct client {
	struct server *server;
	struct list_head ready;
	u32 id;
	/* The turn in which not all could be sent: nothing overtakes that. */
	unsigned long full;
	struct file *file;
	struct sock *sk;
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
};

/* A turn's room for pieces, as tcp_read_sock() hands it on. */
struct taking {
	struct ukl_piece *pieces;
	unsigned int count;
	struct client *client;
};

static const struct file_operations server_fops;

static void mark_ready(struct client *client)
{
	struct server *server = client->server;

	spin_lock_bh(&server->lock);
	if (list_empty(&client->ready))
		list_add_tail(&client->ready, &server->ready);
	spin_unlock_bh(&server->lock);
	if (wq_has_sleeper(&server->wait))
		wake_up_interruptible_poll(&server->wait, EPOLLIN);
}

static void data_ready(struct sock *sk)
{
	struct client *client;

	read_lock_bh(&sk->sk_callback_lock);
	client = rcu_dereference_sk_user_data(sk);
	if (client) {
		client->data_ready(sk);
		mark_ready(client);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void state_change(struct sock *sk)
{
	struct client *client;

	read_lock_bh(&sk->sk_callback_lock);
	client = rcu_dereference_sk_user_data(sk);
	if (client) {
		client->state_change(sk);
		mark_ready(client);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void drop(struct client *client)
{
	struct server *server = client->server;
	struct sock *sk = client->sk;

	write_lock_bh(&sk->sk_callback_lock);
	rcu_assign_sk_user_data(sk, NULL);
	sk->sk_data_ready = client->data_ready;
	sk->sk_state_change = client->state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	/* Nobody marks it any more. */
	spin_lock_bh(&server->lock);
	list_del_init(&client->ready);
	spin_unlock_bh(&server->lock);
	xa_erase(&server->clients, client->id);
	fput(client->file);
	kfree(client);
}

static int server_release(struct inode *inode, struct file *file)
{
	struct server *server = file->private_data;
	struct client *client;
	unsigned long id;

	xa_for_each(&server->clients, id, client)
		drop(client);
	xa_destroy(&server->clients);
	__skb_queue_purge(&server->lent);
	kvfree(server);
	return 0;
}

static __poll_t server_poll(struct file *file, poll_table *table)
{
	struct server *server = file->private_data;

	poll_wait(file, &server->wait, table);
	return list_empty_careful(&server->ready) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static const struct file_operations server_fops = {
	.owner = THIS_MODULE,
	.poll = server_poll,
	.release = server_release,
	.llseek = noop_llseek,
};

static struct server *server_of(struct fd f)
{
	if (fd_empty(f))
		return ERR_PTR(-EBADF);
	return fd_file(f)->f_op == &server_fops ? fd_file(f)->private_data : ERR_PTR(-EINVAL);
}

SYSCALL_DEFINE0(ukl_upcall_open)
{
	struct server *server = kvzalloc(sizeof(*server), GFP_KERNEL_ACCOUNT);
	int fd;

	if (!server)
		return -ENOMEM;
	mutex_init(&server->turn);
	xa_init_flags(&server->clients, XA_FLAGS_ALLOC1);
	__skb_queue_head_init(&server->lent);
	spin_lock_init(&server->lock);
	INIT_LIST_HEAD(&server->ready);
	init_waitqueue_head(&server->wait);
	fd = anon_inode_getfd("[ukl-upcall]", &server_fops, server, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		kvfree(server);
	return fd;
}

/* Adds a connection, and returns the number that it has in turns. */
SYSCALL_DEFINE2(ukl_upcall_add, int, server_fd, int, fd)
{
	struct client *client;
	struct server *server;
	struct sock *sk;
	int err;

	CLASS(fd, s)(server_fd);
	server = server_of(s);
	if (IS_ERR(server))
		return PTR_ERR(server);
	CLASS(fd, f)(fd);
	sk = tcp_of(f);
	if (IS_ERR(sk))
		return PTR_ERR(sk);
	client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	if (!client)
		return -ENOMEM;
	client->server = server;
	client->sk = sk;
	INIT_LIST_HEAD(&client->ready);
	err = xa_alloc(&server->clients, &client->id, client, xa_limit_31b, GFP_KERNEL);
	if (err)
		goto free;
	client->file = get_file(fd_file(f));
	write_lock_bh(&sk->sk_callback_lock);
	/* Somebody else's already: a map of sockets, another server. */
	err = sk->sk_user_data || sk->sk_state == TCP_LISTEN ? -EBUSY : 0;
	if (!err) {
		client->data_ready = sk->sk_data_ready;
		client->state_change = sk->sk_state_change;
		sk->sk_data_ready = data_ready;
		sk->sk_state_change = state_change;
		rcu_assign_sk_user_data(sk, client);
	}
	write_unlock_bh(&sk->sk_callback_lock);
	if (err)
		goto erase;
	/* What came before. */
	mark_ready(client);
	return client->id;
erase:
	fput(client->file);
	xa_erase(&server->clients, client->id);
free:
	kfree(client);
	return err;
}

SYSCALL_DEFINE2(ukl_upcall_drop, int, server_fd, unsigned int, id)
{
	struct client *client;
	struct server *server;

	CLASS(fd, s)(server_fd);
	server = server_of(s);
	if (IS_ERR(server))
		return PTR_ERR(server);
	mutex_lock(&server->turn);
	client = xa_load(&server->clients, id);
	if (client)
		drop(client);
	mutex_unlock(&server->turn);
	return client ? 0 : -ENOENT;
}

static bool put_piece(struct taking *taking, const void *bytes, size_t len)
{
	if (taking->count == UKL_PIECES)
		return false;
	taking->pieces[taking->count++] = (struct ukl_piece){
		.id = taking->client->id,
		.length = len,
		.bytes = bytes,
	};
	return true;
}

/* As many of a packet's bytes as there is room for, which may end between its fragments. */
static size_t put_packet(struct taking *taking, const struct sk_buff *skb, size_t offset, size_t len)
{
	size_t left = len, linear = skb_headlen(skb), n;
	int i;

	if (offset < linear) {
		n = min(left, linear - offset);
		if (!put_piece(taking, skb->data + offset, n))
			return 0;
		left -= n;
		offset = 0;
	} else {
		offset -= linear;
	}
	for (i = 0; left && i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		if (offset >= skb_frag_size(frag)) {
			offset -= skb_frag_size(frag);
			continue;
		}
		n = min_t(size_t, left, skb_frag_size(frag) - offset);
		if (!put_piece(taking, skb_frag_address(frag) + offset, n))
			break;
		left -= n;
		offset = 0;
	}
	return len - left;
}

static int take_packet(read_descriptor_t *desc, struct sk_buff *skb, unsigned int offset, size_t len)
{
	struct taking *taking = desc->arg.data;
	struct sk_buff *mine;
	size_t taken;

	if (len <= SMALL && offset + len <= skb_headlen(skb)) {
		void *copy = taking->client->server->small[taking->count % UKL_PIECES];

		if (!put_piece(taking, copy, len)) {
			desc->count = 0;
			return 0;
		}
		memcpy(copy, skb->data + offset, len);
		return len;
	}
	/* The queue's own may be merged with others once the socket is not locked. */
	if (skb_has_frag_list(skb))
		mine = skb_copy(skb, GFP_KERNEL);
	else
		mine = skb_clone(skb, GFP_KERNEL);
	if (!mine) {
		desc->count = 0;	/* there is more, whatever was taken before */
		return -ENOMEM;
	}
	taken = put_packet(taking, mine, offset, len);
	if (taken)
		__skb_queue_tail(&taking->client->server->lent, mine);
	else
		consume_skb(mine);
	if (taken < len)
		desc->count = 0;
	return taken;
}

/* Nothing passes an urgent byte, for which a handler has no use: it ends the connection. */
static bool has_ended(struct sock *sk)
{
	if (unlikely(tcp_sk(sk)->urg_data) && tcp_inq(sk))
		return true;
	return sk->sk_state == TCP_CLOSE || sk->sk_err || sk->sk_shutdown & RCV_SHUTDOWN;
}

/* Whether there was room for all that the client has. */
static bool take_client(struct taking *taking)
{
	struct sock *sk = taking->client->sk;
	read_descriptor_t desc = { .arg.data = taking, .count = 1 };
	bool all;
	int n;

	lock_sock(sk);
	n = tcp_read_sock(sk, &desc, take_packet);
	all = desc.count && n >= 0;
	if (all && has_ended(sk))
		all = put_piece(taking, NULL, 0);
	release_sock(sk);
	return all;
}

static struct client *next_ready(struct server *server)
{
	struct client *client;

	spin_lock_bh(&server->lock);
	client = list_first_entry_or_null(&server->ready, struct client, ready);
	if (client)
		list_del_init(&client->ready);
	spin_unlock_bh(&server->lock);
	return client;
}

/* What could not be sent is told by the answer's length; the program has to send the rest. */
static void answer(struct server *server, struct ukl_answer *answer)
{
	struct client *client = xa_load(&server->clients, answer->id);
	struct msghdr msg __uninitialized;
	long n = -ENOENT;

	if (client && client->full != server->turns) {
		n = set_msg(&msg, ITER_SOURCE, (void __user *)answer->bytes, answer->length,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (!n)
			n = READ_ONCE(client->sk->sk_prot)->sendmsg(client->sk, &msg,
								    msg_data_left(&msg));
	}
	n = max(n, 0L);
	if (client && n < answer->length)
		client->full = server->turns;
	answer->length = n;
}

static long answer_all(struct server *server, struct ukl_answer __user *where, unsigned int count)
{
	struct ukl_answer answers[16];
	unsigned int i, n;

	for (; count; count -= n, where += n) {
		n = min_t(unsigned int, count, ARRAY_SIZE(answers));
		if (copy_from_user(answers, where, n * sizeof(*answers)))
			return -EFAULT;
		for (i = 0; i < n; i++)
			answer(server, &answers[i]);
		if (copy_to_user(where, answers, n * sizeof(*answers)))
			return -EFAULT;
	}
	return 0;
}

static long take_all(struct server *server, struct ukl_piece __user *where)
{
	struct taking taking = { .pieces = server->pieces };
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(&server->lent)))
		consume_skb(skb);
	while (taking.count < UKL_PIECES && (taking.client = next_ready(server))) {
		if (take_client(&taking))
			continue;
		mark_ready(taking.client);
		break;
	}
	if (copy_to_user(where, server->pieces, taking.count * sizeof(*where)))
		return -EFAULT;
	return taking.count;
}

/*
 * Sends answers; if there is room for pieces (UKL_PIECES of them), gives back those
 * of the last turn and takes what has come.  Never waits.
 */
SYSCALL_DEFINE4(ukl_upcall_turn, int, server_fd, struct ukl_answer __user *, answers,
		unsigned int, count, struct ukl_piece __user *, pieces)
{
	struct server *server;
	long n;

	CLASS(fd, s)(server_fd);
	server = server_of(s);
	if (IS_ERR(server))
		return PTR_ERR(server);
	if (count > UKL_ANSWERS)
		return -EINVAL;
	mutex_lock(&server->turn);
	server->turns++;
	n = answer_all(server, answers, count);
	if (!n && pieces)
		n = take_all(server, pieces);
	mutex_unlock(&server->turn);
	return n;
}

UKL_SHORTCUTS(UKL_SHORTCUT(ukl_upcall_open), UKL_SHORTCUT(ukl_upcall_add),
	      UKL_SHORTCUT(ukl_upcall_drop), UKL_SHORTCUT(ukl_upcall_turn));

MODULE_DESCRIPTION("Received bytes in place, for a handler of the program's");
MODULE_LICENSE("GPL");
