/* SPDX-License-Identifier: MIT */
/*
 * A function in C, NAME.function.c (docs/functions.md):
 *
 *	#include <ukl-function.h>
 *
 *	static void hello(struct ukl_request *request)
 *	{
 *		ukl_respond(request, 200, "text/plain", "hi\n", 3);
 *	}
 *
 *	UKL_FUNCTION(hello)
 *
 * It is a server that is a handler (<ukl-upcall.h>), behind the gateway of
 * `ukl functions`: what it reads is HTTP/1.1 with lengths, and nothing in chunks.
 */
#ifndef _UKL_FUNCTION_H
#define _UKL_FUNCTION_H

/* For memmem(): include this before others. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <strings.h>
#include <ukl-upcall.h>

/* src/runtimes/functions.ts has both, too. */
#define UKL_FUNCTION_PORT	8080
#define UKL_WARM_PATH		"/.ukl/warm"

#define UKL_HEAD_MAX	65536
#define UKL_BODY_MAX	(64 << 20)
#define UKL_FIELDS_MAX	128

/* What a request has, until its function returns. */
struct ukl_request {
	const char *method, *target;		/* "GET", "/hello?to=you" */
	const char *body;
	size_t length;
	/* The rest is the server's. */
	struct { const char *name, *value; } field[UKL_FIELDS_MAX];
	size_t fields;
	struct ukl_client *client;
	int answered;
};

typedef void ukl_function(struct ukl_request *request);

/* Made by UKL_FUNCTION(). */
extern ukl_function *const ukl_function_;

/* What came of a request that is not complete yet. */
struct ukl_coming_ {
	size_t length, room;
	char bytes[];
};

/* A header's value, or NULL. */
__attribute__((unused))
static const char *ukl_header(const struct ukl_request *request, const char *name)
{
	size_t i;

	for (i = 0; i < request->fields; i++)
		if (!strcasecmp(request->field[i].name, name))
			return request->field[i].value;
	return NULL;
}

/* Answers, once: the bytes are copied, and there may be a megabyte of them. */
__attribute__((unused))
static void ukl_respond(struct ukl_request *request, int status, const char *type, const void *bytes, size_t length)
{
	char head[512];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %d \r\ncontent-type: %.256s\r\ncontent-length: %zu\r\n\r\n",
			 status, type, length);

	if (request->answered++)
		return;
	ukl_reply(request->client, head, n);
	if (strcmp(request->method, "HEAD"))
		ukl_reply(request->client, bytes, length);
}

/* Cuts a line off, and returns what is behind it; NULL if it has no end. */
__attribute__((unused))
static char *ukl_line_(char *at, char *end)
{
	char *found = (char *)memchr(at, '\n', end - at);

	if (!found || found == at || found[-1] != '\r')
		return NULL;
	found[-1] = 0;
	return found + 1;
}

/* Reads a header in place; false if it is none. */
__attribute__((unused))
static int ukl_field_(struct ukl_request *request, char *at)
{
	char *colon = strchr(at, ':'), *end = at + strlen(at);

	/* A blank before the colon: other servers know another name (RFC 9112, 5.1). */
	if (!colon || colon == at || at + strcspn(at, " \t") < colon)
		return 0;
	while (end[-1] == ' ' || end[-1] == '\t')
		*--end = 0;
	*colon = 0;
	request->field[request->fields].name = at;
	request->field[request->fields++].value = colon + 1 + strspn(colon + 1, " \t");
	return 1;
}

/* Takes the length of the body; returns 0, or the status that says what is wrong with it. */
__attribute__((unused))
static int ukl_length_(struct ukl_request *request)
{
	const char *length = ukl_header(request, "content-length");
	size_t i, n = 0;

	for (i = 0; i < request->fields; i++)
		n += !strcasecmp(request->field[i].name, "content-length");
	if (ukl_header(request, "transfer-encoding"))
		return 501;
	if (n > 1 || (length && (!*length || length[strspn(length, "0123456789")])))
		return 400;
	request->length = length ? strtoul(length, NULL, 10) : 0;
	return request->length > UKL_BODY_MAX ? 413 : 0;
}

/* Reads a head in place; returns 0, or the status that says what is wrong with it. */
__attribute__((unused))
static int ukl_parse_(struct ukl_request *request, char *at, char *end)
{
	char *next = ukl_line_(at, end);
	char *target = next ? strchr(at, ' ') : NULL, *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version || strncmp(version, " HTTP/1.", 8))
		return 400;
	*target = *version = 0;
	request->method = at;
	request->target = target + 1;
	for (at = next; (next = ukl_line_(at, end)) && *at; at = next) {
		if (request->fields == UKL_FIELDS_MAX)
			return 431;
		if (!ukl_field_(request, at))
			return 400;
	}
	return next ? ukl_length_(request) : 400;
}

