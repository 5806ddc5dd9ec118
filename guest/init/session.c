// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program beside the image's own: in ring 3, as init gave CAP_SYS_RAWIO up for
 * itself and all its children.
 *
 * A session is a process between a port, which the host made for it, and the
 * program's streams.  On the port go frames: a letter, a length of four bytes
 * (little-endian) and as many bytes; src/guest/frames.ts says which.
 *
 * Frames are read as they come, whether the program reads its input or not: the host
 * sends no more of that than we have room for.  Nor does what the program prints
 * hold them up, where the host does not read it.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init.h"

#define HEAD		5
#define FRAME_MAX	65536
#define ROOM		65536

/* The driver takes as much at once, or nothing (port_fops_write()): who dies leaves no half of a frame. */
#define OUTPUT_MAX	(32768 - HEAD)

enum { INPUT, OUTPUT, ERROR, NSTREAMS };

static struct session {
	int port;
	int streams[NSTREAMS];	/* our ends, -1 once closed */
	bool terminal;		/* INPUT and OUTPUT are one file */
	pid_t pid;
	int pidfd;
	/* The frame that comes: its head and its bytes so far. */
	size_t have;
	char frame[HEAD + FRAME_MAX];
	/* The frame that goes, and how much of it has gone. */
	size_t size, sent;
	char out[HEAD + OUTPUT_MAX];
	/* Input that waits for the program, and a terminal's end of file. */
	size_t waiting;
	char input[ROOM + 1];
	bool ended;		/* no more comes */
	uint32_t room;		/* that the host has not been told of */
} session;

static uint32_t frame_length(void)
{
	uint32_t length;

	memcpy(&length, session.frame + 1, sizeof(length));
	return le32toh(length);
}

static void write_all(int fd, const char *data, size_t size)
{
	long n;

	while (size > 0) {
		n = write(fd, data, size);
		/* The host reads when it likes. */
		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd) { .fd = fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			size -= n;
		}
	}
}

static bool sending(void)
{
	return session.sent < session.size;
}

/* As much of the frame as the host takes now. */
static void push_frame(void)
{
	long n = write(session.port, session.out + session.sent, session.size - session.sent);

	session.sent += n > 0 ? n : 0;
}

/* Begins a frame, once the last one has gone. */
static void send_frame(char type, const void *data, uint32_t size)
{
	uint32_t length = htole32(size);

	session.out[0] = type;
	memcpy(session.out + 1, &length, sizeof(length));
	memcpy(session.out + HEAD, data, size);
	session.size = HEAD + size;
	session.sent = 0;
	push_frame();
}

static void finish_frame(void)
{
	write_all(session.port, session.out + session.sent, session.size - session.sent);
	session.sent = session.size;
}

static void __attribute__((noreturn)) end_session(const char *word, int number)
{
	char text[32];

	snprintf(text, sizeof(text), "%s %d", word, number);
	finish_frame();
	send_frame('x', text, strlen(text));
	finish_frame();
	_exit(0);
}

/* To the program and all that it has started; it may be about to get its session, see exec_session(). */
static void signal_session(int number)
{
	if (session.pid > 0 && kill(-session.pid, number))
		kill(session.pid, number);
}

/* Who asked is gone, as from a terminal. */
static void __attribute__((noreturn)) hang_up(void)
{
	signal_session(SIGHUP);
	_exit(0);
}

/* True if the frame is whole; false if there is more to come; ends with the host. */
static bool read_frame(void)
{
	size_t want = session.have < HEAD ? HEAD : HEAD + frame_length();
	long n;

	if (session.have >= HEAD && frame_length() > FRAME_MAX)
		_exit(1);
	if (session.have < want) {
		n = read(session.port, session.frame + session.have, want - session.have);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			hang_up();
		session.have += n > 0 ? n : 0;
	}
	return session.have >= HEAD && session.have == HEAD + frame_length();
}

static void close_stream(int number)
{
	if (session.streams[number] >= 0)
		close(session.streams[number]);
	session.streams[number] = -1;
}

/* The first bytes of what waits are gone, and the host may send as many. */
static void drop_input(size_t size)
{
	session.waiting -= size;
	memmove(session.input, session.input + size, session.waiting);
	session.room += size;
}

