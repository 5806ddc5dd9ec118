// SPDX-License-Identifier: MIT
/* What the vDSO and the vsyscall page say agrees with the system calls. */
#include "guest.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static long long nsec(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000ll + ts->tv_nsec;
}

int main(void)
{
	static const clockid_t clocks[] = {
		CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI,
		CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,
		CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID,
		CLOCK_THREAD_CPUTIME_ID,
	};
	struct timespec a, b, c;
	unsigned cpu, node;
	struct timeval tv;
	time_t t, t1, t2;
	char line[200];
	bool vsyscall = false;
	cpu_set_t set, all;
	unsigned i, j;
	FILE *f;

	expect_ring();
	check(getauxval(AT_SYSINFO_EHDR));
	check(!memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4));

	for (i = 0; i < sizeof(clocks) / sizeof(*clocks); i++) {
		for (j = 0; j < 500; j++) {
			check(!syscall(SYS_clock_gettime, clocks[i], &a));
			check(!clock_gettime(clocks[i], &b));
			check(!syscall(SYS_clock_gettime, clocks[i], &c));
			check(nsec(&a) <= nsec(&b) && nsec(&b) <= nsec(&c));
		}
		check(!syscall(SYS_clock_getres, clocks[i], &a));
		check(!clock_getres(clocks[i], &b));
		check(nsec(&a) == nsec(&b));
	}
	printf("clock_gettime\n");

	for (j = 0; j < 500; j++) {
		check(!syscall(SYS_clock_gettime, CLOCK_REALTIME, &a));
		check(!gettimeofday(&tv, NULL));
		check(!syscall(SYS_clock_gettime, CLOCK_REALTIME, &c));
		check(nsec(&a) / 1000 <= tv.tv_sec * 1000000ll + tv.tv_usec &&
		      nsec(&c) / 1000 >= tv.tv_sec * 1000000ll + tv.tv_usec);
		t1 = syscall(SYS_time, NULL);
		t = time(NULL);
		t2 = syscall(SYS_time, NULL);
		check(t1 <= t && t <= t2);
	}
	printf("time\n");

	check(!sched_getaffinity(0, sizeof(all), &all));
	for (i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_ZERO(&set);
		CPU_SET(i, &set);
		check(!sched_setaffinity(0, sizeof(set), &set));
		check(!syscall(SYS_getcpu, &cpu, &node, NULL));
		check(cpu == i);
		check(sched_getcpu() == (int)i);
		check(!getcpu(&cpu, &node) && cpu == i);
	}
	printf("getcpu\n");

	/* of old programs: a call to a fixed address above all of ours */
	f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof(line), f))
		vsyscall |= strstr(line, "[vsyscall]") != NULL;
	for (j = 0; vsyscall && j < 500; j++) {
		t1 = syscall(SYS_time, NULL);
		t = ((time_t (*)(time_t *))0xffffffffff600400)(NULL);
		t2 = syscall(SYS_time, NULL);
		check(t1 <= t && t <= t2);
		check(!((int (*)(struct timeval *, void *))
			0xffffffffff600000)(&tv, NULL));
		check(tv.tv_sec >= t1 && tv.tv_sec <= t2 + 1);
	}
	printf("vsyscall\n");

	printf("ok\n");
	return 0;
}