/* Answers the first request of what came; returns its bytes, 0 if it is not complete, -1 to end the connection. */
__attribute__((unused))
static ssize_t ukl_one_(struct ukl_client *client, struct ukl_coming_ *coming)
{
	char *end = (char *)memmem(coming->bytes, coming->length, "\r\n\r\n", 4);
	struct ukl_request request = { .method = "GET", .target = "", .client = client };
	char *head;
	size_t n;
	int wrong;

	if (!end)
		return coming->length > UKL_HEAD_MAX ? -1 : 0;
	n = end + 4 - coming->bytes;
	/* A copy: it is read again when more has come. */
	head = (char *)malloc(n);
	if (!head)
		return -1;
	memcpy(head, coming->bytes, n);
	wrong = ukl_parse_(&request, head, head + n);
	if (!wrong && coming->length - n < request.length) {
		free(head);
		return 0;
	}
	request.body = coming->bytes + n;
	if (wrong)
		ukl_respond(&request, wrong, "text/plain", "", 0);
	else if (!strcmp(request.target, UKL_WARM_PATH))
		ukl_respond(&request, 200, "text/plain", "", 0);
	else
		ukl_function_(&request);
	if (!request.answered)
		ukl_respond(&request, 500, "text/plain", "the function gave no answer\n", 28);
	free(head);
	return wrong ? -1 : (ssize_t)(n + request.length);
}

/* Keeps what comes until a request is complete: a body may be larger than what is kept for us. */
__attribute__((unused))
static ssize_t ukl_take_request_(struct ukl_client *client, const char *bytes, size_t length)
{
	struct ukl_coming_ *coming = (struct ukl_coming_ *)client->data;
	size_t room = coming ? coming->room : 0, had = coming ? coming->length : 0;
	ssize_t n;

	if (!bytes) {
		free(coming);
		return 0;
	}
	if (had + length > room) {
		room = (had + length) * 2;
		coming = room > 2 * (size_t)(UKL_HEAD_MAX + UKL_BODY_MAX) ? NULL :
			 (struct ukl_coming_ *)realloc(coming, sizeof(*coming) + room);
		if (!coming)
			return -1;
		coming->room = room;
		client->data = coming;
	}
	memcpy(coming->bytes + had, bytes, length);
	coming->length = had + length;
	while ((n = ukl_one_(client, coming)) > 0) {
		coming->length -= n;
		memmove(coming->bytes, coming->bytes + n, coming->length);
	}
	return n < 0 ? -1 : (ssize_t)length;
}

/* Has the guest saved here (docs/snapshots.md), and takes the clone's own variables. */
__attribute__((unused))
static void ukl_be_saved_(void)
{
	int go = open("/.ukl/go", O_RDONLY | O_CLOEXEC), ready = open("/.ukl/ready", O_WRONLY | O_CLOEXEC);
	static char words[1 << 18];
	char *at = words, *end;
	FILE *file;
	char byte;

	if (go < 0 || ready < 0 || write(ready, "\n", 1) != 1)
		return;
	while (read(go, &byte, 1) < 0 && errno == EINTR)
		;
	close(go);
	close(ready);
	file = fopen("/.ukl/instance", "r");
	if (!file)
		return;
	end = words + fread(words, 1, sizeof(words) - 1, file);
	fclose(file);
	/* "env", and NAME=value. */
	while (at < end) {
		char *value = at + strlen(at) + 1;

		if (value < end && !strcmp(at, "env"))
			putenv(value);
		at = value < end ? value + strlen(value) + 1 : end;
	}
}

__attribute__((unused))
static int ukl_serve_function_(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, SOMAXCONN)) {
		perror("listen");
		return 1;
	}
	ukl_be_saved_();
	ukl_serve(fd, ukl_take_request_);
	perror("serve");
	return 1;
}

#define UKL_FUNCTION(function)					\
	ukl_function *const ukl_function_ = (function);		\
	int main(int argc, char **argv)				\
	{							\
		return ukl_serve_function_(argc > 1 ? atoi(argv[1]) : UKL_FUNCTION_PORT); \
	}

#endif /* _UKL_FUNCTION_H */