/* As much as the program takes now.  Who does not read any more has taken all. */
static void give_input(void)
{
	int fd = session.streams[INPUT];
	long n = 0;

	if (session.waiting > 0)
		n = fd < 0 ? (long)session.waiting : write(fd, session.input, session.waiting);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		if (!session.terminal)
			close_stream(INPUT);
		n = session.waiting;
	}
	if (n > 0)
		drop_input(n);
	if (session.ended && session.waiting == 0 && !session.terminal)
		close_stream(INPUT);
}

static void take_input(const char *data, size_t size)
{
	if (session.ended)
		return;
	if (size > ROOM - session.waiting)
		hang_up();
	memcpy(session.input + session.waiting, data, size);
	session.waiting += size;
	if (size > 0)
		return;
	session.ended = true;
	/* A terminal's end of file is a character (VEOF). */
	if (session.terminal)
		session.input[session.waiting++] = 4;
}

static void resize_session(const char *size)
{
	uint16_t numbers[2];

	memcpy(numbers, size, sizeof(numbers));
	set_window(session.streams[INPUT], le16toh(numbers[0]), le16toh(numbers[1]));
}

static void obey_frame(void)
{
	switch (session.frame[0]) {
	case 'i':
		take_input(session.frame + HEAD, frame_length());
		break;
	case 'k':
		if (frame_length() == 1)
			signal_session(session.frame[HEAD]);
		break;
	case 'w':
		if (frame_length() == 4 && session.terminal)
			resize_session(session.frame + HEAD);
		break;
	}
}

static void next_frame(void)
{
	session.have = 0;
}

