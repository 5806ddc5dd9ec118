// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest, in ring 3: sets the machine up as the spec says, runs the
 * program, carries its standard streams and tells the host how it ended.
 *
 * With UKL_HOST in the environment, which the kernel takes from its command
 * line, there is a host that talks to us over virtio ports.  Without, the image
 * was started by itself: the streams are the console's.
 *
 * The spec, from the host or else from /.ukl/spec, is a sequence of NUL-terminated words, a key and its value:
 *	exec (file), arg, env, cwd, host (name), net (1), clock (1), disk (serial:path),
 *	volume (tag:path)
 *
 * The control port speaks lines.  To the host:
 *	start			the program is about to be exec'ed
 *	exit N | signal N	the program ended; the last word
 *	fail WHAT: TEXT (errno N)	something could not be done; the last word
 *	kmsg TEXT		a record of the kernel log
 *	clock			what time is it?  Answered by a number
 *	saw TEXT		a line of what was asked for; the last one is empty
 * From the host, after a byte of greeting and the spec with its length: "signal
 * N" for the program, "kmsg" for the log, "look NAME" for the program's file of
 * that name in /proc.
 *
 * Kernel modules in /.ukl/modules are loaded in the order of their names, 0, 1,
 * ...: the image's shortcuts.  After that nobody can load another one.
 *
 * CAP_SYS_RAWIO opens ring 0, and root may trace us.  So we have it up to the
 * program's first instruction, and no longer.
 *
 * What fails before there is a control port, or where there is none, is said on
 * the console, with "init:" in front.
 *
 * The streams pass through pipes, not straight to the ports: a port opens only
 * once, and programs reopen /dev/stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS	4096
#define MAX_MOUNTS	32
#define KMSG_RECORDS	60
/* How long to wait for the host before the console is told. */
#define PATIENCE_MS	10000

struct relay {
	int from, to;
	long at, end;		/* what was read and not yet written */
	char data[1 << 16];
};

enum { STDIN, STDOUT, STDERR, NRELAYS };

static struct relay relays[NRELAYS];
static bool with_host;
static int control = -1;
static pid_t program;
static int program_maps;
static char spec[1 << 18];
static char *args[MAX_WORDS], *envs[MAX_WORDS], *mounts[MAX_MOUNTS];
static int nargs, nenvs, nmounts;

static void tell(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vdprintf(control, format, list);
	va_end(list);
}

static void finish(void)
{
	int i;

	sync();
	for (i = nmounts - 1; i >= 0; i--)
		umount2(mounts[i], 0);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/* On the console, at once: a reset does not wait for what is still to be sent. */
static void say(const char *format, ...)
{
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	va_list list;

	va_start(list, format);
	vdprintf(console, format, list);
	va_end(list);
	tcdrain(console);
	close(console);
}

static void report(const char *what)
{
	int error = errno;

	if (control >= 0)
		tell("fail %s: %s (errno %d)\n", what, strerror(error), error);
	else
		say("init: %s: %s (errno %d)\n", what, strerror(error), error);
}

static void fail(const char *what)
{
	report(what);
	finish();
}

/* Where a stream without a host begins or ends. */
static int open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/console");
	return fd;
}

/* A mount point may hang below directories that nobody made. */
static void make_path(const char *path)
{
	char part[256];
	size_t i;

	for (i = 1; i < sizeof(part) - 1 && path[i - 1]; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		mkdir(part, 0755);
	}
}

static void mount_on(const char *type, const char *source, const char *path,
		     const char *options)
{
	make_path(path);
	if (mount(source, path, type, 0, options))
		fail(path);
}

/* The device's number in /dev/vportDpN depends on its neighbours. */
static int find_port(int number, char *path, size_t size)
{
	DIR *dev = opendir("/dev");
	struct dirent *entry;
	int device, port, found = 0;

	while (!found && (entry = readdir(dev)))
		found = sscanf(entry->d_name, "vport%dp%d", &device, &port) == 2 &&
			port == number;
	if (found)
		snprintf(path, size, "/dev/vport%dp%d", device, port);
	closedir(dev);
	return found;
}

