// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that is saved, and goes on as another one, maybe many times.
 *
 * What a clone must not share with its siblings is given to it before any
 * program runs: a seed for the kernel's random numbers, the time, a name.  (Its
 * network may follow: until the host hears that it goes on, no frame leaves it.)  So
 * from "held" on to that, every processor is ours: a thread of the highest
 * priority spins on each.  No program is told, as it would be by a signal or
 * by the freezer, both of which end epoll_wait() with EINTR.
 *
 * A program that wants to be saved at a certain point, and to do its own part
 * before it goes on, writes a byte to /.ukl/ready and reads one from /.ukl/go.
 * What its clone is told is in /.ukl/instance then, in words as the spec's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

#define READY		"/.ukl/ready"
#define GO		"/.ukl/go"
#define INSTANCE	"/.ukl/instance"

/*
 * The kernel lets others have a twentieth of each second (the fair server of
 * kernel/sched/deadline.c), at the end of it: a processor is ours no longer.
 */
#define HOLD_MS		900

/* Of free memory, what is left alone when it is cleared: the kernel's reserves. */
#define RESERVE		(12 << 20)

static int go = -1;

static int open_fifo(const char *path)
{
	int fd;

	/* Both ends: a program may come and go. */
	if (mkfifo(path, 0666) || chmod(path, 0666))
		fail(path);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	return fd;
}

void let_go(void)
{
	if (write(go, "\n", 1) < 0 && errno != EAGAIN)
		fail(GO);
}

/* A program is where it wants to be saved: who might do that knows. */
static void hear_ready(struct service *service)
{
	char bytes[64];

	if (read(service->fd, bytes, sizeof(bytes)) <= 0)
		return;
	/* What nobody waited for, when the guest was saved before, is not the answer to this. */
	while (read(go, bytes, sizeof(bytes)) > 0)
		;
	if (have_host())
		tell_ready();
	else
		let_go();
}

void offer_snapshots(void)
{
	static struct service ready = { .due = NEVER, .step = hear_ready };

	ready.fd = open_fifo(READY);
	go = open_fifo(GO);
	add_service(&ready);
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	sync();
	/* A fitted kernel may have no such file. */
	if (fd < 0)
		return;
	if (write(fd, "3", 1) != 1)
		fail("drop_caches");
	close(fd);
}

/*
 * Free memory has what its last owner left there.  Pages of zeros take no room
 * in the file, so we have the kernel clear what is free: a child takes it, and
 * if that is too much, the child is what is killed.
 */
static void clear_free_memory(void)
{
	struct sysinfo info;
	size_t size;
	pid_t child;
	char *memory;
	int fd;

	sysinfo(&info);
	size = info.freeram * info.mem_unit;
	if (size <= RESERVE)
		return;
	size -= RESERVE;
	child = fork();
	if (child < 0)
		fail("fork");
	if (child > 0) {
		waitpid(child, NULL, 0);
		return;
	}
	fd = open("/proc/self/oom_score_adj", O_WRONLY);
	if (fd < 0 || write(fd, "1000", 4) != 4)
		_exit(1);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory != MAP_FAILED) {
		madvise(memory, size, MADV_HUGEPAGE);
		madvise(memory, size, MADV_POPULATE_WRITE);
	}
	_exit(0);
}

/* What the programs have written so far is not for each clone to print. */
static void empty_relays(void)
{
	struct pollfd fds[NRELAYS];

	for (;;) {
		fill_relay_polls(fds);
		/* Input that nobody takes yet stays where it is. */
		fds[RELAY_STDIN].fd = -1;
		if (poll(fds, NRELAYS, 0) <= 0)
			return;
		step_relays(fds);
	}
}

/* What the spinning threads and we share. */
struct hold {
	int here, over;
};

static struct hold *hold;
static long held_ms;

static void set_policy(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, policy, &param))
		fail("sched_setscheduler");
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void spin_on(int cpu)
{
	pin(cpu);
	__atomic_add_fetch(&hold->here, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&hold->over, __ATOMIC_SEQ_CST))
		__builtin_ia32_pause();
	_exit(0);
}

