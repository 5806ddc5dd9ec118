// SPDX-License-Identifier: MIT
/*
 * In the guest, in ring 3: runs programs in turn, each with a time limit, and
 * tells the host about each on standard output, line by line:
 *
 *	@begin N		the Nth line of the list, from 0
 *	|TEXT			a line of what it prints, on either stream
 *	@alive			a sign of life, while it prints nothing
 *	@end N WHAT M		how it ended: exit STATUS, signal NUMBER or timeout
 *				LIMIT; after that, what it left behind is gone
 *	@stuck N		something survives SIGKILL: this guest is no good
 *
 * The list is /batch/jobs, a line each with tabs between: the limit in seconds,
 * the working directory, the program and its arguments.  The one argument says
 * with which line to begin: a guest that a program has brought down is started
 * again behind it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS	64
#define MAX_OUTPUT	(1 << 19)
#define ALIVE_MS	2000
#define REAP_MS		30000

static char line[4096];
static size_t length, printed;
static bool silent;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end_line(void)
{
	printed += length + 1;
	if (printed < MAX_OUTPUT)
		printf("|%.*s\n", (int)length, line);
	else if (!silent)
		printf("|(more is not shown)\n");
	silent = printed >= MAX_OUTPUT;
	length = 0;
	fflush(stdout);
}

static void take(const char *data, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (data[i] == '\n' || length == sizeof(line))
			end_line();
		if (data[i] != '\n')
			line[length++] = isprint(data[i]) || data[i] == '\t' ? data[i] : '?';
	}
}

/* Ends our children: init's orphans are not ours, all those of a test are. */
static void kill_children(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[300], stat[512], *end;
	FILE *file;
	int ppid;

	while ((entry = readdir(proc))) {
		if (!isdigit(entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		end = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
		fclose(file);
		if (end && sscanf(end, ") %*c %d", &ppid) == 1 && ppid == getpid())
			kill(atoi(entry->d_name), SIGKILL);
	}
	closedir(proc);
}

/* A child that dies leaves us its own children: until there is none. */
static bool reap_all(void)
{
	long limit = now_ms() + REAP_MS;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, NULL, WNOHANG | __WALL);
		if (pid < 0 && errno == ECHILD)
			return true;
		if (pid > 0)
			continue;
		if (now_ms() > limit)
			return false;
		kill_children();
		usleep(10000);
	}
}

/*
 * A terminal, so that the last lines of a program that dies are not lost in its
 * buffer.  Returns the end that we read.
 */
static int open_terminal(int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios raw;

	if (master < 0 || grantpt(master) || unlockpt(master))
		return -1;
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	if (*slave < 0 || tcgetattr(*slave, &raw))
		return -1;
	cfmakeraw(&raw);
	tcsetattr(*slave, TCSANOW, &raw);
	return master;
}

static void start(char **words, int out)
{
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	/* A test of clone flags or of file limits counts on a clean table. */
	for (out = 3; out < 64; out++)
		close(out);
	signal(SIGPIPE, SIG_DFL);
	if (chdir(words[1]))
		perror(words[1]);
	execvp(words[2], words + 2);
	perror(words[2]);
	_exit(127);
}

/* Returns false if the guest should go. */
static bool run(int number, char **words)
{
	long limit = atol(words[0]), end, alive = now_ms();
	struct pollfd watch = { .events = POLLIN };
	bool over = false;
	char data[4096];
	int status, in, out;
	pid_t pid;
	ssize_t n;

	printf("@begin %d\n", number);
	fflush(stdout);
	length = printed = 0;
	silent = false;
	in = open_terminal(&out);
	if (in < 0) {
		perror("terminal");
		return false;
	}
	end = now_ms() + limit * 1000;
	pid = fork();
	if (!pid)
		start(words, out);
	close(out);
	watch.fd = in;
	while (!over && now_ms() < end) {
		over = waitpid(pid, &status, WNOHANG) == pid;
		poll(&watch, 1, over ? 0 : 50);
		while ((n = read(in, data, sizeof(data))) > 0) {
			take(data, n);
			alive = now_ms();
			if (alive > end)
				break;
		}
		/* Nobody has the other end any more, and the program goes on. */
		if (n < 0 && errno == EIO && !over)
			usleep(20000);
		if (now_ms() - alive > ALIVE_MS) {
			printf("@alive\n");
			fflush(stdout);
			alive = now_ms();
		}
	}
	if (!over)
		kill(pid, SIGKILL);
	if (!reap_all()) {
		printf("@stuck %d\n", number);
		return false;
	}
	while ((n = read(in, data, sizeof(data))) > 0)
		take(data, n);
	if (length)
		end_line();
	close(in);
	if (!over)
		printf("@end %d timeout %ld\n", number, limit);
	else if (WIFSIGNALED(status))
		printf("@end %d signal %d\n", number, WTERMSIG(status));
	else
		printf("@end %d exit %d\n", number, WEXITSTATUS(status));
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	FILE *jobs = fopen("/batch/jobs", "re");
	char text[8192], *words[MAX_ARGS + 1];
	int first = argc > 1 ? atoi(argv[1]) : 0;
	int number, n;

	if (!jobs) {
		perror("/batch/jobs");
		return 1;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	/* Tests of SIGHUP and of sessions aim at all that they can reach. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	for (number = 0; fgets(text, sizeof(text), jobs); number++) {
		text[strcspn(text, "\n")] = 0;
		n = 0;
		for (char *word = strtok(text, "\t"); word && n < MAX_ARGS; word = strtok(NULL, "\t"))
			words[n++] = word;
		words[n] = NULL;
		if (number >= first && n > 2 && !run(number, words))
			return 1;
	}
	return 0;
}