/*
 * The driver learns of the ports from the host, maybe long after we have
 * started.  However slow the two are, one comes: whether the run takes too
 * long is for the host to say.
 */
static int open_port(int number)
{
	/* Never closed: that would wait for grace periods of SRCU, ticks of 4 ms each. */
	static struct pollfd watch = { .fd = -1, .events = POLLIN };
	char path[64], events[4096];
	int fd, patience = PATIENCE_MS;

	if (!with_host)
		return open_console();
	if (watch.fd < 0) {
		watch.fd = inotify_init1(IN_CLOEXEC);
		if (inotify_add_watch(watch.fd, "/dev", IN_CREATE) < 0)
			fail("/dev");
	}
	while (!find_port(number, path, sizeof(path))) {
		if (poll(&watch, 1, patience) == 0) {
			say("init: still waiting for port %d of the host\n", number);
			patience = -1;
		} else if (read(watch.fd, events, sizeof(events)) < 0) {
			fail("/dev");
		}
	}
	/* The device is there a little before the driver knows its port. */
	while ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0 && errno == ENXIO)
		usleep(1000);
	if (fd < 0)
		fail(path);
	return fd;
}

/*
 * Until the driver has heard that the host is there, a read ends like one from
 * a closed port; SIGIO, which is blocked, tells of the change.  The host says
 * one byte first on what we read from, for which a read then waits.
 */