/* Takes what there is, once the last frame has gone; the stream is closed at its end. */
static bool pass_output(int number)
{
	static char data[OUTPUT_MAX];
	long n = read(session.streams[number], data, sizeof(data));

	if (n > 0)
		send_frame(number == OUTPUT ? 'o' : 'e', data, n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_stream(number);
	return n > 0;
}

static void __attribute__((noreturn)) conclude(void)
{
	int status = 0, number;

	waitpid(session.pid, &status, 0);
	/* What it left behind may hold the pipes for ever: only what is in them now. */
	for (number = OUTPUT; number <= ERROR; number++) {
		do
			finish_frame();
		while (session.streams[number] >= 0 && pass_output(number));
	}
	if (WIFSIGNALED(status))
		end_session("signal", WTERMSIG(status));
	end_session("exit", WEXITSTATUS(status));
}

static void tell_room(void)
{
	uint32_t room = htole32(session.room);

	send_frame('r', &room, sizeof(room));
	session.room = 0;
}

static void __attribute__((noreturn)) relay_session(void)
{
	enum { PORT = NSTREAMS, END, NFDS };
	struct pollfd fds[NFDS];
	int i;

	session.room = ROOM;
	for (;;) {
		if (!sending() && session.room > 0)
			tell_room();
		for (i = 0; i < NSTREAMS; i++)
			fds[i] = (struct pollfd) { .fd = sending() ? -1 : session.streams[i], .events = POLLIN };
		fds[INPUT] = (struct pollfd) { .fd = session.streams[INPUT], .events = POLLOUT };
		if (session.waiting == 0)
			fds[INPUT].fd = -1;
		fds[PORT] = (struct pollfd) { .fd = session.port, .events = sending() ? POLLIN | POLLOUT : POLLIN };
		fds[END] = (struct pollfd) { .fd = session.pidfd, .events = POLLIN };
		if (poll(fds, NFDS, -1) < 0)
			continue;
		if (fds[PORT].revents & POLLOUT)
			push_frame();
		if (fds[PORT].revents & ~POLLOUT && read_frame()) {
			obey_frame();
			next_frame();
		}
		give_input();
		for (i = OUTPUT; i <= ERROR; i++)
			if (fds[i].revents && !sending())
				pass_output(i);
		if (fds[END].revents)
			conclude();
	}
}

/* The program's ends of its streams. */
static void open_streams(int theirs[NSTREAMS], long window)
{
	int pipes[NSTREAMS][2], i;

	if (window) {
		int ours;

		if (!open_terminal(&ours, &theirs[0]))
			end_session("exit", 126);
		set_window(ours, ROWS(window), COLUMNS(window));
		fcntl(ours, F_SETFL, O_NONBLOCK);
		theirs[1] = theirs[2] = theirs[0];
		session.streams[INPUT] = session.streams[OUTPUT] = ours;
		session.streams[ERROR] = -1;
		return;
	}
	for (i = 0; i < NSTREAMS; i++) {
		if (pipe2(pipes[i], O_CLOEXEC))
			end_session("exit", 126);
		theirs[i] = pipes[i][i == INPUT ? 0 : 1];
		session.streams[i] = pipes[i][i == INPUT ? 1 : 0];
		fcntl(session.streams[i], F_SETFL, O_NONBLOCK);
	}
}

/* Never returns; 127 and 126 are a shell's for what is not there and what cannot run. */
static void __attribute__((noreturn)) exec_session(const struct spec *spec, const int streams[NSTREAMS])
{
	sigset_t none;
	int i, error;

	setsid();
	if (spec->terminal)
		ioctl(streams[0], TIOCSCTTY, 0);
	for (i = 0; i < NSTREAMS; i++)
		dup2(streams[i], i);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	environ = (char **)spec->envs;
	if (spec->has_user && !become_user(&spec->user, false))
		_exit(126);
	if (chdir(spec->cwd) == 0)
		execvp(spec->args[0], spec->args);
	error = errno;
	dprintf(2, "%s: %s\n", spec->args[0], strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

/* The words of the first frame, over what the image's program has. */
static void read_request(struct spec *spec, const struct spec *base)
{
	static char words[FRAME_MAX];
	static struct spec asked;
	int i;

	while (!read_frame())
		;
	memcpy(words, session.frame + HEAD, frame_length());
	if (session.frame[0] != 's' || !parse_spec(words, frame_length(), &asked) || asked.nargs == 0)
		end_session("exit", 125);
	next_frame();
	*spec = asked;
	memcpy(spec->envs, base->envs, sizeof(spec->envs));
	spec->nenvs = base->nenvs;
	for (i = 0; i < asked.nenvs; i++)
		set_variable(spec, asked.envs[i]);
	if (!strcmp(asked.cwd, ""))
		spec->cwd = base->cwd;
}

static void __attribute__((noreturn)) run_session(const struct spec *base, long id)
{
	static struct spec spec;
	int theirs[NSTREAMS];

	signal(SIGPIPE, SIG_IGN);
	session.port = open_session_port(id);
	if (session.port < 0)
		_exit(0);
	read_request(&spec, base);
	session.terminal = spec.terminal;
	open_streams(theirs, spec.terminal);
	session.pid = fork();
	if (session.pid < 0)
		end_session("exit", 126);
	if (session.pid == 0)
		exec_session(&spec, theirs);
	close(theirs[0]);
	if (!spec.terminal) {
		close(theirs[1]);
		close(theirs[2]);
	}
	session.pidfd = syscall(SYS_pidfd_open, session.pid, 0);
	fcntl(session.pidfd, F_SETFD, FD_CLOEXEC);
	fcntl(session.port, F_SETFL, O_NONBLOCK);
	relay_session();
}

/* More than there can be ports. */
static struct {
	pid_t pid;
	long id;
} sessions[32];

#define NSESSIONS	(int)(sizeof(sessions) / sizeof(sessions[0]))

/* A process of its own: what hangs there does not hang init. */
void start_session(const struct spec *base, long id)
{
	pid_t pid = fork();
	int i;

	if (pid == 0)
		run_session(base, id);
	if (pid < 0) {
		tell_lost_session(id, false);
		return;
	}
	for (i = 0; i < NSESSIONS; i++) {
		if (!sessions[i].pid) {
			sessions[i].pid = pid;
			sessions[i].id = id;
			return;
		}
	}
}

/* One that was killed, by the kernel if memory is short, has said nothing. */
void end_of_session(pid_t pid, int status)
{
	int i;

	for (i = 0; i < NSESSIONS; i++) {
		if (sessions[i].pid != pid)
			continue;
		sessions[i].pid = 0;
		if (status)
			tell_lost_session(sessions[i].id, true);
	}
}