/* Returns once nobody but us and the kernel runs. */
static void take_processors(cpu_set_t *all)
{
	int cpu, others = 0, first = -1;
	pid_t child;

	if (!hold)
		hold = mmap(NULL, sizeof(*hold), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hold == MAP_FAILED || sched_getaffinity(0, sizeof(*all), all))
		fail("hold");
	*hold = (struct hold) { 0 };
	set_policy(SCHED_FIFO, sched_get_priority_max(SCHED_FIFO));
	held_ms = now_ms();
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, all))
			continue;
		if (first < 0) {
			first = cpu;
			continue;
		}
		child = fork();
		if (child < 0)
			fail("fork");
		if (child == 0)
			spin_on(cpu);
		others++;
	}
	pin(first);
	/* They have our priority, and start where we are. */
	while (__atomic_load_n(&hold->here, __ATOMIC_SEQ_CST) < others)
		sched_yield();
}

static void release_processors(const cpu_set_t *all)
{
	__atomic_store_n(&hold->over, 1, __ATOMIC_SEQ_CST);
	set_policy(SCHED_OTHER, 0);
	sched_setaffinity(0, sizeof(*all), all);
}

/* Without sleeping, as then others would run. */
static char next_character(void)
{
	char c;

	while (read(control, &c, 1) != 1)
		__builtin_ia32_pause();
	return c;
}

/* What the host says next that is about going on, and its words. */
static size_t await_resume(char *words, size_t size)
{
	struct message message;
	size_t i;

	do {
		while (!decode(next_character(), &message))
			;
	} while (message.type != MESSAGE_RESUME);
	if ((size_t)message.number > size) {
		errno = E2BIG;
		fail("resume");
	}
	for (i = 0; i < (size_t)message.number; i++)
		words[i] = next_character();
	return message.number;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? found - digits : -1;
}

static size_t from_hex(const char *text, unsigned char *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++, text += 2) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			break;
		bytes[i] = high << 4 | low;
	}
	return i;
}

/*
 * Into the pool, and from there into what /dev/urandom and getrandom() go by
 * (drivers/char/random.c): until then they repeat what the siblings' said.
 */
static void seed_random_numbers(const char *seed)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[64];
	} pool;
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	size_t size = from_hex(seed, pool.bytes, sizeof(pool.bytes));

	pool.info.buf_size = size;
	pool.info.entropy_count = size * 8;
	if (fd < 0 || size < 32 || ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG))
		fail("seed");
	explicit_bzero(&pool, sizeof(pool));
	close(fd);
}

static void put_word(FILE *file, const char *key, const char *value)
{
	fprintf(file, "%s%c%s%c", key, 0, value, 0);
}

/* For programs that ask, as root may read the environment of a process. */
static void write_instance(const struct spec *spec)
{
	int fd = open(INSTANCE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), i;
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		fail(INSTANCE);
	for (i = 0; i < spec->nargs; i++)
		put_word(file, "arg", spec->args[i]);
	for (i = 0; i < spec->nenvs; i++)
		put_word(file, "env", spec->envs[i]);
	if (fclose(file))
		fail(INSTANCE);
}

static void become(const struct spec *spec)
{
	if (spec->seed)
		seed_random_numbers(spec->seed);
	take_time(spec->time);
	if (spec->hostname)
		sethostname(spec->hostname, strlen(spec->hostname));
	write_instance(spec);
}

/* To be saved, and to go on: as the same guest, or as one of many. */
void be_saved(void)
{
	static char words[1 << 18];
	static struct spec spec;
	cpu_set_t all;
	size_t length;

	drop_caches();
	clear_free_memory();
	empty_relays();
	take_processors(&all);
	tell_held();
	fcntl(control, F_SETFL, O_NONBLOCK);
	length = await_resume(words, sizeof(words));
	fcntl(control, F_SETFL, 0);
	if (!parse_spec(words, length, &spec))
		fail("resume");
	become(&spec);
	/* Programs may have run as their siblings do: this clone is none. */
	if (now_ms() - held_ms > HOLD_MS) {
		errno = ETIME;
		fail("resume");
	}
	release_processors(&all);
	renew_network(&spec.network);
	let_go();
	tell_start();
}
