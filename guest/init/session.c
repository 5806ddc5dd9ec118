// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program beside the image's own: in ring 3, as init gave CAP_SYS_RAWIO up for
 * itself and all its children.
 *
 * A session is a process between a port, which the host made for it, and the
 * program's streams.  On the port go frames: a letter, a length of four bytes
 * (little-endian) and as many bytes; src/guest/frames.ts says which.
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

enum { INPUT, OUTPUT, ERROR, NSTREAMS };

static struct session {
	int port;
	int streams[NSTREAMS];	/* our ends, -1 once closed */
	bool terminal;		/* INPUT and OUTPUT are one file */
	pid_t pid;
	int pidfd;
	/* The frame that comes: its head and its bytes so far, and how much of them went on. */
	size_t have, given;
	char frame[HEAD + FRAME_MAX];
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

static void send_frame(char type, const void *data, uint32_t size)
{
	static char out[HEAD + FRAME_MAX];
	uint32_t length = htole32(size);

	out[0] = type;
	memcpy(out + 1, &length, sizeof(length));
	memcpy(out + HEAD, data, size);
	write_all(session.port, out, HEAD + size);
}

static void __attribute__((noreturn)) end_session(const char *word, int number)
{
	char text[32];

	snprintf(text, sizeof(text), "%s %d", word, number);
	send_frame('x', text, strlen(text));
	_exit(0);
}

/* Who asked is gone, as from a terminal. */
static void __attribute__((noreturn)) hang_up(void)
{
	if (session.pid > 0)
		kill(-session.pid, SIGHUP);
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
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			hang_up();
		}
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

/* Whether all of the frame's input has been taken. */
static bool give_input(void)
{
	const char *data = session.frame + HEAD + session.given;
	size_t left = frame_length() - session.given;
	int fd = session.streams[INPUT];
	long n;

	if (frame_length() == 0) {
		/* A terminal's end of file is a character (VEOF). */
		if (session.terminal)
			write_all(fd, "\004", 1);
		else
			close_stream(INPUT);
		return true;
	}
	n = fd < 0 ? (long)left : write(fd, data, left);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		if (!session.terminal)
			close_stream(INPUT);
		return true;
	}
	session.given += n > 0 ? n : 0;
	return session.given == frame_length();
}

static void resize_session(const char *size)
{
	uint16_t numbers[2];

	memcpy(numbers, size, sizeof(numbers));
	set_window(session.streams[INPUT], le16toh(numbers[0]), le16toh(numbers[1]));
}

static bool obey_frame(void)
{
	switch (session.frame[0]) {
	case 'i':
		return give_input();
	case 'k':
		if (frame_length() == 1)
			kill(-session.pid, session.frame[HEAD]);
		return true;
	case 'w':
		if (frame_length() == 4 && session.terminal)
			resize_session(session.frame + HEAD);
		return true;
	default:
		return true;
	}
}

static void next_frame(void)
{
	session.have = session.given = 0;
}

/* Passes on what there is; the stream is closed at its end. */
static bool pass_output(int number)
{
	static char data[FRAME_MAX];
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
		while (session.streams[number] >= 0 && pass_output(number))
			;
	}
	if (WIFSIGNALED(status))
		end_session("signal", WTERMSIG(status));
	end_session("exit", WEXITSTATUS(status));
}

static void __attribute__((noreturn)) relay_session(void)
{
	enum { PORT = NSTREAMS, END, NFDS };
	struct pollfd fds[NFDS];
	bool whole = false;
	int i;

	for (;;) {
		for (i = 0; i < NSTREAMS; i++)
			fds[i] = (struct pollfd) { .fd = session.streams[i], .events = POLLIN };
		fds[INPUT].events = POLLOUT;
		if (!whole)
			fds[INPUT].fd = -1;
		/* Who hangs up is heard while the program does not read. */
		fds[PORT] = (struct pollfd) { .fd = session.port, .events = whole ? 0 : POLLIN };
		fds[END] = (struct pollfd) { .fd = session.pidfd, .events = POLLIN };
		if (poll(fds, NFDS, -1) < 0)
			continue;
		if (whole && fds[PORT].revents)
			hang_up();
		if (fds[PORT].revents)
			whole = read_frame();
		if (whole && obey_frame()) {
			next_frame();
			whole = false;
		}
		for (i = OUTPUT; i <= ERROR; i++)
			if (fds[i].revents)
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

static void __attribute__((noreturn)) run_session(const struct spec *base, int port)
{
	static struct spec spec;
	int theirs[NSTREAMS];

	signal(SIGPIPE, SIG_IGN);
	session.port = open_input_port(port);
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

/* A process of its own: what hangs there does not hang init. */
void start_session(const struct spec *base, int port)
{
	if (fork() == 0)
		run_session(base, port);
}
