/* SPDX-License-Identifier: MIT */
/*
 * A server that is a handler: it is called with what a client sent, in place where
 * the shortcuts 'upcall' are there, and answers.  Without them (in ring 3, on other
 * kernels, traced) the same program polls, reads and sends.  docs/upcall.md has more.
 */
#ifndef _UKL_UPCALL_H
#define _UKL_UPCALL_H

/* As many as a turn has. */
#define UKL_PIECES	64
#define UKL_ANSWERS	64

/* What came from a client, until the next turn; nothing, if no more will come. */
struct ukl_piece {
	const void *bytes;
	unsigned int length;
	unsigned int id;
};

/* What a client is to get; afterwards, how much of it was taken. */
struct ukl_answer {
	const void *bytes;
	unsigned int length;
	unsigned int id;
};

#ifndef __KERNEL__

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ukl.h>

/* What a client may send before a handler takes any of it. */
#define UKL_KEPT_MAX	65536
/* What a client may leave unread, behind what its socket's buffer holds. */
#define UKL_UNSENT_MAX	1048576

struct ukl_server_;

/* How a client ends: with the last answer, or at once. */
enum { UKL_CLOSING = 1, UKL_GONE };

struct ukl_client {
	/* The handler's own. */
	void *data;
	int fd;
	/* The rest is the server's. */
	unsigned int id;
	int over;
	char *kept;
	size_t kept_length;
	char *unsent;
	size_t unsent_length;
	struct ukl_server_ *server;
};

/*
 * Takes what a client sent: returns how many of the bytes it has dealt with, 0 if it
 * wants more first, or -1 to end the connection.  With no bytes, the client is gone.
 * The bytes may be the kernel's: they are to be read, not handed to a system call.
 */
typedef ssize_t ukl_handler(struct ukl_client *client, const char *bytes, size_t length);

struct ukl_server_ {
	ukl_handler *handler;
	int listener, fd;
	struct ukl_client **clients, **by_id;
	struct pollfd *polled;
	size_t count, room, ids, plain, blocked;
	int over;
	unsigned int answers;
	struct ukl_client *answered[UKL_ANSWERS];
	unsigned int wanted[UKL_ANSWERS];
	struct ukl_answer answer[UKL_ANSWERS];
	struct ukl_piece piece[UKL_PIECES];
	size_t used;
	char bytes[UKL_KEPT_MAX];
};

__attribute__((unused))
static void ukl_end_(struct ukl_client *client, int how)
{
	if (client->over != UKL_GONE)
		client->over = how;
	client->server->over = 1;
}

/* Keeps what the socket's buffer has no room for. */
__attribute__((unused))
static void ukl_keep_(struct ukl_client *client, const char *bytes, size_t length)
{
	char *unsent = client->unsent_length + length > UKL_UNSENT_MAX ? NULL :
		       (char *)realloc(client->unsent, client->unsent_length + length);

	if (!unsent) {
		ukl_end_(client, UKL_GONE);
		return;
	}
	memcpy(unsent + client->unsent_length, bytes, length);
	if (!client->unsent_length)
		client->server->blocked++;
	client->unsent = unsent;
	client->unsent_length += length;
}

