// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest, in ring 3: sets the machine up as the spec says, runs the
 * program, carries its standard streams and tells the host how it ended.
 *
 * The spec comes from the host, or else from /.ukl/spec (see protocol.c).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init.h"

static size_t load_spec(char *words, size_t size)
{
	int fd = open("/.ukl/spec", O_RDONLY);
	size_t length = 0;
	long n;

	while ((n = read(fd, words + length, size - length)) > 0)
		length += n;
	if (fd < 0 || n < 0 || !length)
		fail("/.ukl/spec");
	close(fd);
	return length;
}

static void read_spec(struct spec *spec)
{
	static char words[1 << 18];
	size_t length = 0;

	if (have_host() && !receive_spec(words, sizeof(words), &length))
		fail("spec");
	if (!length)
		length = load_spec(words, sizeof(words));
	if (!parse_spec(words, length, spec))
		fail("spec");
}

static void obey(const struct message *message, const struct spec *spec)
{
	switch (message->type) {
	case MESSAGE_SIGNAL:
		signal_program(message->number);
		break;
	case MESSAGE_KMSG:
		tell_kernel_log();
		break;
	case MESSAGE_PROC:
		tell_about_program(message->name);
		break;
	case MESSAGE_SAVE:
		be_saved();
		break;
	case MESSAGE_GO:
		let_go();
		break;
	case MESSAGE_EXEC:
		start_session(spec, message->number);
		break;
	case MESSAGE_WINDOW:
		resize_program(message->number);
		break;
	case MESSAGE_TIME:	/* the machine stood still */
		take_time(message->number);
		tell_timed();
		break;
	case MESSAGE_RESUME:	/* only who was saved is told */
	case MESSAGE_UNKNOWN:
		break;
	}
}

static void read_messages(const struct spec *spec)
{
	struct message message;
	char data[64];
	long n = read(control, data, sizeof(data)), i;

	for (i = 0; i < n; i++)
		if (decode(data[i], &message))
			obey(&message, spec);
}

/* Reaps everyone; true, with the status, once the program itself has ended. */
static bool reap(int *status)
{
	bool ended = false;
	int st;
	pid_t pid;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid == program) {
			*status = st;
			ended = true;
		} else {
			end_of_session(pid, st);
		}
	}
	return ended;
}

static int attend(int signals, const struct spec *spec)
{
	enum { SIGNALS = NRELAYS, MESSAGES, SERVICES, NFDS = SERVICES + MAX_SERVICES };
	struct pollfd fds[NFDS];
	struct signalfd_siginfo info;
	bool ended = false;
	int status = 0, services;

	while (!ended || relaying(RELAY_STDOUT) || relaying(RELAY_STDERR)) {
		fill_relay_polls(fds);
		fds[SIGNALS] = (struct pollfd) { .fd = signals, .events = POLLIN };
		fds[MESSAGES] = (struct pollfd) { .fd = control, .events = POLLIN };
		services = fill_service_polls(fds + SERVICES);
		if (poll(fds, SERVICES + services, service_wait_ms()) < 0)
			continue;

		step_relays(fds);
		if (fds[MESSAGES].revents & POLLIN)
			read_messages(spec);
		step_services(fds + SERVICES, services);
		if (fds[SIGNALS].revents) {
			while (read(signals, &info, sizeof(info)) > 0)
				if (info.ssi_signo == SIGTERM)
					end_program();
			if (!ended && reap(&status)) {
				ended = true;
				/* Who still holds a pipe would keep us here. */
				kill(-1, SIGKILL);
				end_relay(RELAY_STDIN);
			} else {
				reap(&status);
			}
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	static struct spec spec;
	sigset_t all, some;
	int signals, status;

	if (getpid() != 1)
		return run_tool(argc, argv);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	mount_devices();
	try_update();
	make_root_writable();
	choose_transport();
	control = open_input(CONTROL);
	mount_kernel_files();

	sigemptyset(&some);
	sigaddset(&some, SIGCHLD);
	sigaddset(&some, SIGTERM);
	signals = signalfd(-1, &some, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0)
		fail("signalfd");

	read_spec(&spec);
	if (!have_host())
		override_network(&spec.network);
	if (spec.hostname)
		sethostname(spec.hostname, strlen(spec.hostname));
	write_aliases(&spec);
	if (spec.clock)
		set_clock();
	mount_all(&spec);
	load_modules();			/* the network's device may need one */
	if (!have_host())
		read_seed(&spec);
	set_up_network(&spec.network);
	mount_remotes(&spec);
	if (!have_host()) {
		read_metadata(&spec);
		announce(&spec);
	}
	keep_stage();
	forbid_kernels();
	confine_helpers();
	keep_quiet();
	offer_snapshots();
	arm_watchdog(spec.watchdog);
	start_program(&spec);
	begin_trial();
	status = attend(signals, &spec);

	if (!have_host()) {
		/* The program's last line may have no end. */
		say("\ninit: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	} else if (WIFSIGNALED(status)) {
		tell_kernel_log();
		tell_signal(WTERMSIG(status));
	} else {
		tell_exit(WEXITSTATUS(status));
	}
	finish();
}