static int open_input_port(int number)
{
	int fd = open_port(number);
	sigset_t io;
	char hello;

	if (!with_host)
		return fd;
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	if (fcntl(fd, F_SETOWN, getpid()) || fcntl(fd, F_SETFL, O_ASYNC))
		fail("SIGIO");
	while (read(fd, &hello, 1) != 1)
		sigwaitinfo(&io, NULL);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

static void set_address(int fd, unsigned long request, struct ifreq *ifr,
			const char *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&ifr->ifr_addr;

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(address);
	if (ioctl(fd, request, ifr))
		fail(ifr->ifr_name);
}

static void bring_up(int fd, const char *name, const char *address)
{
	struct ifreq ifr = { 0 };

	strncpy(ifr.ifr_name, name, sizeof(ifr.ifr_name) - 1);
	if (address) {
		set_address(fd, SIOCSIFADDR, &ifr, address);
		set_address(fd, SIOCSIFNETMASK, &ifr, "255.255.255.0");
	}
	ioctl(fd, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		fail(name);
}

/* The addresses are those of QEMU's user network (-netdev user). */
static void set_up_network(bool with_eth0)
{
	struct sockaddr_in *gateway;
	struct rtentry route = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	bring_up(fd, "lo", NULL);
	/* Started by itself, the image takes the machine as it is. */
	if (with_eth0 && (with_host || if_nametoindex("eth0"))) {
		bring_up(fd, "eth0", "10.0.2.15");
		route.rt_dst.sa_family = AF_INET;
		route.rt_genmask.sa_family = AF_INET;
		gateway = (struct sockaddr_in *)&route.rt_gateway;
		gateway->sin_family = AF_INET;
		gateway->sin_addr.s_addr = inet_addr("10.0.2.2");
		route.rt_flags = RTF_UP | RTF_GATEWAY;
		if (ioctl(fd, SIOCADDRT, &route))
			fail("route");
	}
	close(fd);
}

static void mount_disk(const char *serial, const char *path)
{
	char name[] = "/sys/block/vda/serial", device[] = "/dev/vda", found[32];
	char letter;
	long n;
	int fd;

	for (letter = 'a'; letter <= 'z'; letter++) {
		name[13] = letter;
		device[7] = letter;
		fd = open(name, O_RDONLY);
		if (fd < 0)
			break;
		n = read(fd, found, sizeof(found) - 1);
		close(fd);
		found[n > 0 ? n : 0] = 0;
		if (strcmp(found, serial) == 0) {
			mount_on("ext4", device, path, NULL);
			return;
		}
	}
	errno = ENODEV;
	fail(path);
}

/*
 * QEMU's 9p server.  The host may change files meanwhile: what is cached is
 * looked at again when a file is opened, and written back when it is closed.
 * Without a cache there would be no shared mappings.
 */
static void mount_volume(const char *tag, const char *path)
{
	mount_on("9p", tag, path,
		 "trans=virtio,version=9p2000.L,cache=mmap,msize=512000");
}

/* "LENGTH\n" and the spec from the host; LENGTH may be 0. */
static long hear_spec(void)
{
	long length = 0, have = 0, n;
	char digit;

	while (read(control, &digit, 1) == 1 && digit != '\n')
		length = length * 10 + digit - '0';
	if (length >= (long)sizeof(spec)) {
		errno = E2BIG;
		fail("spec");
	}
	while (have < length) {
		n = read(control, spec + have, length - have);
		if (n <= 0)
			fail("spec");
		have += n;
	}
	return length;
}

/* The clock chip counts whole seconds: ask the host, in nanoseconds since 1970. */
static void set_clock(void)
{
	struct timespec now;
	long time = 0;
	char digit;

	tell("clock\n");
	while (read(control, &digit, 1) == 1 && digit != '\n')
		time = time * 10 + digit - '0';
	now.tv_sec = time / 1000000000;
	now.tv_nsec = time % 1000000000;
	if (time > 0)
		clock_settime(CLOCK_REALTIME, &now);
}

static long load_spec(void)
{
	int fd = open("/.ukl/spec", O_RDONLY);
	long length = 0, n;

	while ((n = read(fd, spec + length, sizeof(spec) - 1 - length)) > 0)
		length += n;
	if (fd < 0 || n < 0 || !length)
		fail("/.ukl/spec");
	close(fd);
	return length;
}

static void read_spec(const char **file, const char **cwd)
{
	long length = with_host ? hear_spec() : 0;
	bool with_eth0 = false;
	char *key, *value;

	if (!length)
		length = load_spec();

	for (key = spec; key < spec + length; key = value + strlen(value) + 1) {
		value = key + strlen(key) + 1;
		if (nargs >= MAX_WORDS - 1 || nenvs >= MAX_WORDS - 1) {
			errno = E2BIG;
			fail("/.ukl/spec");
		}
		if (!strcmp(key, "exec")) {
			*file = value;
		} else if (!strcmp(key, "arg")) {
			args[nargs++] = value;
		} else if (!strcmp(key, "env")) {
			envs[nenvs++] = value;
		} else if (!strcmp(key, "cwd")) {
			*cwd = value;
		} else if (!strcmp(key, "host")) {
			sethostname(value, strlen(value));
		} else if (!strcmp(key, "net")) {
			with_eth0 = true;
		} else if (!strcmp(key, "clock")) {
			set_clock();
		} else if (!strcmp(key, "disk") || !strcmp(key, "volume")) {
			char *path = strchr(value, ':');

			*path++ = 0;
			if (nmounts == MAX_MOUNTS) {
				errno = E2BIG;
				fail(path);
			}
			if (!strcmp(key, "disk"))
				mount_disk(value, path);
			else
				mount_volume(value, path);
			mounts[nmounts++] = path;
			value = path;
		}
	}
	set_up_network(with_eth0);
}

/* Before anyone else runs.  The sysctl can only be set; a kernel without modules lacks it. */
static void load_modules(void)
{
	char path[32];
	int fd, i;

	for (i = 0;; i++) {
		snprintf(path, sizeof(path), "/.ukl/modules/%d", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break;
		if (syscall(SYS_finit_module, fd, "", 0))
			fail(path);
		close(fd);
	}
	fd = open("/proc/sys/kernel/modules_disabled", O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || write(fd, "1", 1) != 1)
		fail("modules_disabled");
	close(fd);
}

/*
 * Root in ring 3 chooses the programs that the kernel starts by itself, with
 * all of its capabilities: /proc/sys/kernel/core_pattern, kernel.modprobe and
 * their like.  They start without this one, and what is named there is then
 * an ordinary program.  The kernel takes from these sets what it is not given,
 * and never adds to them.
 */
static void confine_helpers(void)
{
	static const char * const sets[] = {
		"/proc/sys/kernel/usermodehelper/bset",
		"/proc/sys/kernel/usermodehelper/inheritable",
	};
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		fd = open(sets[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || dprintf(fd, "%u %u\n", ~CAP_TO_MASK(CAP_SYS_RAWIO), ~0u) < 0)
			fail(sets[i]);
		close(fd);
	}
}

static void drop_rawio(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct *word = &data[CAP_TO_INDEX(CAP_SYS_RAWIO)];
	unsigned int mask = CAP_TO_MASK(CAP_SYS_RAWIO);

	if (prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO, 0, 0, 0) ||
	    syscall(SYS_capget, &header, data))
		fail("CAP_SYS_RAWIO");
	word->effective &= ~mask;
	word->permitted &= ~mask;
	word->inheritable &= ~mask;
	if (syscall(SYS_capset, &header, data))
		fail("CAP_SYS_RAWIO");
}

/*
 * The program needs the capability for its exec, which a ring 0 program loses
 * it by; nobody may run who could get at ours.  So the program stops between
 * its exec and its first instruction, where a traced one does.
 *
 * What it has mapped is open to us only until then, see ukl_may_attach() in the
 * kernel.  Whoever profiles it asks for that.
 */
static void let_program_go(void)
{
	siginfo_t info;
	char path[32];

	/* A failed exec is left for reap(). */
	if (waitid(P_PID, program, &info, WEXITED | WSTOPPED | WNOWAIT))
		fail("waitid");
	snprintf(path, sizeof(path), "/proc/%d/maps", program);
	program_maps = open(path, O_RDONLY | O_CLOEXEC);
	drop_rawio();
	if (info.si_code == CLD_TRAPPED && ptrace(PTRACE_DETACH, program, 0, 0))
		fail("ptrace");
}

static void start_program(const char *file, const char *cwd)
{
	int pipes[NRELAYS][2], i;
	sigset_t none;

	for (i = 0; i < NRELAYS; i++)
		if (pipe2(pipes[i], O_CLOEXEC))
			fail("pipe");

	tell("start\n");
	program = fork();
	if (program < 0)
		fail("fork");
	if (program == 0) {
		setsid();
		dup2(pipes[STDIN][0], 0);
		dup2(pipes[STDOUT][1], 1);
		dup2(pipes[STDERR][1], 2);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (chdir(cwd) == 0 && ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
			execve(file, args, envs);
		report("exec");
		_exit(127);
	}

	let_program_go();
	relays[STDIN].from = open_input_port(2);
	relays[STDIN].to = pipes[STDIN][1];
	relays[STDOUT].from = pipes[STDOUT][0];
	relays[STDOUT].to = open_port(3);
	relays[STDERR].from = pipes[STDERR][0];
	relays[STDERR].to = open_port(4);
	close(pipes[STDIN][0]);
	close(pipes[STDOUT][1]);
	close(pipes[STDERR][1]);
	for (i = 0; i < NRELAYS; i++) {
		fcntl(relays[i].from, F_SETFL, O_NONBLOCK);
		fcntl(relays[i].to, F_SETFL, O_NONBLOCK);
	}
}

static void end_relay(struct relay *relay)
{
	close(relay->from);
	close(relay->to);
	relay->from = relay->to = -1;
}

/* One read or one write, whichever is due. */
static void step_relay(struct relay *relay)
{
	long n;

	if (relay->at == relay->end) {
		n = read(relay->from, relay->data, sizeof(relay->data));
		if (n > 0) {
			relay->at = 0;
			relay->end = n;
		}
	} else {
		n = write(relay->to, relay->data + relay->at,
			  relay->end - relay->at);
		if (n > 0)
			relay->at += n;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end_relay(relay);
}

/* The last records: what the kernel said about the program's end. */
static void tell_kernel_log(void)
{
	static char records[KMSG_RECORDS][512];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	int count = 0, i;
	char *text, *end;
	long n;

	for (;;) {
		char *record = records[count % KMSG_RECORDS];

		n = read(fd, record, sizeof(records[0]) - 1);
		if (n < 0 && errno == EPIPE)	/* overwritten meanwhile */
			continue;
		if (n < 0 && errno == EINVAL)	/* too long for us */
			continue;
		if (n <= 0)
			break;
		record[n] = 0;
		count++;
	}
	close(fd);
	for (i = count > KMSG_RECORDS ? count - KMSG_RECORDS : 0; i < count; i++) {
		text = strchr(records[i % KMSG_RECORDS], ';');
		if (!text)
			continue;
		end = strchr(text, '\n');
		if (end)
			*end = 0;
		tell("kmsg %s\n", text + 1);
	}
}

/* A file of /proc/PID; what ends the answer is not in any of them. */
static void tell_about_program(const char *name)
{
	char path[96], line[4096];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", program, name);
	file = fopen(path, "re");
	if (!file && !strcmp(name, "maps")) {
		lseek(program_maps, 0, SEEK_SET);
		file = fdopen(dup(program_maps), "r");
	}
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (*line)
			tell("saw %s\n", line);
	}
	if (file)
		fclose(file);
	tell("saw\n");
}

static void hear(void)
{
	static char line[64];
	static size_t length;
	char data[64];
	long n = read(control, data, sizeof(data)), i;

	for (i = 0; i < n; i++) {
		if (data[i] != '\n') {
			if (length < sizeof(line) - 1)
				line[length++] = data[i];
			continue;
		}
		line[length] = 0;
		length = 0;
		/* From a keyboard, an interrupt goes to the whole group. */
		if (!strncmp(line, "signal ", 7)) {
			int number = atoi(line + 7);

			kill(number == SIGINT ? -program : program, number);
		} else if (!strcmp(line, "kmsg")) {
			tell_kernel_log();
		} else if (!strncmp(line, "look ", 5)) {
			tell_about_program(line + 5);
		}
	}
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
		}
	}
	return ended;
}

static int attend(int signals)
{
	struct pollfd fds[NRELAYS + 2];
	struct signalfd_siginfo info;
	bool ended = false;
	int status = 0, i;

	while (!ended || relays[STDOUT].from >= 0 || relays[STDERR].from >= 0) {
		for (i = 0; i < NRELAYS; i++) {
			struct relay *relay = &relays[i];
			bool reading = relay->at == relay->end;

			fds[i].fd = reading ? relay->from : relay->to;
			fds[i].events = reading ? POLLIN : POLLOUT;
			fds[i].revents = 0;
		}
		fds[NRELAYS].fd = signals;
		fds[NRELAYS].events = POLLIN;
		fds[NRELAYS + 1].fd = control;
		fds[NRELAYS + 1].events = POLLIN;
		if (poll(fds, NRELAYS + 2, -1) < 0)
			continue;

		for (i = 0; i < NRELAYS; i++)
			if (fds[i].revents)
				step_relay(&relays[i]);
		if (fds[NRELAYS + 1].revents & POLLIN)
			hear();
		if (fds[NRELAYS].revents) {
			while (read(signals, &info, sizeof(info)) > 0)
				;
			if (!ended && reap(&status)) {
				ended = true;
				/* Who still holds a pipe would keep us here. */
				kill(-1, SIGKILL);
				end_relay(&relays[STDIN]);
			} else {
				reap(&status);
			}
		}
	}
	return status;
}

int main(void)
{
	sigset_t all, child;
	const char *file = "", *cwd = "/";
	int signals, status;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	with_host = getenv("UKL_HOST");
	mount_on("devtmpfs", "dev", "/dev", NULL);
	control = with_host ? open_input_port(1) : -1;
	mount_on("proc", "proc", "/proc", NULL);
	mount_on("sysfs", "sys", "/sys", NULL);
	mount_on("devpts", "pts", "/dev/pts", "ptmxmode=0666");
	mount_on("tmpfs", "shm", "/dev/shm", "mode=1777");
	symlink("/proc/self/fd", "/dev/fd");
	symlink("fd/0", "/dev/stdin");
	symlink("fd/1", "/dev/stdout");
	symlink("fd/2", "/dev/stderr");

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0)
		fail("signalfd");

	read_spec(&file, &cwd);
	load_modules();
	confine_helpers();
	start_program(file, cwd);
	status = attend(signals);

	if (WIFSIGNALED(status)) {
		tell_kernel_log();
		tell("signal %d\n", WTERMSIG(status));
	} else {
		tell("exit %d\n", WEXITSTATUS(status));
	}
	finish();
}
