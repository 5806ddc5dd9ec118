// SPDX-License-Identifier: MIT
/*
 * perf's samples of a program that spends its time in system calls, made as
 * calls, have the program's own call chain: the caller of the call, and each
 * function above it by its frame pointer.  The clock takes them, as a guest has
 * no counters.
 */
#include "guest.h"
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define SAMPLES	60
#define PAGES	64

/* A function with a frame, which is not merged with another. */
#define FRAME	__attribute__((noinline, noclone, noipa, \
			       optimize("no-omit-frame-pointer", "no-optimize-sibling-calls")))

void stub(void);
asm(".text\nstub: sub $2, %rcx; jmp *%rcx\n");

static unsigned long entry;
static unsigned char *ring;
static char buf[1 << 18];
static int zero, sampler;
static long good, bad, want;

/* Where each of them returns to: the chain that a sample must have. */
static unsigned long after_call, in_middle, in_outer, in_main;

static void read_ring(void)
{
	struct perf_event_mmap_page *head = (void *)ring;
	const unsigned long size = PAGES << 12;
	unsigned char *data = ring + 4096;
	unsigned long tail, end;

	end = __atomic_load_n(&head->data_head, __ATOMIC_ACQUIRE);
	for (tail = head->data_tail; tail < end;) {
		union {
			struct perf_event_header header;
			struct {
				struct perf_event_header header;
				uint64_t nr, ip[130];
			} sample;
			unsigned char bytes[1080];
		} record;
		unsigned int i, length;

		/* it may go around the end */
		for (i = 0; i < sizeof(record.header); i++)
			record.bytes[i] = data[(tail + i) % size];
		length = record.header.size;
		check(length >= sizeof(record.header) && length <= sizeof(record));
		for (i = 0; i < length; i++)
			record.bytes[i] = data[(tail + i) % size];
		tail += length;
		if (record.header.type != PERF_RECORD_SAMPLE)
			continue;
		/* those that hit the program itself, and its other calls, do not count */
		if (record.sample.nr < 2 || record.sample.ip[0] != PERF_CONTEXT_USER ||
		    record.sample.ip[1] != after_call)
			continue;
		if (record.sample.nr >= 5 && record.sample.ip[2] == in_middle &&
		    record.sample.ip[3] == in_outer && record.sample.ip[4] == in_main)
			good++;
		else if (!bad++)
			for (i = 1; i < record.sample.nr; i++)
				fprintf(stderr, "frame %u: %lx\n", i,
					(unsigned long)record.sample.ip[i]);
	}
	__atomic_store_n(&head->data_tail, tail, __ATOMIC_RELEASE);
}

/* Round after round, of a call that takes its time or of one that does not. */
static FRAME long inner(long nr)
{
	unsigned long after;
	long ret, n;

	in_middle = (unsigned long)__builtin_return_address(0);
	do {
		for (n = 0; n < 50; n++) {
			ret = nr;
			__asm__ volatile("lea 1f(%%rip), %%rcx; mov %%rcx, %1\n"
					 "jmp *%2; syscall; 1:"
					 : "+a"(ret), "=&r"(after)
					 : "m"(entry), "D"((long)zero), "S"(buf),
					   "d"(sizeof(buf))
					 : "rcx", "r11", "memory", "cc");
			after_call = after;
		}
		read_ring();
	} while (good + bad < want);
	return ret;
}

static FRAME long middle(long nr)
{
	long ret;

	in_outer = (unsigned long)__builtin_return_address(0);
	ret = inner(nr);
	__asm__ volatile("" : "+r"(ret));
	return ret + 1;
}

static FRAME long outer(long nr)
{
	long ret;

	in_main = (unsigned long)__builtin_return_address(0);
	ret = middle(nr);
	__asm__ volatile("" : "+r"(ret));
	return ret + 1;
}

static void sample(const char *name, long nr, long result)
{
	if (sampler >= 0) {
		struct perf_event_mmap_page *head = (void *)ring;

		good = bad = 0;
		after_call = 0;
		head->data_tail = head->data_head;
		want = SAMPLES;
	}
	check(outer(nr) == result + 2);
	printf("%s: %ld wrong chains\n", name, bad);
}

int main(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 200000,
		.sample_type = PERF_SAMPLE_CALLCHAIN,
		.exclude_callchain_kernel = 1,
	};

	expect_ring();
	entry = getauxval(AT_SYSINFO);
	check(!entry == (cpl() == 3));
	if (!entry)
		entry = (unsigned long)stub;
	zero = open("/dev/zero", O_RDONLY);
	check(zero >= 0);
	sampler = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (sampler >= 0) {
		ring = mmap(NULL, (PAGES + 1) << 12, PROT_READ | PROT_WRITE,
			    MAP_SHARED, sampler, 0);
		check(ring != MAP_FAILED);
	} else {
		/* a host may keep it from its users */
		check(getenv("UKL_HOST"));
		ring = calloc(PAGES + 1, 4096);
	}
	sample("read", SYS_read, sizeof(buf));
	sample("getppid", SYS_getppid, getppid());
	printf("ok\n");
	return 0;
}