/* Sends what was kept, as far as there is room by now. */
__attribute__((unused))
static void ukl_push_(struct ukl_client *client)
{
	ssize_t n = send(client->fd, client->unsent, client->unsent_length, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		ukl_end_(client, UKL_GONE);
	if (n <= 0)
		return;
	client->unsent_length -= n;
	memmove(client->unsent, client->unsent + n, client->unsent_length);
	if (client->unsent_length)
		return;
	client->server->blocked--;
	if (client->over)
		client->server->over = 1;
}

/* Gives the kernel what there is to answer, and takes pieces if that is wanted. */
__attribute__((unused))
static int ukl_turn_(struct ukl_server_ *server, struct ukl_piece *pieces)
{
	unsigned int i, count = server->answers;
	long n = -1;

	errno = ENOSYS;
	if (server->fd >= 0)
		n = ukl_call("ukl_upcall_turn", server->fd, server->answer, count, pieces);
	server->answers = 0;
	server->used = 0;
	if (n < 0 && errno != ENOSYS)
		return -1;
	for (i = 0; i < count; i++) {
		struct ukl_client *client = server->answered[i];
		/* Not this time: by the ordinary call. */
		size_t sent = n < 0 ? 0 : server->answer[i].length;

		if (sent == server->wanted[i] || client->over == UKL_GONE)
			continue;
		ukl_keep_(client, (const char *)server->answer[i].bytes + sent, server->wanted[i] - sent);
	}
	if (n < 0)
		errno = ENOSYS;
	return n;
}

/*
 * Sends bytes, a copy of them, once the handler has returned.  A client that leaves
 * too much unread is dropped.
 */
__attribute__((unused))
static void ukl_reply(struct ukl_client *client, const void *bytes, size_t length)
{
	struct ukl_server_ *server = client->server;
	const char *from = (const char *)bytes;
	size_t n;

	for (; length && !client->over; from += n, length -= n) {
		if (server->answers == UKL_ANSWERS || server->used == sizeof(server->bytes))
			ukl_turn_(server, NULL);
		/* Nothing overtakes what is left of the last answer. */
		if (client->unsent_length) {
			ukl_keep_(client, from, length);
			return;
		}
		n = sizeof(server->bytes) - server->used;
		if (n > length)
			n = length;
		memcpy(server->bytes + server->used, from, n);
		server->answered[server->answers] = client;
		server->wanted[server->answers] = n;
		server->answer[server->answers].bytes = server->bytes + server->used;
		server->answer[server->answers].length = n;
		server->answer[server->answers++].id = client->id;
		server->used += n;
	}
}

/* Calls the handler until it wants more; returns how much it has dealt with. */
__attribute__((unused))
static size_t ukl_handle_(struct ukl_client *client, const char *bytes, size_t length)
{
	size_t at = 0;
	ssize_t taken = 1;

	while (at < length && taken > 0 && !client->over) {
		taken = client->server->handler(client, bytes + at, length - at);
		if (taken > 0)
			at += taken;
	}
	if (taken < 0)
		ukl_end_(client, UKL_CLOSING);
	return at;
}

/* Adds to what is kept as much as there is room for, and returns how much that was. */
__attribute__((unused))
static size_t ukl_fill_(struct ukl_client *client, const char *bytes, size_t length)
{
	size_t n = UKL_KEPT_MAX - client->kept_length;

	if (n > length)
		n = length;
	if (!client->kept)
		client->kept = (char *)malloc(UKL_KEPT_MAX);
	/* The handler takes nothing of as much as there may be. */
	if (!client->kept || !n) {
		ukl_end_(client, UKL_GONE);
		return length;
	}
	memcpy(client->kept + client->kept_length, bytes, n);
	client->kept_length += n;
	return n;
}

/* Hands on what came, behind what was kept of before, and keeps what is left. */
__attribute__((unused))
static void ukl_feed_(struct ukl_client *client, const char *bytes, size_t length)
{
	size_t n;

	while (length && !client->over) {
		if (!client->kept_length) {
			n = ukl_handle_(client, bytes, length);
			bytes += n;
			length -= n;
			if (!length || client->over)
				break;
		}
		n = ukl_fill_(client, bytes, length);
		bytes += n;
		length -= n;
		n = client->over ? 0 : ukl_handle_(client, client->kept, client->kept_length);
		client->kept_length -= n;
		memmove(client->kept, client->kept + n, client->kept_length);
	}
	if (!client->kept_length) {
		free(client->kept);
		client->kept = NULL;
	}
}

__attribute__((unused))
static void ukl_leave_(struct ukl_server_ *server, size_t i)
{
	struct ukl_client *client = server->clients[i];

	server->handler(client, NULL, 0);
	if (client->id) {
		/* Not this time: the kernel half keeps the connection, which is to end. */
		if (ukl_call("ukl_upcall_drop", server->fd, client->id))
			shutdown(client->fd, SHUT_RDWR);
		server->by_id[client->id] = NULL;
	} else {
		server->plain--;
	}
	close(client->fd);
	server->blocked -= client->unsent_length > 0;
	free(client->unsent);
	free(client->kept);
	free(client);
	server->clients[i] = server->clients[--server->count];
}

/* Room for one more client, and for its number. */
__attribute__((unused))
static int ukl_room_(struct ukl_server_ *server, unsigned int id)
{
	size_t room = server->room ? server->room * 2 : 64;

	if (server->count == server->room) {
		void *clients = realloc(server->clients, room * sizeof(*server->clients));
		void *polled;

		if (!clients)
			return -1;
		server->clients = (struct ukl_client **)clients;
		polled = realloc(server->polled, (room + 2) * sizeof(*server->polled));
		if (!polled)
			return -1;
		server->polled = (struct pollfd *)polled;
		server->room = room;
	}
	if (id >= server->ids) {
		void *by_id = realloc(server->by_id, (id + 64) * sizeof(*server->by_id));

		if (!by_id)
			return -1;
		server->by_id = (struct ukl_client **)by_id;
		server->ids = id + 64;
	}
	return 0;
}

__attribute__((unused))
static void ukl_greet_(struct ukl_server_ *server)
{
	int on = 1, fd = accept(server->listener, NULL, NULL);
	struct ukl_client *client;
	long id;

	if (fd < 0)
		return;
	id = server->fd < 0 ? 0 : ukl_call("ukl_upcall_add", server->fd, fd);
	client = (struct ukl_client *)calloc(1, sizeof(*client));
	if (!client || ukl_room_(server, id < 0 ? 0 : id)) {
		if (id > 0)
			ukl_call("ukl_upcall_drop", server->fd, id);
		free(client);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	client->fd = fd;
	client->id = id < 0 ? 0 : id;
	client->server = server;
	if (client->id)
		server->by_id[client->id] = client;
	else
		server->plain++;
	server->clients[server->count++] = client;
}

/* A client without the kernel half. */
__attribute__((unused))
static void ukl_read_(struct ukl_client *client)
{
	char bytes[16384];
	ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		ukl_feed_(client, bytes, n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		ukl_end_(client, n ? UKL_GONE : UKL_CLOSING);
}

/* What the kernel half has. Returns how much that was, -1 if it is not there now. */
__attribute__((unused))
static int ukl_take_(struct ukl_server_ *server)
{
	int i, n = ukl_turn_(server, server->piece);

	for (i = 0; i < n; i++) {
		struct ukl_client *client = server->by_id[server->piece[i].id];

		if (!client || client->over)
			continue;
		if (server->piece[i].length)
			ukl_feed_(client, (const char *)server->piece[i].bytes, server->piece[i].length);
		else
			ukl_end_(client, UKL_CLOSING);
	}
	return n;
}

/* Waits for clients and for what they send, and reads what is not the kernel half's. */
__attribute__((unused))
static int ukl_wait_(struct ukl_server_ *server, int all, int timeout)
{
	size_t i, count = all || server->plain || server->blocked ? server->count : 0;

	server->polled[0].fd = server->listener;
	server->polled[1].fd = all ? -1 : server->fd;
	server->polled[0].events = server->polled[1].events = POLLIN;
	for (i = 0; i < count; i++) {
		struct ukl_client *client = server->clients[i];
		/* What is not asked for cannot wake us: the end of a client that is over is known. */
		int read = !client->over && (all || !client->id);

		server->polled[2 + i].fd = read || client->unsent_length ? client->fd : -1;
		server->polled[2 + i].events = (read ? POLLIN : 0) | (client->unsent_length ? POLLOUT : 0);
	}
	if (poll(server->polled, 2 + count, timeout) < 0)
		return errno == EINTR ? 0 : -1;
	for (i = 0; i < count; i++)
		if (server->polled[2 + i].fd >= 0 && server->polled[2 + i].revents & (POLLIN | POLLHUP | POLLERR))
			ukl_read_(server->clients[i]);
	if (server->polled[0].revents)
		ukl_greet_(server);
	return 0;
}

/* What is left to be sent goes before the connection does. */
__attribute__((unused))
static void ukl_sweep_(struct ukl_server_ *server)
{
	size_t i;

	while (server->over) {
		server->over = 0;
		ukl_turn_(server, NULL);
		for (i = server->count; i-- > 0;)
			if (server->clients[i]->over == UKL_GONE ||
			    (server->clients[i]->over && !server->clients[i]->unsent_length))
				ukl_leave_(server, i);
	}
}

/*
 * Serves the clients of a listening TCP socket by a handler, for ever.  Returns -1
 * and errno if it cannot go on.
 */
__attribute__((unused))
static int ukl_serve(int listener, ukl_handler *handler)
{
	struct ukl_server_ *server = (struct ukl_server_ *)calloc(1, sizeof(*server));
	unsigned int turns = 0;
	size_t i;
	int n;

	/* A client may be gone before it is accepted. */
	if (!server || ukl_room_(server, 0) ||
	    fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK))
		return -1;
	server->handler = handler;
	server->listener = listener;
	server->fd = ukl_call("ukl_upcall_open");
	for (;;) {
		n = ukl_take_(server);
		if (n < 0 && errno != ENOSYS)
			return -1;
		for (i = 0; server->blocked && i < server->count; i++)
			if (server->clients[i]->unsent_length)
				ukl_push_(server->clients[i]);
		ukl_sweep_(server);
		/* Who keeps us busy does not keep others out. */
		if ((n <= 0 || ++turns % 16 == 0) && ukl_wait_(server, n < 0, n > 0 ? 0 : -1))
			return -1;
	}
}

#endif /* __KERNEL__ */
#endif /* _UKL_UPCALL_H */
